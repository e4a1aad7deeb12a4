"""Copies of others' facts are made again from the event logs, and a replay moves nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from deploy.local import rebuilding
from deploy.local.postgres import Role
from services.kernel import walls
from services.kernel.database import Database
from services.kernel.inbox import Incoming
from services.kernel.projections import Difference, Projection, Rebuilt, digest, rebuild
from tests.flows.county import YUAN, County

pytestmark = pytest.mark.postgres

KEEPERS = ("credit", "loans", "claims", "funds")


@asynccontextmanager
async def alone(county: County, noun: str, *, write: bool) -> AsyncIterator[Database]:
    """A way in on which nothing was prepared; only the owner may put rows right."""
    schema = county.rooms[noun].schema
    made = Database(schema.owner_dsn if write else schema.app_dsn, noun, pool_size=1)
    try:
        yield made
    finally:
        await made.close()


async def made_again(county: County, projection: Projection, *, write: bool = False) -> Rebuilt:
    outboxes = {noun: room.schema.db for noun, room in county.rooms.items()}
    async with alone(county, projection.noun, write=write) as target:
        return await rebuild(target, projection, outboxes, write=write)


async def digests(county: County, projection: Projection) -> list[str]:
    schema = county.rooms[projection.noun].schema
    async with schema.db.transaction(walls.EVERY_COUNTY, snapshot=True) as session:
        return [str(await digest(session, projection.noun, kept)) for kept in projection.kept]


async def every_row(county: County) -> dict[str, int]:
    """How many rows every table of every service has."""
    tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = $1::regnamespace"
    return {
        f"{noun}.{row['relname']}": await room.schema.one(
            f'SELECT count(*) FROM "{row["relname"]}"'
        )
        for noun, room in county.rooms.items()
        for row in await room.schema.ask(tables, noun)
    }


def unlike(done: Rebuilt) -> list[Difference]:
    return [each for each in done.tables if not each.is_equal]


async def a_story(county: County) -> str:
    """A loan that is lowered by a payout, and one that is not repaid; the first one's id."""
    household_id = await county.household()
    loan = await county.disbursed(household_id, 30_000 * YUAN)
    await county.disbursed(await county.household(), 20_000 * YUAN)
    await county.approved_claim(household_id, 10_000 * YUAN)
    await county.tell()
    await county.confirmed("lender")
    await county.confirmed("insurer")
    await county.tell()
    return str(loan.loan_id)


async def test_what_events_told_is_made_again_to_the_digest_and_put_right_where_it_is_not(
    county: County,
) -> None:
    """F19: equal; a row that was changed by hand, one that is gone and one too many are found."""
    loan_id = UUID(await a_story(county))
    projections = rebuilding.all_projections(county.catalogue)
    rows = await every_row(county)
    for noun in KEEPERS:
        done = await made_again(county, projections[noun])
        assert not unlike(done)
        assert done.events > 0
        assert done.written == 0
    # What handlers did meanwhile, they did to the copies; what they said was said nowhere.
    assert await every_row(county) == rows

    claims = county.rooms["claims"].schema
    before = await digests(county, projections["claims"])
    await claims.ask("UPDATE loan_debt SET outstanding_fen = 1 WHERE loan_id = $1", loan_id)
    await claims.ask("DELETE FROM payee_account")
    await claims.ask(
        """INSERT INTO household SELECT county_code, gen_random_uuid(), area_code, status
           FROM household LIMIT 1"""
    )

    told = await made_again(county, projections["claims"])
    found = {each.table: each for each in unlike(told)}
    assert set(found) == {"household", "loan_debt", "payee_account"}
    assert str(loan_id) in found["loan_debt"].keys[0]
    assert found["payee_account"].held.rows == 0
    assert await digests(county, projections["claims"]) != before

    mended = await made_again(county, projections["claims"], write=True)
    assert mended.written == 2 + found["payee_account"].rebuilt.rows
    assert await digests(county, projections["claims"]) == before
    assert not unlike(await made_again(county, projections["claims"]))
    assert await every_row(county) == rows


def interrupted(projection: Projection, change: Callable[[], Awaitable[None]]) -> Projection:
    """The same, with what the service does between a snapshot and what is put right."""
    (event_type, first), *_ = projection.handlers.items()

    async def handle(session: AsyncSession, run: Sequence[Incoming[Any]]) -> None:
        await change()
        await first.handle(session, run)

    handlers = {**projection.handlers, event_type: first._replace(handle=handle)}
    return replace(projection, handlers=handlers)


async def test_what_the_service_changes_meanwhile_is_put_right_at_the_next_try(
    county: County,
) -> None:
    loan_id = UUID(await a_story(county))
    claims = county.rooms["claims"].schema
    projection = rebuilding.all_projections(county.catalogue)["claims"]
    before = await digests(county, projection)
    tries, changes_left = 0, 1

    def dsn(noun: str, role: Role) -> str:
        nonlocal tries
        tries += role == "owner"
        schema = county.rooms[noun].schema
        return schema.owner_dsn if role == "owner" else schema.app_dsn

    async def change() -> None:
        nonlocal changes_left
        if changes_left > 0:
            changes_left -= 1
            await claims.ask(
                "UPDATE loan_debt SET outstanding_fen = outstanding_fen + 1 WHERE loan_id = $1",
                loan_id,
            )

    await change()
    raced = interrupted(projection, change)
    changes_left = 1_000
    with pytest.raises(asyncpg.SerializationError):
        await rebuilding.rebuild_one(dsn, raced, write=True)
    assert tries == rebuilding.ATTEMPTS_MAX
    assert await digests(county, projection) != before

    tries, changes_left = 0, 1
    done = await rebuilding.rebuild_one(dsn, raced, write=True)

    assert (tries, done.written) == (2, 1)
    assert await digests(county, projection) == before


async def test_any_range_that_is_said_again_moves_nobody(county: County) -> None:
    """What was applied is known: the digests, the totals and the events said stay as they are."""
    await a_story(county)
    projections = rebuilding.all_projections(county.catalogue)
    before = {noun: await digests(county, projections[noun]) for noun in KEEPERS}
    totals = dict((await county.books()).totals)

    for start in (0, 3):
        for room in county.rooms.values():
            room.heard = dict.fromkeys(room.heard, start)
        for noun in KEEPERS:
            consumer = county.rooms[noun].consumer
            assert consumer is not None
            for source in county.rooms:
                again = await county._said_since(county.rooms[noun], source)
                heard = [each for each in again if source in county._hears[noun]]
                taken = await consumer._apply(heard)
                assert not [*taken.take, *taken.early, *taken.behind]
                assert len(taken.known) == len(heard)

    assert {noun: await digests(county, projections[noun]) for noun in KEEPERS} == before
    assert dict((await county.books()).totals) == totals
