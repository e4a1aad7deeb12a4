"""Loans: SQL of collateral."""

from collections.abc import Collection, Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.money import Fen
from services.loans.model import Collateral

ROWS_MAX = 5_000


def _collateral(row: asyncpg.Record) -> Collateral:
    return Collateral(
        collateral_id=row["collateral_id"],
        loan_id=row["loan_id"],
        lender_id=row["lender_id"],
        area_code=row["area_code"],
        pledge_id=row["pledge_id"],
        asset=row["asset"],
        units=row["units"],
        unit_value_fen=Fen(row["unit_value_fen"]),
        value_fen=Fen(row["value_fen"]),
        secures_fen=Fen(row["secures_fen"]),
        source=row["source"],
        evidence=row["evidence"],
        valued_on=row["valued_on"],
        revalue_by=row["revalue_by"],
        keeper_id=row["keeper_id"],
        registered_on=row["registered_on"],
        month_yield_fen=Fen(row["month_yield_fen"]),
        months_borne=row["months_borne"],
        yield_fen=Fen(row["yield_fen"]),
        refunded_fen=Fen(row["refunded_fen"]),
        released_on=row["released_on"],
    )


async def insert(session: AsyncSession, county_code: str, made: Collateral) -> None:
    """Write new collateral."""
    await database.execute(
        session,
        """INSERT INTO collateral (county_code, collateral_id, loan_id, lender_id, area_code,
               pledge_id, asset, units, unit_value_fen, value_fen, secures_fen, source, evidence,
               valued_on, revalue_by, keeper_id, month_yield_fen, registered_on)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                   $18)""",
        county_code,
        made.collateral_id,
        made.loan_id,
        made.lender_id,
        made.area_code,
        made.pledge_id,
        made.asset,
        made.units,
        made.unit_value_fen,
        made.value_fen,
        made.secures_fen,
        made.source,
        made.evidence,
        made.valued_on,
        made.revalue_by,
        made.keeper_id,
        made.month_yield_fen,
        made.registered_on,
    )


async def save(session: AsyncSession, county_code: str, rows: Sequence[Collateral]) -> None:
    """Write what changed of collateral that is held."""
    if not rows:
        return
    values = [
        (
            c.collateral_id,
            c.units,
            c.unit_value_fen,
            c.value_fen,
            c.secures_fen,
            c.source,
            c.valued_on,
            c.revalue_by,
            c.month_yield_fen,
            c.months_borne,
            c.yield_fen,
            c.refunded_fen,
            c.released_on,
        )
        for c in rows
    ]
    await database.execute(
        session,
        """UPDATE collateral AS c SET units = n.units, unit_value_fen = n.unit_value_fen,
               value_fen = n.value_fen, secures_fen = n.secures_fen, source = n.source,
               valued_on = n.valued_on, revalue_by = n.revalue_by,
               month_yield_fen = n.month_yield_fen, months_borne = n.months_borne,
               yield_fen = n.yield_fen, refunded_fen = n.refunded_fen,
               released_on = n.released_on
           FROM unnest($2::uuid[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[],
                       $7::text[], $8::date[], $9::date[], $10::bigint[], $11::int[],
                       $12::bigint[], $13::bigint[], $14::date[])
                AS n (collateral_id, units, unit_value_fen, value_fen, secures_fen, source,
                      valued_on, revalue_by, month_yield_fen, months_borne, yield_fen,
                      refunded_fen, released_on)
           WHERE c.county_code = $1 AND c.collateral_id = n.collateral_id""",
        county_code,
        *database.columns(values, 13),
    )


async def add_valuation(
    session: AsyncSession, county_code: str, valued: Collateral, person_id: str
) -> None:
    """Write a valuation."""
    await database.execute(
        session,
        """INSERT INTO valuation (county_code, collateral_id, valued_on, units, unit_value_fen,
                                  value_fen, secures_fen, source, person_id)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)""",
        county_code,
        valued.collateral_id,
        valued.valued_on,
        valued.units,
        valued.unit_value_fen,
        valued.value_fen,
        valued.secures_fen,
        valued.source,
        person_id,
    )


async def find(session: AsyncSession, county_code: str, collateral_id: UUID) -> Collateral | None:
    """One collateral, not held: its loan is held first."""
    rows = await database.fetch(
        session,
        "SELECT * FROM collateral WHERE county_code = $1 AND collateral_id = $2",
        county_code,
        collateral_id,
    )
    return _collateral(rows[0]) if rows else None


async def securing(
    session: AsyncSession, county_code: str, loan_ids: Collection[UUID]
) -> list[Collateral]:
    """What secures some loans now."""
    rows = await database.fetch(
        session,
        """SELECT * FROM collateral WHERE county_code = $1 AND loan_id = ANY($2::uuid[])
             AND released_on IS NULL ORDER BY collateral_id""",
        county_code,
        list(loan_ids),
    )
    return [_collateral(row) for row in rows]


async def listed(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    lender_id: str,
    loan_id: UUID | None,
    after: UUID | None,
    limit: int,
) -> list[Collateral]:
    """Collateral within areas, of one lender or all, in id order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM collateral AS c WHERE county_code = $1
             AND EXISTS (SELECT FROM unnest($2::text[]) AS a (code)
                         WHERE starts_with(c.area_code, a.code))
             AND ($3 = '' OR lender_id = $3) AND ($4::uuid IS NULL OR loan_id = $4)
             AND ($5::uuid IS NULL OR collateral_id > $5)
           ORDER BY collateral_id LIMIT $6""",
        county_code,
        list(areas),
        lender_id,
        loan_id,
        after,
        limit,
    )
    return [_collateral(row) for row in rows]


async def of_closed_loans(session: AsyncSession, county_code: str) -> list[Collateral]:
    """What still secures loans of which nothing is owed any more."""
    rows = await database.fetch(
        session,
        """SELECT c.* FROM collateral AS c JOIN loan AS l USING (county_code, loan_id)
           WHERE county_code = $1 AND c.released_on IS NULL AND l.state IN ('settled', 'refused')
           ORDER BY c.loan_id, c.collateral_id LIMIT $2""",
        county_code,
        ROWS_MAX,
    )
    return [_collateral(row) for row in rows]


async def bearing(session: AsyncSession, county_code: str, day: date) -> list[Collateral]:
    """Deposits that have borne another month by a day."""
    rows = await database.fetch(
        session,
        """SELECT * FROM collateral WHERE county_code = $1 AND released_on IS NULL
             AND month_yield_fen > 0
             AND (registered_on + make_interval(months => months_borne + 1))::date <= $2
           ORDER BY loan_id, collateral_id LIMIT $3""",
        county_code,
        day,
        ROWS_MAX,
    )
    return [_collateral(row) for row in rows]


async def to_revalue(session: AsyncSession, county_code: str, day: date) -> list[Collateral]:
    """What had to be valued anew by a day and was not."""
    rows = await database.fetch(
        session,
        """SELECT * FROM collateral WHERE county_code = $1 AND released_on IS NULL
             AND revalue_by < $2 ORDER BY loan_id, collateral_id LIMIT $3""",
        county_code,
        day,
        ROWS_MAX,
    )
    return [_collateral(row) for row in rows]
