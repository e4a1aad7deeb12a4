"""Funds: SQL of funds and of the money that comes into them."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import Contribution, Fund, FundState
from services.kernel import database
from services.kernel.money import Fen


def _fund(row: asyncpg.Record) -> Fund:
    return Fund(
        county_code=row["county_code"],
        fund_id=row["fund_id"],
        programme_id=row["programme_id"],
        kind=row["kind"],
        institution_id=row["institution_id"],
        state=FundState(row["state"]),
        balance_fen=Fen(row["balance_fen"]),
        covered_fen=Fen(row["covered_fen"]),
        owed_fen=Fen(row["owed_fen"]),
        leverage_reached=row["leverage_reached"],
        version=row["version"],
    )


async def add_fund(session: AsyncSession, fund: Fund) -> bool:
    """Write a new fund; False when the county has one of its kind already."""
    written = await database.execute(
        session,
        """INSERT INTO fund (county_code, fund_id, programme_id, kind, institution_id, state,
                             balance_fen, covered_fen, owed_fen, leverage_reached, version)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
           ON CONFLICT ON CONSTRAINT fund_kind_once DO NOTHING""",
        fund.county_code,
        fund.fund_id,
        fund.programme_id,
        fund.kind,
        fund.institution_id,
        fund.state.value,
        fund.balance_fen,
        fund.covered_fen,
        fund.owed_fen,
        fund.leverage_reached,
        fund.version,
    )
    return written == 1


async def lock_funds(session: AsyncSession, counties: Iterable[str]) -> dict[UUID, Fund]:
    """All funds of some counties, held until the transaction ends; last of all locks taken."""
    rows = await database.fetch(
        session,
        """SELECT * FROM fund WHERE county_code = ANY($1::text[])
           ORDER BY county_code, fund_id FOR UPDATE""",
        sorted(set(counties)),
    )
    return {row["fund_id"]: _fund(row) for row in rows}


async def list_funds(
    session: AsyncSession, county_code: str, *, after: UUID, limit: int
) -> list[Fund]:
    """A page of a county's funds."""
    rows = await database.fetch(
        session,
        """SELECT * FROM fund WHERE county_code = $1 AND fund_id > $2
           ORDER BY fund_id LIMIT $3""",
        county_code,
        after,
        limit,
    )
    return [_fund(row) for row in rows]


async def get_fund(session: AsyncSession, county_code: str, fund_id: UUID) -> Fund | None:
    """One fund as it stands."""
    rows = await database.fetch(
        session,
        "SELECT * FROM fund WHERE county_code = $1 AND fund_id = $2",
        county_code,
        fund_id,
    )
    return _fund(rows[0]) if rows else None


async def save_funds(session: AsyncSession, funds: Sequence[Fund]) -> None:
    """Write funds back that were locked."""
    if not funds:
        return
    rows = [
        (
            fund.county_code,
            fund.fund_id,
            fund.state.value,
            fund.balance_fen,
            fund.covered_fen,
            fund.owed_fen,
            fund.leverage_reached,
            fund.version,
        )
        for fund in funds
    ]
    await database.execute(
        session,
        """UPDATE fund SET state = n.state, balance_fen = n.balance_fen,
                  covered_fen = n.covered_fen, owed_fen = n.owed_fen,
                  leverage_reached = n.leverage_reached, version = n.version
           FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[],
                       $6::bigint[], $7::boolean[], $8::bigint[])
                AS n (county_code, fund_id, state, balance_fen, covered_fen, owed_fen,
                      leverage_reached, version)
           WHERE fund.county_code = n.county_code AND fund.fund_id = n.fund_id""",
        *database.columns(rows, 8),
    )


async def add_contribution(session: AsyncSession, contribution: Contribution) -> None:
    """Write a contribution."""
    await database.execute(
        session,
        """INSERT INTO contribution (county_code, contribution_id, fund_id, source, amount_fen,
                                     value_date, business_date)
           VALUES ($1, $2, $3, $4, $5, $6, $7)""",
        contribution.county_code,
        contribution.contribution_id,
        contribution.fund_id,
        contribution.source,
        contribution.amount_fen,
        contribution.value_date,
        contribution.business_date,
    )
