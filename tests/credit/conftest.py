"""A credit schema on a real PostgreSQL, empty for each test, its county open."""

import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from deploy.local import places
from deploy.local.postgres import Postgres
from deploy.local.processes import remove_folder
from services.kernel import business_day, migrate
from services.kernel.database import Database
from services.programmes.loader import Catalogue
from tests.credit.county import COUNTY, OPENED, a_catalogue

EMPTIED = (
    "outbox, inbox_event, inbox_position, inbox_count, parked_event, inbox_attempt, idempotency, "
    "business_day, credit_file, indicator, rating"
)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def credit_server() -> AsyncIterator[Postgres]:
    machine = places.find()
    folder = machine.folder(f"test-{secrets.token_hex(6)}")
    server = Postgres(machine, folder)
    try:
        await server.start()
        await server.prepare(["credit"])
        await migrate.upgrade("services.credit", "credit", server.dsn("credit", "owner"))
        yield server
    finally:
        await server.stop()
        await remove_folder(folder)


@pytest_asyncio.fixture(loop_scope="session")
async def db(credit_server: Postgres) -> AsyncIterator[Database]:
    owner = await asyncpg.connect(credit_server.dsn("credit", "owner"))
    await owner.execute(f"TRUNCATE {EMPTIED}")
    await owner.execute(
        "SELECT ensure_outbox_partition(date_trunc('month', now() AT TIME ZONE 'UTC')::date)"
    )
    await owner.close()
    database = Database(credit_server.dsn("credit", "app"), "credit", pool_size=4)
    async with database.transaction() as session:
        await business_day.open_day(session, COUNTY, OPENED)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return a_catalogue()
