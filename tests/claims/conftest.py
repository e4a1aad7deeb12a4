"""An empty claims schema on a real PostgreSQL for each test, its counties open."""

import pytest
import pytest_asyncio

from services.claims.events_in import handlers
from services.claims.servicer import ClaimsServicer
from services.claims.servicer.records import RecordsServicer
from services.kernel import business_day
from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from tests.claims.county import COUNTY, OPENED, OTHER_COUNTY, a_catalogue
from tests.conftest import MakeSchema


@pytest_asyncio.fixture(loop_scope="session")
async def db(schema: MakeSchema) -> Database:
    made = await schema("claims", pool_size=12)
    async with made.db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, OPENED)
        await business_day.open_day(session, OTHER_COUNTY, OPENED)
    return made.db


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return a_catalogue()


@pytest.fixture
def servicer(db: Database, catalogue: Catalogue) -> ClaimsServicer:
    return ClaimsServicer(db, catalogue)


@pytest.fixture
def consumer(db: Database, catalogue: Catalogue) -> Consumer:
    return Consumer(db, "claims", handlers(catalogue), batch_size_max=500)


@pytest.fixture
def records(db: Database, catalogue: Catalogue) -> RecordsServicer:
    return RecordsServicer(db, catalogue)
