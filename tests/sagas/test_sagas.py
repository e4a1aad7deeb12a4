"""
Random histories of the payout and compensation sagas: every rule holds after every step.

A history is a county of its own in three real services (claims, loans, funds) on real databases. A
seed decides what institutions ask (repay, take back, claim, confirm, file, decide, ask twice), which
events reach whom, in which order and how often, and where a process dies around its commit. The
books are read after each step and held against the rules of faults.md, B.0; in the end all events
are heard, all payments confirmed, and the services must agree.

    make sagas-long                                  10,000 histories, 1,000 seeds a mutant
    LIANDONG_SAGAS_SEED=123 [LIANDONG_SAGAS_MUTANT=no_inbox] pytest -m "" tests/sagas -k replay

The pieces grow apart: `county` is the world, `faults` what breaks, `books` what must hold, `history`
what is done, `mutants` what the histories must find.
"""

import asyncio
import itertools
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from tests.conftest import MakeSchema
from tests.sagas import county
from tests.sagas.county import Room
from tests.sagas.faults import seed_ids, seeded_ids
from tests.sagas.history import Found, History
from tests.sagas.mutants import MUTANTS

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(900)]

log = logging.getLogger(__name__)

SEED_VARIABLE = "LIANDONG_SAGAS_SEED"
"""A seed to live again, and nothing else."""
MUTANT_VARIABLE = "LIANDONG_SAGAS_MUTANT"
HISTORIES_VARIABLE = "LIANDONG_SAGAS_HISTORIES"
"""How many clean histories; the long form lives ten thousand."""
SEEDS_VARIABLE = "LIANDONG_SAGAS_SEEDS"
"""How many seeds a mutant may hide from."""
HISTORIES = int(os.environ.get(HISTORIES_VARIABLE, "40"))
SEEDS = int(os.environ.get(SEEDS_VARIABLE, "60"))
LANES = 2
"""Histories side by side, each on databases of its own."""


@dataclass
class World:
    """The services, a set for each lane, and the counties that were used already."""

    lanes: list[dict[str, Room]]
    places: Iterator[int] = field(default_factory=itertools.count)
    done: Counter[str] = field(default_factory=Counter)
    lived: int = 0

    async def live(self, seeds: Iterable[int]) -> Found | None:
        """Live one seed after the other in every lane; the first that breaks a rule."""
        left = iter(seeds)
        found: list[Found] = []

        async def lane(rooms: dict[str, Room]) -> None:
            for seed in left:
                if found:
                    return
                seed_ids(seed)
                history = History(rooms, seed, next(self.places))
                try:
                    await history.live()
                except Found as broken:
                    found.append(broken)
                self.done.update(history.done)
                self.lived += 1

        await asyncio.gather(*(lane(rooms) for rooms in self.lanes))
        return min(found, key=lambda each: each.seed) if found else None


@pytest_asyncio.fixture(loop_scope="session")
async def world(schema: MakeSchema) -> AsyncIterator[World]:
    with seeded_ids():
        yield World([await county.rooms(schema) for _ in range(LANES)])


@contextmanager
def planted(name: str):
    with pytest.MonkeyPatch.context() as patch:
        MUTANTS[name](patch)
        yield


async def test_histories(world: World) -> None:
    began = time.monotonic()
    first = int(os.environ.get("FIRST", "0"))
    cpu = time.process_time()
    found = await world.live(range(first, first + HISTORIES))
    print(world.lived / (time.monotonic() - began), "a second", world.lived/(time.process_time()-cpu))
    for k in sorted(world.done): print(k, world.done[k])
    if found: raise found


async def test_mutants(world: World) -> None:
    for name in os.environ.get("MUT", ",".join(MUTANTS)).split(","):
        began = time.monotonic()
        with planted(name):
            found = await world.live(range(SEEDS))
        print(name, found and found.seed, round(time.monotonic()-began,1), str(found.lines)[:200] if found else "", flush=True)
