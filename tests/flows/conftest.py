"""A county of five services whose books add up before a test and after it."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.conftest import MakeSchema
from tests.flows.county import County, a_county


@pytest_asyncio.fixture(loop_scope="session")
async def county(schema: MakeSchema) -> AsyncIterator[County]:
    made = await a_county(schema)
    await made.begin()
    yield made
    await made.tell()
    await made.books()
