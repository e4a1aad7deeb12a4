"""Loans: what was taken over from the books before ours."""

from collections.abc import Collection, Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.loans.rules.opening import Opening, Total


async def taken_over(
    session: AsyncSession, county_code: str, contracts: Collection[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Of some contracts (lender, reference) those that came in before."""
    rows = await database.fetch(
        session,
        """SELECT lender_id, reference FROM opening
           JOIN unnest($2::text[], $3::text[]) AS wanted (lender_id, reference)
             USING (lender_id, reference)
           WHERE county_code = $1""",
        county_code,
        [lender for lender, _ in contracts],
        [reference for _, reference in contracts],
    )
    return {(row["lender_id"], row["reference"]) for row in rows}


async def totals_by_lender(session: AsyncSession, county_code: str) -> dict[str, Total]:
    """What all openings of a county come to."""
    rows = await database.fetch(
        session,
        """SELECT lender_id, count(*) AS loans, sum(outstanding_fen)::bigint AS outstanding,
                  sum(interest_owed_fen)::bigint AS interest
           FROM opening WHERE county_code = $1 GROUP BY lender_id""",
        county_code,
    )
    return {
        row["lender_id"]: Total(row["loans"], row["outstanding"], row["interest"]) for row in rows
    }


async def save(
    session: AsyncSession,
    county_code: str,
    rows: Sequence[tuple[UUID, Opening]],
    opening_on: date,
    person_id: str,
) -> None:
    """Write what came in."""
    values = [
        (
            county_code,
            opening.lender_id,
            opening.reference,
            loan_id,
            opening_on,
            opening.outstanding_fen,
            opening.interest_owed_fen,
            person_id,
        )
        for loan_id, opening in rows
    ]
    await database.execute(
        session,
        """INSERT INTO opening (county_code, lender_id, reference, loan_id, opening_on,
                                outstanding_fen, interest_owed_fen, person_id)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::date[],
                                $6::bigint[], $7::bigint[], $8::text[])""",
        *database.columns(values, 8),
    )
