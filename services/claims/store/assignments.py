"""Claims: SQL of assignments with their history, and of repayments in difficulty."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import Actor, AssignedLoan, Assignment, Difficulty
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


async def add_assignments(
    session: AsyncSession, assignments: Sequence[Assignment], *, first_only: bool = False
) -> set[UUID]:
    """
    Keep assignments, but not where one stands for the loan and cover; the ids of those kept.

    `first_only` also leaves out those of loans and covers that had one: it was revoked.
    """
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
                AS s (county_code, assignment_id, household_id, cover_id, loan_id, lender_id,
                      evidence, from_date)
           WHERE NOT ($9 AND EXISTS (
               SELECT FROM assignment AS a WHERE a.county_code = s.county_code
                 AND a.loan_id = s.loan_id AND a.cover_id = s.cover_id))
           ON CONFLICT DO NOTHING RETURNING assignment_id""",
        *database.columns(rows, 8),
        first_only,
    )
    return {row["assignment_id"] for row in added}


async def add_changes(
    session: AsyncSession,
    county_code: str,
    changes: Sequence[tuple[UUID, str, date, str]],
    *,
    actor: Actor,
    on: date,
) -> None:
    """Keep who recorded or revoked what: assignment, kind, first day, evidence."""
    if changes:
        await database.execute(
            session,
            """INSERT INTO assignment_change (county_code, assignment_id, kind, effective_on,
                                              evidence, institution_id, person_id, business_date)
               SELECT $5, s.*, $6, $7, $8
               FROM unnest($1::uuid[], $2::text[], $3::date[], $4::text[]) AS s""",
            *database.columns(changes, 4),
            county_code,
            actor.institution_id,
            actor.person_id,
            on,
        )


def _assignment(row: asyncpg.Record) -> Assignment:
    return Assignment(
        county_code=row["county_code"],
        assignment_id=row["assignment_id"],
        household_id=row["household_id"],
        cover_id=row["cover_id"],
        loan_id=row["loan_id"],
        lender_id=row["lender_id"],
        evidence=row["evidence"],
        from_date=row["from_date"],
        revoked_from=row["revoked_from"],
    )


async def lock_assignments(
    session: AsyncSession, county_code: str, assignment_ids: Sequence[UUID]
) -> dict[UUID, Assignment]:
    """Assignments, held in id order until the transaction ends."""
    rows = await database.fetch(
        session,
        """SELECT * FROM assignment WHERE county_code = $1 AND assignment_id = ANY($2::uuid[])
           ORDER BY assignment_id FOR UPDATE""",
        county_code,
        list(set(assignment_ids)),
    )
    return {row["assignment_id"]: _assignment(row) for row in rows}


async def revoke(
    session: AsyncSession, county_code: str, revoked: Sequence[tuple[UUID, date]]
) -> None:
    """Write from which day assignments stand no more."""
    await database.execute(
        session,
        """UPDATE assignment AS a SET revoked_from = s.revoked_from
           FROM unnest($2::uuid[], $3::date[]) AS s (assignment_id, revoked_from)
           WHERE a.county_code = $1 AND a.assignment_id = s.assignment_id""",
        county_code,
        *database.columns(revoked, 2),
    )


async def list_assignments(
    session: AsyncSession,
    county_code: str,
    *,
    household_id: UUID | None,
    lender_id: str,
    after: UUID,
    limit: int,
) -> list[Assignment]:
    """Assignments in id order, those revoked too."""
    rows = await database.fetch(
        session,
        """SELECT * FROM assignment
           WHERE county_code = $1 AND ($2::uuid IS NULL OR household_id = $2)
             AND ($3 = '' OR lender_id = $3) AND assignment_id > $4
           ORDER BY assignment_id LIMIT $5""",
        county_code,
        household_id,
        lender_id,
        after,
        limit,
    )
    return [_assignment(row) for row in rows]


def _difficulty(row: asyncpg.Record) -> Difficulty:
    return Difficulty(
        county_code=row["county_code"],
        difficulty_id=row["difficulty_id"],
        loan_id=row["loan_id"],
        household_id=row["household_id"],
        lender_id=row["lender_id"],
        cause=row["cause"],
        evidence=row["evidence"],
        from_date=row["from_date"],
        ended_from=row["ended_from"],
    )


async def add_difficulty(
    session: AsyncSession, difficulty: Difficulty, *, person_id: str, on: date
) -> bool:
    """Keep a lender's word; false when one stands for the loan."""
    made = await database.fetch(
        session,
        """INSERT INTO difficulty (county_code, difficulty_id, loan_id, household_id, lender_id,
                                   cause, evidence, from_date, confirmed_person, confirmed_on)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
           ON CONFLICT DO NOTHING RETURNING difficulty_id""",
        difficulty.county_code,
        difficulty.difficulty_id,
        difficulty.loan_id,
        difficulty.household_id,
        difficulty.lender_id,
        difficulty.cause,
        difficulty.evidence,
        difficulty.from_date,
        person_id,
        on,
    )
    return bool(made)


async def lock_difficulty(
    session: AsyncSession, county_code: str, difficulty_id: UUID
) -> Difficulty | None:
    """One of them, held until the transaction ends."""
    rows = await database.fetch(
        session,
        "SELECT * FROM difficulty WHERE county_code = $1 AND difficulty_id = $2 FOR UPDATE",
        county_code,
        difficulty_id,
    )
    return _difficulty(rows[0]) if rows else None


async def end_difficulty(
    session: AsyncSession, difficulty: Difficulty, ended_from: date, *, person_id: str
) -> None:
    """Write from which day it holds no more."""
    await database.execute(
        session,
        """UPDATE difficulty SET ended_from = $3, ended_person = $4
           WHERE county_code = $1 AND difficulty_id = $2""",
        difficulty.county_code,
        difficulty.difficulty_id,
        ended_from,
        person_id,
    )


async def list_difficulties(
    session: AsyncSession,
    county_code: str,
    *,
    household_id: UUID | None,
    lender_id: str,
    after: UUID,
    limit: int,
) -> list[Difficulty]:
    """Difficulties in id order, those ended too."""
    rows = await database.fetch(
        session,
        """SELECT * FROM difficulty
           WHERE county_code = $1 AND ($2::uuid IS NULL OR household_id = $2)
             AND ($3 = '' OR lender_id = $3) AND difficulty_id > $4
           ORDER BY difficulty_id LIMIT $5""",
        county_code,
        household_id,
        lender_id,
        after,
        limit,
    )
    return [_difficulty(row) for row in rows]
