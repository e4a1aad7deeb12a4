"""Funds: SQL of what happened to cases and shares: steps, movements, positions on a day, debts."""

import json
from collections.abc import Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import CaseStep, Movement, Standing
from services.kernel import database, ids
from services.kernel.money import Fen


async def add_steps(session: AsyncSession, steps: Sequence[CaseStep]) -> None:
    """Write what was done on cases."""
    if not steps:
        return
    rows = [
        (
            each.county_code,
            each.case_id,
            each.number,
            each.step,
            each.institution_id,
            each.person_id,
            each.code,
            each.reason,
            json.dumps(each.evidence),
            each.late,
            each.business_date,
        )
        for each in steps
    ]
    await database.execute(
        session,
        """INSERT INTO case_step (county_code, case_id, number, step, institution_id, person_id,
                                  code, reason, evidence, late, business_date)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::int[], $4::text[], $5::text[],
                                $6::text[], $7::text[], $8::text[], $9::text[], $10::boolean[],
                                $11::date[])""",
        *database.columns(rows, 11),
    )


async def steps_of(session: AsyncSession, county_code: str, case_id: UUID) -> list[CaseStep]:
    """The steps of a case, in order."""
    rows = await database.fetch(
        session,
        "SELECT * FROM case_step WHERE county_code = $1 AND case_id = $2 ORDER BY number",
        county_code,
        case_id,
    )
    return [
        CaseStep(
            county_code=row["county_code"],
            case_id=row["case_id"],
            number=row["number"],
            step=row["step"],
            institution_id=row["institution_id"],
            person_id=row["person_id"],
            code=row["code"],
            reason=row["reason"],
            evidence=tuple(json.loads(row["evidence"])),
            late=row["late"],
            business_date=row["business_date"],
        )
        for row in rows
    ]


async def add_movements(session: AsyncSession, movements: Sequence[Movement]) -> None:
    """Write changes of shares."""
    if not movements:
        return
    rows = [
        (
            each.county_code,
            ids.new_id(),
            each.case_id,
            each.position,
            each.kind,
            each.amount_fen,
            each.reference,
            each.person_id,
            each.value_date,
            each.business_date,
        )
        for each in movements
    ]
    await database.execute(
        session,
        """INSERT INTO share_movement (county_code, movement_id, case_id, position, kind,
                                       amount_fen, reference, person_id, value_date, business_date)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::int[], $5::text[],
                                $6::bigint[], $7::text[], $8::text[], $9::date[], $10::date[])""",
        *database.columns(rows, 10),
    )


_STANDINGS = """
SELECT p.case_id, p.position, p.party, p.institution_id, p.own_loss,
       coalesce(sum(m.amount_fen) FILTER (WHERE m.kind = 'borne'), 0)::bigint AS borne_fen,
       coalesce(sum(m.amount_fen) FILTER (WHERE m.kind = 'paid'), 0)::bigint AS paid_fen,
       coalesce(sum(m.amount_fen) FILTER (WHERE m.kind = 'recovered'), 0)::bigint AS recovered_fen,
       coalesce(sum(m.amount_fen) FILTER (WHERE m.kind = 'written_off'), 0)::bigint
           AS written_off_fen
FROM case_part AS p
JOIN share_movement AS m USING (county_code, case_id, position)
"""


def _standing(row: asyncpg.Record) -> Standing:
    return Standing(
        case_id=row["case_id"],
        position=row["position"],
        party=row["party"],
        institution_id=row["institution_id"],
        own_loss=row["own_loss"],
        borne_fen=Fen(row["borne_fen"]),
        paid_fen=Fen(row["paid_fen"]),
        recovered_fen=Fen(row["recovered_fen"]),
        written_off_fen=Fen(row["written_off_fen"]),
    )


async def standings_of_case(
    session: AsyncSession, county_code: str, case_id: UUID, as_of: date, *, seen_by: str
) -> list[Standing]:
    """How everybody stood in a case at the end of a day; an institution named sees its own."""
    rows = await database.fetch(
        session,
        f"""{_STANDINGS}
           WHERE p.county_code = $1 AND p.case_id = $2 AND m.business_date <= $3
             AND ($4 = '' OR p.institution_id = $4)
           GROUP BY p.county_code, p.case_id, p.position ORDER BY p.position""",
        county_code,
        case_id,
        as_of,
        seen_by,
    )
    return [_standing(row) for row in rows]


async def standings_of(
    session: AsyncSession,
    county_code: str,
    institution_id: str,
    as_of: date,
    *,
    after: tuple[UUID, int],
    limit: int,
) -> list[Standing]:
    """How an institution stood in its cases at the end of a day."""
    rows = await database.fetch(
        session,
        f"""{_STANDINGS}
           WHERE p.county_code = $1 AND p.institution_id = $2 AND m.business_date <= $3
             AND (p.case_id, p.position) > ($4, $5)
           GROUP BY p.county_code, p.case_id, p.position
           ORDER BY p.case_id, p.position LIMIT $6""",
        county_code,
        institution_id,
        as_of,
        *after,
        limit,
    )
    return [_standing(row) for row in rows]


async def owed_shares(
    session: AsyncSession,
    county_code: str,
    *,
    seen_by: str,
    after: tuple[UUID, int],
    limit: int,
) -> list[asyncpg.Record]:
    """Shares that are owed; an institution named sees what it owes and what it is owed."""
    return await database.fetch(
        session,
        """SELECT p.*, c.lender_id, c.decided_on FROM case_part AS p
           JOIN compensation_case AS c USING (county_code, case_id)
           WHERE p.county_code = $1 AND NOT p.own_loss AND p.paid_fen < p.amount_fen
             AND ($2 = '' OR p.institution_id = $2 OR c.lender_id = $2)
             AND (p.case_id, p.position) > ($3, $4)
           ORDER BY p.case_id, p.position LIMIT $5""",
        county_code,
        seen_by,
        *after,
        limit,
    )
