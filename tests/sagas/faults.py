"""What breaks in a history: processes that die around a commit, and a stream that misbehaves."""

import itertools
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import asyncpg
from nats.aio.client import Client
from nats.aio.msg import Msg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import cloudevents, ids
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.cloudevents import Envelope
from services.kernel.database import Database
from services.kernel.walls import NOBODY, Scope

BEFORE_COMMIT, AFTER_COMMIT = "before its commit", "after its commit"


class Died(BaseException):
    """The process is gone: nothing of it may catch this, as nothing catches a SIGKILL."""


class Fragile(Database):
    """A service's database whose process dies at a commit when told to."""

    dies: str = ""
    deaths: int = 0

    @asynccontextmanager
    async def transaction(
        self, whom: Caller | Scope = NOBODY, *, snapshot: bool = False, lock: str = ""
    ) -> AsyncIterator[AsyncSession]:
        """As ever, but for the death that was asked for."""
        async with super().transaction(whom, snapshot=snapshot, lock=lock) as session:
            yield session
            self._die(BEFORE_COMMIT)
        self._die(AFTER_COMMIT)

    def _die(self, when: str) -> None:
        if self.dies == when:
            self.dies = ""
            self.deaths += 1
            raise Died(when)


class Letter(Msg):
    """An event on its way: what is done to it is kept, and no server hears of it."""

    def __init__(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        super().__init__(Client(), subject, "", payload, dict(headers))
        self.settled = False
        self.tries = 0

    @property
    def is_acked(self) -> bool:
        """Whether it was taken care of in this delivery."""
        return self.settled

    @property
    def metadata(self) -> Any:
        """How often it was delivered."""
        return SimpleNamespace(num_delivered=self.tries)

    async def ack(self) -> None:
        """Taken in, known, or parked."""
        self.settled = True

    async def nak(self, delay: float | None = None) -> None:
        """Given back: it comes again."""

    async def term(self) -> None:
        """Never to be delivered again: no event of ours is unreadable."""
        raise AssertionError(f"unreadable: {self.subject}")


def letter(row: Mapping[str, Any], source: str) -> Letter:
    """A row of an outbox, as the relay would publish it."""
    envelope = Envelope(
        event_id=UUID(int=row["event_id"].int),
        event_type=row["event_type"],
        aggregate_type=row["aggregate_type"],
        aggregate_id=row["aggregate_id"],
        sequence=row["sequence"],
        county_code=row["county_code"],
        business_date=row["business_date"],
        programme=row["programme"],
        traceparent="",
        recorded_at=row["recorded_at"],
    )
    headers = cloudevents.headers(envelope, source=source)
    return Letter(f"{row['event_type']}.{row['county_code']}", row["payload"], headers)


@dataclass
class Post:
    """The letters to one service: those under way, and those that it has had."""

    consumer: Consumer
    under_way: list[Letter] = field(default_factory=list)
    had: list[Letter] = field(default_factory=list)

    async def deliver(self, letters: Sequence[Letter]) -> None:
        """Hand letters over in this order; what is not settled stays under way."""
        for each in letters:
            each.settled = False
            each.tries += 1
        # Only a gap of a minute makes a consumer publish, and no history lasts so long.
        await self.consumer._take(cast(Client, None), letters)
        self._sort_out()

    def _sort_out(self) -> None:
        self.had += [each for each in self.under_way if each.settled]
        self.under_way = [each for each in self.under_way if not each.settled]

    def some(self, rng: Random) -> list[Letter]:
        """Some of what is under way, a few shuffled and a few twice, with an old one among them."""
        if not self.under_way:
            return rng.sample(self.had, min(len(self.had), 3))
        count = rng.randint(1, len(self.under_way))
        shuffled = rng.random() < 0.4
        chosen = rng.sample(self.under_way, count) if shuffled else self.under_way[:count]
        chosen += [each for each in chosen if rng.random() < 0.3]
        if self.had and rng.random() < 0.3:
            chosen.insert(0, rng.choice(self.had))
        return chosen


async def fresh(
    connection_ask: Any, county_code: str, after: int
) -> tuple[int, Sequence[asyncpg.Record]]:
    """What a service has said of a county since a position."""
    rows = await connection_ask(
        "SELECT * FROM outbox WHERE county_code = $1 AND position > $2 ORDER BY position",
        county_code,
        after,
    )
    return (rows[-1]["position"] if rows else after), rows


# --- the same ids each time -----------------------------------------------------------------------

_NOISE: ContextVar[tuple[Random, Iterator[int]] | None] = ContextVar("noise", default=None)


class _Like:
    """A module with one function exchanged."""

    def __init__(self, module: Any, **changed: Any) -> None:
        self._module = module
        self.__dict__.update(changed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


@contextmanager
def seeded_ids() -> Iterator[None]:
    """Ids come from the seed of the history that asks: it locks and divides in the same order."""
    held = cast(Any, ids)
    before = held.os, held.time

    def urandom(count: int) -> bytes:
        noise = _NOISE.get()
        return os.urandom(count) if noise is None else noise[0].randbytes(count)

    def time_ns() -> int:
        noise = _NOISE.get()
        return time.time_ns() if noise is None else next(noise[1]) * 1_000_000

    held.os, held.time = _Like(os, urandom=urandom), _Like(time, time_ns=time_ns)
    try:
        yield
    finally:
        held.os, held.time = before


def seed_ids(seed: int, place: int) -> None:
    """From here on this task's ids are those of a seed, at a time that no other life has."""
    _NOISE.set((Random(seed), itertools.count(1_700_000_000_000 + place * 100_000)))
