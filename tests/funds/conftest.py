"""A funds schema on a real PostgreSQL, empty for each test, its counties open."""

import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from deploy.local import places
from deploy.local.postgres import Postgres
from deploy.local.processes import remove_folder
from services.funds.events_in import handlers
from services.funds.servicer import FundsServicer
from services.kernel import business_day, migrate
from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.programmes.loader import Catalogue
from tests.funds.county import COUNTY, OPENED, OTHER_COUNTY, a_catalogue

EMPTIED = (
    "outbox, inbox_event, inbox_position, inbox_count, parked_event, inbox_attempt, idempotency, "
    "business_day, journal, fund, contribution, cover, loan_statement, loan_payment, "
    "compensation_case, case_part, recovery, recovery_share"
)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def funds_server() -> AsyncIterator[Postgres]:
    machine = places.find()
    folder = machine.folder(f"test-{secrets.token_hex(6)}")
    server = Postgres(machine, folder)
    try:
        await server.start()
        await server.prepare(["funds"])
        await migrate.upgrade("services.funds", "funds", server.dsn("funds", "owner"))
        yield server
    finally:
        await server.stop()
        await remove_folder(folder)


@pytest_asyncio.fixture(loop_scope="session")
async def db(funds_server: Postgres) -> AsyncIterator[Database]:
    owner = await asyncpg.connect(funds_server.dsn("funds", "owner"))
    await owner.execute(f"TRUNCATE {EMPTIED}")
    await owner.execute(
        "SELECT ensure_outbox_partition(date_trunc('month', now() AT TIME ZONE 'UTC')::date)"
    )
    await owner.close()
    database = Database(funds_server.dsn("funds", "app"), "funds", pool_size=12)
    async with database.transaction() as session:
        await business_day.open_day(session, COUNTY, OPENED)
        await business_day.open_day(session, OTHER_COUNTY, OPENED)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return a_catalogue()


@pytest.fixture
def servicer(db: Database, catalogue: Catalogue) -> FundsServicer:
    return FundsServicer(db, catalogue)


@pytest.fixture
def consumer(db: Database, catalogue: Catalogue) -> Consumer:
    return Consumer(db, "funds", handlers(catalogue), batch_size_max=500)
