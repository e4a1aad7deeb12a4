"""Claims: SQL of what others said: where households are, which loans are open."""

import json
from collections.abc import Sequence
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import ApprovedLoan, ClosedLoan, Household
from services.kernel import database


async def save_households(session: AsyncSession, households: Sequence[Household]) -> None:
    """Keep what is known of households; the last word on each counts."""
    last = {(h.county_code, h.household_id): h for h in households}
    rows = [(h.county_code, h.household_id, h.area_code, h.status) for h in last.values()]
    await database.execute(
        session,
        """INSERT INTO household (county_code, household_id, area_code, status)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[])
           ON CONFLICT (county_code, household_id)
           DO UPDATE SET area_code = excluded.area_code, status = excluded.status""",
        *database.columns(rows, 4),
    )


async def save_status(
    session: AsyncSession, households: Sequence[tuple[str, UUID]], status: str
) -> None:
    """Change only the status of households."""
    await database.execute(
        session,
        """UPDATE household AS h SET status = $3
           FROM unnest($1::text[], $2::uuid[]) AS said (county_code, household_id)
           WHERE h.county_code = said.county_code AND h.household_id = said.household_id""",
        *database.columns(households, 2),
        status,
    )


async def add_loans(session: AsyncSession, loans: Sequence[ApprovedLoan]) -> set[UUID]:
    """Keep approved loans; the ids of those that were not known before."""
    rows = [
        (
            loan.county_code,
            loan.loan_id,
            loan.household_id,
            loan.area_code,
            loan.lender_id,
            loan.principal_fen,
            loan.programme_id,
            loan.programme,
            loan.assignment_evidence,
            json.dumps(loan.required_covers),
            loan.approved_on,
        )
        for loan in loans
    ]
    added = await database.fetch(
        session,
        """INSERT INTO loan (county_code, loan_id, household_id, area_code, lender_id,
                             principal_fen, programme_id, programme, assignment_evidence,
                             required_covers, approved_on, state)
           SELECT said.county_code, said.loan_id, said.household_id, said.area_code,
                  said.lender_id, said.principal_fen, said.programme_id, said.programme,
                  said.evidence, ARRAY(SELECT json_array_elements_text(said.covers::json)),
                  said.approved_on, 'approved'
           FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bigint[],
                       $7::text[], $8::text[], $9::text[], $10::text[], $11::date[])
                AS said (county_code, loan_id, household_id, area_code, lender_id, principal_fen,
                         programme_id, programme, evidence, covers, approved_on)
           ON CONFLICT DO NOTHING RETURNING loan_id""",
        *database.columns(rows, 11),
    )
    return {row["loan_id"] for row in added}


async def close_loans(session: AsyncSession, closed: Sequence[ClosedLoan]) -> None:
    """Note that loans are closed: they await no cover any more."""
    rows = [(c.county_code, c.loan_id, c.state.value, c.closed_on) for c in closed]
    keys = database.columns(rows, 4)
    await database.write(
        session,
        """UPDATE loan AS l SET state = said.state, closed_on = said.closed_on
           FROM unnest($1::text[], $2::uuid[], $3::text[], $4::date[])
                AS said (county_code, loan_id, state, closed_on)
           WHERE l.county_code = said.county_code AND l.loan_id = said.loan_id
             AND l.state = 'approved'""",
        *keys,
    )
    await database.write(
        session,
        """DELETE FROM awaited_cover AS a
           USING unnest($1::text[], $2::uuid[]) AS said (county_code, loan_id)
           WHERE a.county_code = said.county_code AND a.loan_id = said.loan_id""",
        *keys[:2],
    )
