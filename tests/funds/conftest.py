"""An empty funds schema on a real PostgreSQL for each test, its counties open."""

import pytest
import pytest_asyncio

from services.funds.events_in import handlers
from services.funds.servicer import FundsServicer
from services.kernel import business_day
from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from tests.conftest import MakeSchema
from tests.funds.county import COUNTY, OPENED, OTHER_COUNTY, a_catalogue


@pytest_asyncio.fixture(loop_scope="session")
async def db(schema: MakeSchema) -> Database:
    made = await schema("funds", pool_size=12)
    async with made.db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, OPENED)
        await business_day.open_day(session, OTHER_COUNTY, OPENED)
    return made.db


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return a_catalogue()


@pytest.fixture
def servicer(db: Database, catalogue: Catalogue) -> FundsServicer:
    return FundsServicer(db, catalogue)


@pytest.fixture
def consumer(db: Database, catalogue: Catalogue) -> Consumer:
    return Consumer(db, "funds", handlers(catalogue), batch_size_max=500)
