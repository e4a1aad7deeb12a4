"""Loans: SQL of what lists are held against, and of the lists that are due."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.loans.model import Loan
from services.loans.store import loan_of


@dataclass(frozen=True, slots=True)
class OnShelf:
    """A loan, whether anything happened to it after a day, and its class then."""

    loan: Loan
    moved: bool
    class_then: str


async def shelf(
    session: AsyncSession,
    county_code: str,
    lender_id: str,
    as_of: date,
    named: Collection[UUID],
) -> list[OnShelf]:
    """Loans that something was owed on at the end of a day, and such as a list names."""
    rows = await database.fetch(
        session,
        """SELECT loan.*, later.moved OR coalesce(loan.accrued_through > $3, false) AS moved,
                  coalesce((SELECT c.was FROM class_change AS c
                            WHERE c.county_code = $1 AND c.loan_id = loan.loan_id
                              AND c.changed_on > $3 ORDER BY c.change_id LIMIT 1),
                           loan.five_tier_class) AS class_then
           FROM loan
           CROSS JOIN LATERAL (
               SELECT EXISTS (SELECT FROM posting AS p
                              WHERE p.county_code = $1 AND p.loan_id = loan.loan_id
                                AND p.value_date > $3) AS moved) AS later
           WHERE loan.county_code = $1
             AND (loan.loan_id = ANY($4::uuid[])
                  OR (($2 = '' OR loan.lender_id = $2) AND loan.disbursed_on <= $3
                      AND (loan.state IN ('active', 'written_off') OR later.moved)))
           ORDER BY loan.loan_id""",
        county_code,
        lender_id,
        as_of,
        list(named),
    )
    return [OnShelf(loan_of(row), row["moved"], row["class_then"]) for row in rows]


async def ids_of(
    session: AsyncSession, county_code: str, named: Collection[tuple[str, str]]
) -> dict[tuple[str, str], UUID]:
    """The loans that lenders know by their own numbers: taken over, or paid out by their core."""
    wanted = list(named)
    rows = await database.fetch(
        session,
        """SELECT n.lender_id, n.reference, coalesce(o.loan_id, e.loan_id) AS loan_id
           FROM unnest($2::text[], $3::text[]) AS n (lender_id, reference)
           LEFT JOIN opening AS o ON o.county_code = $1 AND o.lender_id = n.lender_id
                                  AND o.reference = n.reference
           LEFT JOIN core_entry AS e ON e.county_code = $1 AND e.lender_id = n.lender_id
                                     AND e.reference = n.reference AND e.kind = 'disbursement'
           WHERE coalesce(o.loan_id, e.loan_id) IS NOT NULL""",
        county_code,
        *database.columns(wanted, 2),
    )
    return {(row["lender_id"], row["reference"]): row["loan_id"] for row in rows}


# --- what is due ----------------------------------------------------------------------------------

# Lenders whose core system is the book on a day.
_CORE_LENDERS: Final = """
SELECT lender_id FROM (
    SELECT DISTINCT ON (lender_id) lender_id, keeper FROM lender_book
    WHERE county_code = $1 AND from_day <= $2 ORDER BY lender_id, from_day DESC, number DESC
) AS kept WHERE keeper = 'lender_core'
"""


async def note_due(session: AsyncSession, county_code: str, day: date) -> int:
    """Each lender whose core system is the book owes its list of a day; how many do."""
    return await database.execute(
        session,
        f"""INSERT INTO statement_due (county_code, lender_id, as_of)
            SELECT $1, lender_id, $2 FROM ({_CORE_LENDERS}) AS core
            ON CONFLICT DO NOTHING""",  # noqa: S608 - own constant
        county_code,
        day,
    )


@dataclass(frozen=True, slots=True)
class Due:
    """A day of which a lender's list is due, and the reconciliation that covers it, if one does."""

    lender_id: str
    as_of: date
    statement_id: UUID | None


async def list_due(
    session: AsyncSession,
    county_code: str,
    lender_id: str,
    *,
    today: date,
    overdue: bool,
    start: int,
    limit: int,
) -> list[Due]:
    """Days of which lists are due, today's too, the oldest first."""
    rows = await database.fetch(
        session,
        f"""WITH due AS (
                SELECT lender_id, as_of FROM statement_due WHERE county_code = $1
                UNION SELECT lender_id, $2 FROM ({_CORE_LENDERS}) AS core
            )
            SELECT due.lender_id, due.as_of, done.statement_id
            FROM due
            LEFT JOIN LATERAL (
                SELECT s.statement_id FROM statement AS s
                JOIN statement_comparison USING (county_code, statement_id)
                WHERE s.county_code = $1 AND s.institution_id = due.lender_id
                  AND s.as_of = due.as_of AND s.kind = 'own'
                ORDER BY s.statement_id LIMIT 1
            ) AS done ON true
            WHERE ($3 = '' OR due.lender_id = $3)
              AND (NOT $4 OR (done.statement_id IS NULL AND due.as_of < $2))
            ORDER BY due.as_of, due.lender_id OFFSET $5 LIMIT $6""",  # noqa: S608 - own constant
        county_code,
        today,
        lender_id,
        overdue,
        start,
        limit,
    )
    return [Due(row["lender_id"], row["as_of"], row["statement_id"]) for row in rows]
