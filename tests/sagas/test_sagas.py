"""Random histories of the payout and compensation sagas: every rule holds after every step."""

import os
import time

import pytest
import pytest_asyncio

from tests.conftest import MakeSchema
from tests.sagas import county
from tests.sagas.county import Room
from tests.sagas.history import History, seeded

pytestmark = pytest.mark.postgres

SEED_VARIABLE = "LIANDONG_SAGAS_SEED"


@pytest_asyncio.fixture(loop_scope="session")
async def rooms(schema: MakeSchema) -> dict[str, Room]:
    return await county.rooms(schema)


async def test_try(rooms: dict[str, Room]) -> None:
    began = time.monotonic(); cpu = time.process_time()
    n = int(os.environ.get("N", "1"))
    first = int(os.environ.get(SEED_VARIABLE, "0"))
    done = {}
    for seed in range(first, first + n):
        with seeded(seed):
            history = History(rooms, seed, seed)
            await history.live()
        for k, v in history.done.items():
            done[k] = done.get(k, 0) + v
    print(n / (time.monotonic() - began), "histories a second", n/(time.process_time()-cpu), "a cpu second")
    print("\n".join(history.story))
    for k in sorted(done): print(k, done[k])
