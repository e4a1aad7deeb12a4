"""The inbox's turn: a service waits for itself, and never for another on the same server."""

import asyncio

import pytest

from services.kernel import inbox, journal
from services.kernel.database import Database
from services.kernel.walls import EVERY_COUNTY
from tests.servers import Schema

pytestmark = pytest.mark.postgres

SECONDS_MAX = 10.0


async def test_services_that_share_a_database_take_their_turns_apart(barns: Schema) -> None:
    neighbour = Database(barns.server.dsn_of(barns.name), "public", pool_size=1)
    try:
        async with barns.db.transaction(EVERY_COUNTY) as held:
            await inbox.lock(held)
            async with neighbour.transaction(EVERY_COUNTY) as other, asyncio.timeout(SECONDS_MAX):
                await inbox.lock(other)
    finally:
        await neighbour.close()


async def test_two_of_one_service_take_turns(barns: Schema) -> None:
    inside = 0

    async def take() -> None:
        nonlocal inside
        async with barns.db.transaction(EVERY_COUNTY) as session:
            await inbox.lock(session)
            inside += 1
            assert inside == 1
            await journal.balances(session, "000000")
            inside -= 1

    await asyncio.gather(*(take() for _ in range(8)))
