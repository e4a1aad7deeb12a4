"""Claims: SQL of assignments with their history, and of repayments in difficulty."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import AssignedLoan, Assignment
from services.kernel import database

Asked = tuple[UUID, str, date]
"""A household, a cover and the value date of a payout."""


async def assignments_in_force(
    session: AsyncSession, county_code: str, asked: Sequence[Asked]
) -> dict[Asked, list[AssignedLoan]]:
    """
    Open loans that each payout settles first, the oldest loan first.

    An assignment stands from its first day until the day before it was revoked; the same holds for
    a lender's word that repayment is in difficulty. Whoever is not in the answer has none, and the
    household is paid everything.
    """
    rows = await database.fetch(
        session,
        """SELECT asked.household_id, asked.cover_id, asked.value_date, a.loan_id, a.lender_id,
                  EXISTS (SELECT FROM difficulty AS d
                          WHERE d.county_code = $1 AND d.loan_id = a.loan_id
                            AND d.from_date <= asked.value_date
                            AND (d.ended_from IS NULL OR d.ended_from > asked.value_date)
                  ) AS in_difficulty
           FROM unnest($2::uuid[], $3::text[], $4::date[])
                AS asked (household_id, cover_id, value_date)
           JOIN assignment AS a ON a.county_code = $1 AND a.household_id = asked.household_id
                               AND a.cover_id = asked.cover_id
                               AND a.from_date <= asked.value_date
                               AND (a.revoked_from IS NULL OR a.revoked_from > asked.value_date)
           JOIN loan AS l ON l.county_code = $1 AND l.loan_id = a.loan_id
           WHERE l.state = 'approved'
           ORDER BY l.approved_on, a.loan_id""",
        county_code,
        *database.columns(sorted(set(asked)), 3),
    )
    found: dict[Asked, list[AssignedLoan]] = {}
    for row in rows:
        key = (row["household_id"], row["cover_id"], row["value_date"])
        loan = AssignedLoan(row["loan_id"], row["lender_id"], row["in_difficulty"])
        found.setdefault(key, []).append(loan)
    return found


async def add_assignments(session: AsyncSession, assignments: Sequence[Assignment]) -> set[UUID]:
    """Keep assignments, but not where one stands for the loan and cover; the ids of those kept."""
    rows = [
        (
            assignment.county_code,
            assignment.assignment_id,
            assignment.household_id,
            assignment.cover_id,
            assignment.loan_id,
            assignment.lender_id,
            assignment.evidence,
            assignment.from_date,
        )
        for assignment in assignments
    ]
    if not rows:
        return set()
    added = await database.fetch(
        session,
        """INSERT INTO assignment (county_code, assignment_id, household_id, cover_id, loan_id,
                                   lender_id, evidence, from_date)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[],
                                $6::text[], $7::text[], $8::date[])
           ON CONFLICT DO NOTHING RETURNING assignment_id""",
        *database.columns(rows, 8),
    )
    return {row["assignment_id"] for row in added}
