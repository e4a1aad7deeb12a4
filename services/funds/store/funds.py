"""Funds: SQL of funds and of the money that comes into them."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import Contribution, Fund, FundClass, FundState
from services.kernel import database
from services.kernel.money import Fen

Accounts = dict[UUID, tuple[tuple[str, Fen], ...]]


async def accounts_of(session: AsyncSession, rows: Sequence[asyncpg.Record]) -> Accounts:
    """
    Sub-accounts of those of these funds that are divided.

    A statement of its own, after the funds are locked: it sees what the last holder wrote.
    """
    divided = [row["fund_id"] for row in rows if row["divided"]]
    if not divided:
        return {}
    found: dict[UUID, list[tuple[str, Fen]]] = {}
    for row in await database.fetch(
        session,
        """SELECT fund_id, custodian_id, balance_fen FROM fund_account
           WHERE county_code = ANY($1::text[]) AND fund_id = ANY($2::uuid[])
           ORDER BY fund_id, custodian_id""",
        sorted({row["county_code"] for row in rows}),
        divided,
    ):
        found.setdefault(row["fund_id"], []).append((row["custodian_id"], Fen(row["balance_fen"])))
    return {fund_id: tuple(accounts) for fund_id, accounts in found.items()}


def _fund(row: asyncpg.Record, accounts: Accounts) -> Fund:
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
        fund_class=FundClass(row["fund_class"]),
        scope_id=row["scope_id"],
        accounts=accounts.get(row["fund_id"], ()),
    )


async def add_fund(session: AsyncSession, fund: Fund) -> bool:
    """Write a new fund; False when the county has one of its kind already."""
    written = await database.execute(
        session,
        """INSERT INTO fund (county_code, fund_id, programme_id, kind, institution_id, state,
                             balance_fen, covered_fen, owed_fen, leverage_reached, version,
                             fund_class, scope_id)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
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
        fund.fund_class.value,
        fund.scope_id,
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
    accounts = await accounts_of(session, rows)
    return {row["fund_id"]: _fund(row, accounts) for row in rows}


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
    accounts = await accounts_of(session, rows)
    return [_fund(row, accounts) for row in rows]


async def funds_from(session: AsyncSession, rows: Sequence[asyncpg.Record]) -> list[Fund]:
    """Rows of funds read with their sub-accounts."""
    accounts = await accounts_of(session, rows)
    return [_fund(row, accounts) for row in rows]


async def get_fund(session: AsyncSession, county_code: str, fund_id: UUID) -> Fund | None:
    """One fund as it stands."""
    rows = await database.fetch(
        session,
        "SELECT * FROM fund WHERE county_code = $1 AND fund_id = $2",
        county_code,
        fund_id,
    )
    return _fund(rows[0], await accounts_of(session, rows)) if rows else None


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
            bool(fund.accounts),
        )
        for fund in funds
    ]
    await database.write(
        session,
        """UPDATE fund SET state = n.state, balance_fen = n.balance_fen,
                  covered_fen = n.covered_fen, owed_fen = n.owed_fen,
                  leverage_reached = n.leverage_reached, version = n.version,
                  divided = n.divided
           FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[],
                       $6::bigint[], $7::boolean[], $8::bigint[], $9::boolean[])
                AS n (county_code, fund_id, state, balance_fen, covered_fen, owed_fen,
                      leverage_reached, version, divided)
           WHERE fund.county_code = n.county_code AND fund.fund_id = n.fund_id""",
        *database.columns(rows, 9),
    )
    accounts = [(*fund.key, *account) for fund in funds for account in fund.accounts]
    if accounts:
        await database.execute(
            session,
            """INSERT INTO fund_account (county_code, fund_id, custodian_id, balance_fen)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[])
               ON CONFLICT (county_code, fund_id, custodian_id)
               DO UPDATE SET balance_fen = excluded.balance_fen""",
            *database.columns(accounts, 4),
        )


async def add_contributions(session: AsyncSession, made: Sequence[Contribution]) -> None:
    """Write contributions."""
    rows = [
        (
            each.county_code,
            each.contribution_id,
            each.fund_id,
            each.source,
            each.amount_fen,
            each.value_date,
            each.business_date,
            each.custodian_id,
            each.opening,
        )
        for each in made
    ]
    await database.execute(
        session,
        """INSERT INTO contribution (county_code, contribution_id, fund_id, source, amount_fen,
                                     value_date, business_date, custodian_id, opening)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[],
                                $6::date[], $7::date[], $8::text[], $9::boolean[])""",
        *database.columns(rows, 9),
    )
