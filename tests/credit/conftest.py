"""A credit schema on a real PostgreSQL, empty for each test, its county open."""

import pytest
import pytest_asyncio

from services.kernel import business_day
from services.kernel.database import Database
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from tests.conftest import MakeSchema
from tests.credit.chained import chained, desk
from tests.credit.county import COUNTY, OPENED, a_catalogue


@pytest_asyncio.fixture(loop_scope="session")
async def db(schema: MakeSchema) -> Database:
    made = await schema("credit")
    async with made.db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, OPENED)
    return made.db


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return a_catalogue()


__all__ = ["catalogue", "chained", "db", "desk"]
