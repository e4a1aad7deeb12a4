"""
Access log: who called what, for which purpose, with which outcome; insert-only, hash-chained.

When a row is on disk, decided: every call's row is written in batches (at most 200 rows or 50 ms),
off the path of the call, with one exception. The answer of a call that *read* something waits for
its row's commit, because nothing else tells that it was read. Where several calls wait at a time,
the next commit waits a few milliseconds for more of them. A command does not wait: what it
changed stands in its service with the institution, the method, the request id and the answer, in
the change's own transaction (kernel/idempotency.py); and a refused call changed and read nothing.
So a killed gateway loses at most the last 50 ms of rows about commands and refusals. When the
database does not take rows any more, the buffer fills to its bound and calls are refused: what
cannot be recorded does not happen.

The chain (log_chain): the writer computes it under an advisory lock, so that several gateways
append to one chain in turn. Seals (log_seals) put signed checkpoints on it; when none could be put
for `EVIDENCE_SECONDS_MAX`, calls are refused too: what cannot be proven does not happen.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from gateway.log_chain import BEGINNING, VERSION, Head, link, row_text
from services.kernel import database, telemetry
from services.kernel.away import is_away
from services.kernel.database import Database
from services.kernel.errors import Unavailable

BATCH_ROWS_MAX = 200
BATCH_SECONDS = 0.05
GATHER_SECONDS = 0.004
"""How long a commit is put off for more calls to share it, after one that several waited for."""
WAITING_ROWS_MAX = 5_000
COMMIT_SECONDS_MAX = 5.0
BACKOFF_SECONDS_MAX = 5.0
FLUSH_SECONDS_MAX = 10.0
SEAL_ROWS = 1_000
"""So many rows call for a checkpoint at once."""
EVIDENCE_SECONDS_MAX = 4 * 3_600.0
"""How long calls go on although no checkpoint can be signed (as X-Road does with time stamps)."""

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
    resources: tuple[str, ...] = ()
    """What it touched, `household:<id>`, as far as the request names it (resources)."""
    break_glass_id: str = ""
    """The break-glass that it was made under; empty for none."""


_values = attrgetter(*Entry.__slots__)


def body_digest(digest: bytes) -> str:
    """A digest as it stands in the log and in a signed caller."""
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def chain(previous: bytes, position: int, entry: Entry) -> bytes:
    """The digest of a row after the one before it."""
    return link(previous, row_text(VERSION, position, _values(entry)))


_INSERT = f"""
INSERT INTO access_log (position, call_id, called_at, peer, institution_id, person_id, method,
                        service, county_code, purpose, decision, reason, outcome, body_hash,
                        trace_id, resources, break_glass_id, digest, chain_version)
SELECT position, call_id, called_at, peer, institution_id, person_id, method, service, county_code,
       purpose, decision, reason, outcome, body_hash, trace_id, string_to_array(resources, ' '),
       break_glass_id, digest, {VERSION}
FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[],
            $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[],
            $14::text[], $15::text[], $16::text[], $17::text[], $18::bytea[])
    AS new (position, call_id, called_at, peer, institution_id, person_id, method, service,
            county_code, purpose, decision, reason, outcome, body_hash, trace_id, resources,
            break_glass_id, digest)
"""  # noqa: S608 - the version is a number of ours
_COLUMNS = 18

# Where the end is as we left it: the turn, the rows and the commit in one round trip instead of
# five. What this statement sees is older than its turn, so of a row that another gateway wrote
# meanwhile it knows only by the primary key.
_INSERT_AFTER = f"""
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(hashtext('liandong-access-log')))
{_INSERT}, turn WHERE EXISTS (SELECT FROM access_log AS l WHERE l.position = $19 AND l.digest = $20)
"""  # noqa: S608 - the version is a number of ours

_TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtext('liandong-access-log'))"
HEAD = "SELECT position, digest FROM access_log ORDER BY position DESC LIMIT 1"
HEAD_OF_CUT = "SELECT position, digest FROM access_log_cut ORDER BY position DESC LIMIT 1"


async def append(connection: asyncpg.Connection[Any], entries: Sequence[Entry]) -> Head:
    """Add rows at the end of the chain, within a transaction; one writer at a time."""
    await connection.fetchval(_TAKE_TURN)
    last = await connection.fetchrow(HEAD) or await connection.fetchrow(HEAD_OF_CUT)
    end = Head(last["position"], last["digest"]) if last else BEGINNING
    columns, end = _chained(end, entries)
    await connection.execute(_INSERT, *columns)
    return end


async def append_after(
    connection: asyncpg.Connection[Any], end: Head, entries: Sequence[Entry]
) -> Head | None:
    """Add rows and commit them, where the chain still ends there; None where it does not."""
    columns, new_end = _chained(end, entries)
    try:
        status = await connection.execute(_INSERT_AFTER, *columns, end.position, end.digest)
    except asyncpg.UniqueViolationError:
        return None
    return new_end if int(status.rsplit(" ", 1)[-1]) else None


def _chained(end: Head, entries: Sequence[Entry]) -> tuple[list[list[object]], Head]:
    """Rows after an end, as columns, and the end that they make."""
    digest = end.digest
    rows = []
    for position, entry in enumerate(entries, end.position + 1):
        values = _values(entry)
        digest = link(digest, row_text(VERSION, position, values))
        *own, resources, break_glass_id = values
        rows.append((position, *own, " ".join(resources), break_glass_id, digest))
    return database.columns(rows, _COLUMNS), Head(end.position + len(rows), digest)


class AccessLog:
    """Buffers rows and writes them; bounded in rows, in time and in what a stop may take."""

    def __init__(self, db: Database) -> None:
        self._database = db
        self._rows: deque[tuple[Entry, asyncio.Future[None] | None]] = deque()
        telemetry.bound(
            "access_log_rows", lambda: len(self._rows), WAITING_ROWS_MAX, noun="gateway"
        )
        self._some = asyncio.Event()
        self._at_once = asyncio.Event()
        self._several = False
        """More than one call waited for the last commit, so others are likely on their way."""
        self._unsure = 0
        """Rows of an attempt that failed, and yet may have been committed."""
        self._end: Head | None = None
        """The end of the chain as we left it; another gateway may have gone on since."""
        self.many = asyncio.Event()
        """Set when enough rows were written for a checkpoint; who makes one clears it."""
        self._unsealed = 0
        self._sealed_at = time.monotonic()

    def note_seal(self) -> None:
        """A checkpoint covers all that was written."""
        self._unsealed = 0
        self._sealed_at = time.monotonic()
        self.many.clear()

    def seal_age_seconds(self) -> float:
        """How long ago all that was written was covered by a checkpoint."""
        return time.monotonic() - self._sealed_at

    def require_room(self) -> None:
        """Refuse a call that could not be recorded."""
        if len(self._rows) >= WAITING_ROWS_MAX:
            raise Unavailable(
                "ACCESS_LOG_UNAVAILABLE",
                "calls cannot be recorded: the gateway's database does not answer",
                message_zh="访问日志暂时不可用,请稍后重试",
            )
        if time.monotonic() - self._sealed_at > EVIDENCE_SECONDS_MAX:
            raise Unavailable(
                "ACCESS_LOG_UNPROVEN",
                "no checkpoint of the access log could be signed for too long",
                message_zh="访问日志长时间未能签名存证,暂停服务",
            )

    def add(self, entry: Entry) -> None:
        """Have a row written within the next batch."""
        self._put(entry, None)

    async def add_and_wait(self, entry: Entry) -> None:
        """Have a row written at once, and wait until it is on disk."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        self._put(entry, written)
        self._at_once.set()
        # Not `asyncio.timeout`, which costs a call more than the rest of this.
        late = loop.call_later(COMMIT_SECONDS_MAX, _withhold, written)
        try:
            await written
        finally:
            late.cancel()

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
            if self._several and len(self._rows) < BATCH_ROWS_MAX:
                await asyncio.sleep(GATHER_SECONDS)
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
            await self._append(connection, [entry for entry, _ in batch])
            self._unsealed += count
            if self._unsealed >= SEAL_ROWS:
                self.many.set()
        self._several = sum(written is not None for _, written in batch) > 1
        for _, written in batch:
            self._rows.popleft()
            if written is not None and not written.done():
                written.set_result(None)
        if not self._rows:
            self._some.clear()
        if len(self._rows) < BATCH_ROWS_MAX and not any(written for _, written in self._rows):
            self._at_once.clear()

    async def _append(self, connection: asyncpg.Connection[Any], entries: list[Entry]) -> None:
        known, self._end = self._end, None
        if known is not None and not self._unsure:
            self._unsure = len(entries)
            self._end = await append_after(connection, known, entries)
        if self._end is None:
            async with connection.transaction():
                # The attempt before may have been committed although its connection broke.
                if not (self._unsure and await _has(connection, entries[0])):
                    self._unsure = len(entries)
                    self._end = await append(connection, entries)
        self._unsure = 0

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


def _withhold(written: asyncio.Future[None]) -> None:
    """Refuse the answer of a call that waited too long to be recorded."""
    if not written.done():
        written.set_exception(
            Unavailable(
                "ACCESS_LOG_UNAVAILABLE",
                "the call could not be recorded, so its answer is withheld",
                message_zh="访问日志暂时不可用,请稍后重试",
            )
        )


async def _has(connection: asyncpg.Connection[Any], entry: Entry) -> bool:
    await connection.fetchval(_TAKE_TURN)
    sql = "SELECT count(*) FROM access_log WHERE call_id = $1"
    return bool(await connection.fetchval(sql, entry.call_id))
