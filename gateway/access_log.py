"""
Access log: who called what, for which purpose, with which outcome; insert-only, hash-chained.

When a row is on disk, decided: every call's row is written in batches (at most 200 rows or 50 ms),
off the path of the call, with one exception. The answer of a call that *read* something waits for
its row's commit, because nothing else tells that it was read. A command does not wait: what it
changed stands in its service with the institution, the method, the request id and the answer, in
the change's own transaction (kernel/idempotency.py); and a refused call changed and read nothing.
So a killed gateway loses at most the last 50 ms of rows about commands and refusals. When the
database does not take rows any more, the buffer fills to its bound and calls are refused: what
cannot be recorded does not happen.

The chain: a row's digest is sha256 over the digest before it and the row with its position. The
writer computes it under an advisory lock, so that several gateways append to one chain in turn.
`verify` finds a changed, missing, inserted or swapped row; a cut tail only against a `Head` that
was kept elsewhere.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database, telemetry
from services.kernel.away import is_away
from services.kernel.database import Database
from services.kernel.errors import Unavailable

BATCH_ROWS_MAX = 200
BATCH_SECONDS = 0.05
WAITING_ROWS_MAX = 5_000
COMMIT_SECONDS_MAX = 5.0
BACKOFF_SECONDS_MAX = 5.0
FLUSH_SECONDS_MAX = 10.0
VERIFY_ROWS = 10_000

GENESIS = bytes(32)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One call."""

    call_id: UUID
    called_at: datetime
    peer: str
    """SPIFFE id of the client's certificate."""
    institution_id: str
    """Empty when nobody known was asking."""
    person_id: str
    method: str
    service: str
    """The noun that was asked for."""
    county_code: str
    purpose: str
    decision: str
    """`allowed`, or `refused` by the gateway."""
    reason: str
    """Why the gateway refused; empty for what the service decided."""
    outcome: str
    """The status code's name."""
    body_hash: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain at some moment; kept elsewhere it proves that no tail was cut."""

    position: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of the chain found."""

    rows: int
    head: Head
    """The last row that stands."""
    broken_at: int | None
    """First position that does not follow from the one before it; None when all do."""

    @property
    def intact(self) -> bool:
        """Whether every row stands."""
        return self.broken_at is None


_values = attrgetter(*Entry.__slots__)


def body_digest(digest: bytes) -> str:
    """A digest as it stands in the log and in a signed caller."""
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def chain(previous: bytes, position: int, entry: Entry) -> bytes:
    """The digest of a row after the one before it."""
    return _link(previous, position, _values(entry))


def _link(previous: bytes, position: int, values: Sequence[Any]) -> bytes:
    call_id, called_at, *texts = values
    row = [position, call_id.hex, (called_at - _EPOCH) // _MICROSECOND, *texts]
    return hashlib.sha256(previous + json.dumps(row, separators=(",", ":")).encode()).digest()


_INSERT = """
INSERT INTO access_log (position, call_id, called_at, peer, institution_id, person_id, method,
                        service, county_code, purpose, decision, reason, outcome, body_hash,
                        trace_id, digest)
SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[],
                     $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
                     $12::text[], $13::text[], $14::text[], $15::text[], $16::bytea[])
"""


_READ = """
SELECT position, call_id, called_at, peer, institution_id, person_id, method, service, county_code,
       purpose, decision, reason, outcome, body_hash, trace_id, digest
FROM access_log WHERE position > $1 ORDER BY position LIMIT $2
"""


async def head(session: AsyncSession) -> Head:
    """The end of the chain now."""
    rows = await database.fetch(session, _HEAD)
    return Head(rows[0]["position"], rows[0]["digest"]) if rows else Head(0, GENESIS)


_TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtext('liandong-access-log'))"
_HEAD = "SELECT position, digest FROM access_log ORDER BY position DESC LIMIT 1"


async def append(connection: asyncpg.Connection[Any], entries: Sequence[Entry]) -> None:
    """Add rows at the end of the chain, within a transaction; one writer at a time."""
    await connection.fetchval(_TAKE_TURN)
    last = await connection.fetchrow(_HEAD)
    end = Head(last["position"], last["digest"]) if last else Head(0, GENESIS)
    digest = end.digest
    rows = []
    for position, entry in enumerate(entries, end.position + 1):
        digest = chain(digest, position, entry)
        rows.append((position, *_values(entry), digest))
    await connection.execute(_INSERT, *database.columns(rows, 16))


async def verify(session: AsyncSession, *, kept: Sequence[Head] = ()) -> Verification:
    """Compute the chain again from its beginning, and hold it against heads kept elsewhere."""
    expected = {one.position: one.digest for one in kept}
    last = Head(0, GENESIS)
    rows = 0
    while True:
        found = await database.fetch(
            session,
            _READ,
            last.position,
            VERIFY_ROWS,
        )
        for position, *values, written in found:
            digest = _link(last.digest, position, values)
            follows = position == last.position + 1 and digest == written
            if not follows or expected.pop(position, digest) != digest:
                return Verification(rows, last, last.position + 1)
            last = Head(position, digest)
            rows += 1
        if len(found) < VERIFY_ROWS:
            beyond = min(expected, default=None)
            return Verification(rows, last, None if beyond is None else last.position + 1)


class AccessLog:
    """Buffers rows and writes them; bounded in rows, in time and in what a stop may take."""

    def __init__(self, db: Database) -> None:
        self._database = db
        self._rows: deque[tuple[Entry, asyncio.Future[None] | None]] = deque()
        self._some = asyncio.Event()
        self._at_once = asyncio.Event()
        self._unsure = 0
        """Rows of an attempt that failed, and yet may have been committed."""

    def require_room(self) -> None:
        """Refuse a call that could not be recorded."""
        if len(self._rows) >= WAITING_ROWS_MAX:
            raise Unavailable(
                "ACCESS_LOG_UNAVAILABLE",
                "calls cannot be recorded: the gateway's database does not answer",
                message_zh="访问日志暂时不可用,请稍后重试",
            )

    def add(self, entry: Entry) -> None:
        """Have a row written within the next batch."""
        self._put(entry, None)

    async def add_and_wait(self, entry: Entry) -> None:
        """Have a row written at once, and wait until it is on disk."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(entry, written)
        self._at_once.set()
        try:
            async with asyncio.timeout(COMMIT_SECONDS_MAX):
                await written
        except TimeoutError:
            raise Unavailable(
                "ACCESS_LOG_UNAVAILABLE",
                "the call could not be recorded, so its answer is withheld",
                message_zh="访问日志暂时不可用,请稍后重试",
            ) from None

    def _put(self, entry: Entry, written: asyncio.Future[None] | None) -> None:
        self._rows.append((entry, written))
        self._some.set()
        if len(self._rows) >= BATCH_ROWS_MAX:
            self._at_once.set()

    async def run(self) -> None:
        """Write until cancelled; then write what is left, for a bounded time."""
        backoff = 0.1
        try:
            while True:
                await self._some.wait()
                try:
                    async with self._database.connection() as connection:
                        while True:
                            await self._wait_for_rows()
                            await self._write(connection)
                            backoff = 0.1
                except Exception as error:
                    if not is_away(error):
                        raise
                    telemetry.count("liandong.access_log.waits")
                    log.warning("access_log_waits", rows=len(self._rows))
                    await asyncio.sleep(backoff)
                    backoff = min(backoff * 2, BACKOFF_SECONDS_MAX)
        finally:
            await self._flush()

    async def _wait_for_rows(self) -> None:
        await self._some.wait()
        if self._at_once.is_set():
            return
        try:
            async with asyncio.timeout(BATCH_SECONDS):
                await self._at_once.wait()
        except TimeoutError:
            return

    async def _write(self, connection: asyncpg.Connection[Any]) -> None:
        count = self._unsure or min(len(self._rows), BATCH_ROWS_MAX)
        batch = [self._rows[place] for place in range(count)]
        if batch:
            async with connection.transaction():
                # The attempt before may have been committed although its connection broke.
                if not (self._unsure and await _has(connection, batch[0][0])):
                    self._unsure = count
                    await append(connection, [entry for entry, _ in batch])
            self._unsure = 0
        for _, written in batch:
            self._rows.popleft()
            if written is not None and not written.done():
                written.set_result(None)
        if not self._rows:
            self._some.clear()
        if len(self._rows) < BATCH_ROWS_MAX and not any(written for _, written in self._rows):
            self._at_once.clear()

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_SECONDS_MAX):
                if self._rows:
                    async with self._database.connection() as connection:
                        while self._rows:
                            await self._write(connection)
        except Exception as error:
            if not (is_away(error) or isinstance(error, TimeoutError)):
                raise
            log.exception("access_log_cut", rows=len(self._rows))


async def _has(connection: asyncpg.Connection[Any], entry: Entry) -> bool:
    await connection.fetchval(_TAKE_TURN)
    sql = "SELECT count(*) FROM access_log WHERE call_id = $1"
    return bool(await connection.fetchval(sql, entry.call_id))
