"""The one transaction: it commits, rolls back, and says when the server is away."""

import pytest

from services.kernel import database
from tests.servers import Schema

pytestmark = pytest.mark.postgres


async def test_what_a_block_writes_is_there_after_it(barns: Schema) -> None:
    async with barns.db.transaction() as session:
        await database.execute(session, "INSERT INTO bin VALUES ('a', 1)")

    assert await barns.one("SELECT count(*) FROM bin") == 1
