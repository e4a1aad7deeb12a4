"""An empty loans schema on a real PostgreSQL for each test, its counties open."""

from pathlib import Path

import pytest
import pytest_asyncio

from services.kernel import business_day
from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.walls import EVERY_COUNTY
from services.loans.events_in import handlers
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue, load
from services.programmes.terms import Terms
from tests.conftest import MakeSchema
from tests.loans.county import COUNTY, OPENED, OTHER_COUNTY, REF, a_catalogue

DEMO_COUNTY = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "county"


@pytest_asyncio.fixture(loop_scope="session")
async def db(schema: MakeSchema) -> Database:
    made = await schema("loans", pool_size=12)
    async with made.db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, OPENED)
        await business_day.open_day(session, OTHER_COUNTY, OPENED)
    return made.db


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return a_catalogue()


@pytest.fixture(scope="session")
def terms(catalogue: Catalogue) -> Terms:
    """What the invented county lives under."""
    return catalogue.terms(COUNTY, REF)


@pytest.fixture(scope="session")
def published() -> Terms:
    """What a county lives under that follows a packaged programme, with the demo's overlay."""
    found = load([DEMO_COUNTY])
    (county,) = found.counties()
    entry = found.adopted[county].entries[0]
    return found.terms(county, entry.programme)


@pytest.fixture
def servicer(db: Database, catalogue: Catalogue) -> LoansServicer:
    return LoansServicer(db, catalogue)


@pytest.fixture
def consumer(db: Database, catalogue: Catalogue) -> Consumer:
    return Consumer(db, "loans", handlers(catalogue), batch_size_max=500)
