"""Projections: copies of others' facts, made again from events and held against the rows."""

import asyncio
import heapq
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
from google.protobuf.message import Message
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database, walls
from services.kernel.cloudevents import Envelope
from services.kernel.database import Database
from services.kernel.inbox import Handlers, Incoming

EVENTS_MAX = 500
"""Events that are read, and handed to handlers, at a time."""
SHOWN_MAX = 5
"""Keys of rows that are named where a table differs."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A table that is written by the handlers of a projection, and what of it they write."""

    table: str
    not_events: tuple[str, ...] = ()
    """Columns that tell something else, such as a sum of one's own: not compared, not written."""


@dataclass(frozen=True, slots=True)
class Projection:
    """Tables of a service that hold nothing but what others' events said, and by which handlers."""

    noun: str
    """The service that keeps it."""
    kept: tuple[Kept, ...]
    handlers: Handlers
    """Those that write these tables; they see nothing but what the events before have told."""
    given: tuple[str, ...] = ()
    """Tables of the service's own doing that those handlers read; they see them as they are now."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A table's rows in short: the same for the same rows, in whatever order they were written."""

    rows: int
    sum: str

    def __str__(self) -> str:
        return f"{self.rows} rows {self.sum}"


@dataclass(frozen=True, slots=True)
class Difference:
    """One table: what it held, what the events make of it."""

    table: str
    held: Digest
    rebuilt: Digest
    keys: tuple[str, ...]
    """The first rows that are not alike, by their keys."""

    @property
    def is_equal(self) -> bool:
        """Whether the rows are what the events say."""
        return self.held == self.rebuilt


@dataclass(slots=True)
class Rebuilt:
    """What came of it."""

    events: int = 0
    tables: list[Difference] = field(default_factory=list)
    written: int = 0
    """Rows that were put right; none unless it was asked for."""

    @property
    def is_equal(self) -> bool:
        """Whether every table is what the events say."""
        return all(each.is_equal for each in self.tables)


async def rebuild(
    target: Database,
    projection: Projection,
    outboxes: Mapping[str, Database],
    *,
    write: bool = False,
) -> Rebuilt:
    """
    Replay what a service has taken in into empty copies of its tables, and compare: one snapshot.

    The copies are temporary tables of the same names: they hide the service's own from handlers,
    so that nothing a handler does reaches a row, and an event it says is said nowhere. With
    `write` the rows that differ are put right; one that the service changed meanwhile fails it,
    and the caller does it again. `target` is used once: a statement prepared before would not see
    the copies.
    """
    done = Rebuilt()
    async with target.transaction(walls.EVERY_COUNTY, snapshot=True) as session:
        await _unhurried(session)
        tables = await _tables(session, target.schema)
        if strangers := {each.table for each in projection.kept} - set(tables):
            raise LookupError(f"{projection.noun} has no table {sorted(strangers)}")
        for table in tables:
            await database.execute(session, _copy_of(target.schema, table))
        for table in projection.given:
            await database.execute(
                session,
                f"INSERT INTO pg_temp.{table} SELECT * FROM {target.schema}.{table}",  # noqa: S608 - ours
            )
        async with aclosing(_merged(outboxes)) as events:
            async for batch in events:
                taken = await _taken_in(session, target.schema, batch)
                for run in _runs(taken, projection.handlers):
                    await projection.handlers[run[0].envelope.event_type].handle(session, run)
                done.events += len(taken)
        for kept in projection.kept:
            done.tables.append(await _compare(session, target.schema, kept))
            if write and not done.tables[-1].is_equal:
                done.written += await _put_right(session, target.schema, kept)
    return done


async def _unhurried(session: AsyncSession) -> None:
    """A rebuild takes its time; nobody waits for it."""
    for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
        await database.execute(session, f"SET LOCAL {name} = 0")


async def _tables(session: AsyncSession, schema: str) -> list[str]:
    rows = await database.fetch(
        session,
        """SELECT c.relname FROM pg_class AS c
           WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p')
             AND NOT c.relispartition ORDER BY c.relname""",
        schema,
    )
    return [row["relname"] for row in rows]


def _copy_of(schema: str, table: str) -> str:
    including = " ".join(
        f"INCLUDING {what}"
        for what in ("DEFAULTS", "CONSTRAINTS", "INDEXES", "GENERATED", "IDENTITY")
    )
    return f"CREATE TEMPORARY TABLE {table} (LIKE {schema}.{table} {including}) ON COMMIT DROP"


# --- events ---------------------------------------------------------------------------------------

_READ = """
SELECT position, event_id, event_type, aggregate_type, aggregate_id, sequence, county_code,
       business_date, programme, payload, recorded_at
FROM outbox WHERE position > $1 ORDER BY position LIMIT $2
"""

Told = tuple[datetime, str, int, Envelope, bytes]
"""When it was said, by whom, at which position; the event."""


async def _said(noun: str, outbox: Database) -> AsyncGenerator[Told]:
    """A service's events in their order; the clock never runs back between two of them."""
    position, latest = 0, datetime.min.replace(tzinfo=UTC)
    while True:
        async with outbox.transaction(walls.EVERY_COUNTY) as session:
            rows = await database.fetch(session, _READ, position, EVENTS_MAX)
        for row in rows:
            position = row["position"]
            latest = max(latest, row["recorded_at"])
            yield latest, noun, position, _envelope(row), row["payload"]
        if len(rows) < EVENTS_MAX:
            return


def _envelope(row: asyncpg.Record) -> Envelope:
    return Envelope(
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


async def _merged(outboxes: Mapping[str, Database]) -> AsyncGenerator[list[Told]]:
    """All services' events by the time they were said, some at a time."""
    async with AsyncExitStack() as stack:
        sources: list[AsyncIterator[Told]] = [
            await stack.enter_async_context(aclosing(_said(noun, outbox)))
            for noun, outbox in sorted(outboxes.items())
        ]
        waiting = [
            (first, place)
            for place, source in enumerate(sources)
            if (first := await anext(source, None)) is not None
        ]
        heapq.heapify(waiting)
        batch: list[Told] = []
        while waiting:
            told, place = waiting[0]
            batch.append(told)
            following = await anext(sources[place], None)
            if following is None:
                heapq.heappop(waiting)
            else:
                heapq.heapreplace(waiting, (following, place))
            if len(batch) == EVENTS_MAX:
                yield batch
                batch = []
                await asyncio.sleep(0)
        if batch:
            yield batch


async def _taken_in(
    session: AsyncSession, schema: str, batch: Sequence[Told]
) -> list[tuple[Envelope, bytes]]:
    """Those that the service had applied in this snapshot: neither parked nor on their way."""
    rows = await database.fetch(
        session,
        f"""SELECT i.event_id FROM {schema}.inbox_event AS i
            WHERE i.event_id = ANY($1::uuid[]) AND NOT EXISTS (
                SELECT FROM {schema}.parked_event AS p
                WHERE p.event_id = i.event_id AND p.state <> 'applied')""",  # noqa: S608 - a noun
        [told[3].event_id for told in batch],
    )
    known = {row["event_id"].int for row in rows}
    return [(told[3], told[4]) for told in batch if told[3].event_id.int in known]


def _runs(
    events: Sequence[tuple[Envelope, bytes]], handlers: Handlers
) -> Iterator[list[Incoming[Any]]]:
    """Runs of one type, in order, as messages."""
    run: list[Incoming[Any]] = []
    for envelope, payload in events:
        handler = handlers.get(envelope.event_type)
        if handler is None:
            continue
        if run and run[0].envelope.event_type != envelope.event_type:
            yield run
            run = []
        message: Message = handler.message_type.FromString(payload)
        run.append(Incoming(envelope, message))
    if run:
        yield run


# --- comparing ------------------------------------------------------------------------------------


async def _columns(session: AsyncSession, schema: str, kept: Kept) -> tuple[list[str], list[str]]:
    """The columns that events tell, and the key among them."""
    rows = await database.fetch(
        session,
        """SELECT a.attname, coalesce(a.attnum = ANY(i.indkey), false) AS is_key
           FROM pg_attribute AS a
           LEFT JOIN pg_index AS i ON i.indrelid = a.attrelid AND i.indisprimary
           WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
             AND a.attgenerated = '' AND a.attname <> ALL($2::text[]) ORDER BY a.attnum""",
        f"{schema}.{kept.table}",
        list(kept.not_events),
    )
    return [row["attname"] for row in rows], [row["attname"] for row in rows if row["is_key"]]


def _digest_of(place: str, table: str, columns: Sequence[str]) -> str:
    # A sum of hashes: the rows need no order, and no memory.
    text = f"ROW({', '.join(columns)})::text"
    sums = ", ".join(
        f"coalesce(sum(hashtextextended({text}, {seed})::numeric), 0)" for seed in (0, 1)
    )
    return f"SELECT count(*) AS rows, md5(concat_ws('/', {sums})) AS sum FROM {place}.{table}"  # noqa: S608 - names of the catalogue


async def digest(session: AsyncSession, schema: str, kept: Kept) -> Digest:
    """The digest of what a table of a schema holds of events."""
    columns, _ = await _columns(session, schema, kept)
    (row,) = await database.fetch(session, _digest_of(schema, kept.table, columns))
    return Digest(row["rows"], row["sum"])


async def _compare(session: AsyncSession, schema: str, kept: Kept) -> Difference:
    columns, keys = await _columns(session, schema, kept)
    held = await digest(session, schema, kept)
    (row,) = await database.fetch(session, _digest_of("pg_temp", kept.table, columns))
    rebuilt = Digest(row["rows"], row["sum"])
    shown: list[asyncpg.Record] = []
    if held != rebuilt:
        names, of_key = ", ".join(columns), ", ".join(keys)
        places = (f"{schema}.{kept.table}", f"pg_temp.{kept.table}")
        one, other = (f"SELECT {names} FROM {place}" for place in places)  # noqa: S608 - as above
        shown = await database.fetch(
            session,
            f"""SELECT DISTINCT to_json(found.*)::text AS key FROM (
                    SELECT {of_key} FROM (({one} EXCEPT {other}) UNION ALL ({other} EXCEPT {one}))
                    AS row) AS found ORDER BY key LIMIT {SHOWN_MAX}""",  # noqa: S608 - as above
        )
    keys_shown = tuple(" ".join(map(str, json.loads(each["key"]).values())) for each in shown)
    return Difference(kept.table, held, rebuilt, keys_shown)


async def _put_right(session: AsyncSession, schema: str, kept: Kept) -> int:
    """Make the rows what the events say; those that are right stay untouched."""
    columns, keys = await _columns(session, schema, kept)
    table, names = f"{schema}.{kept.table}", ", ".join(columns)
    one, other = (f"SELECT {names} FROM {at}" for at in (table, f"pg_temp.{kept.table}"))  # noqa: S608 - as above
    same = " AND ".join(f"held.{key} = told.{key}" for key in keys)
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
    on_conflict = f"DO UPDATE SET {changes}" if changes else "DO NOTHING"
    gone = await database.execute(
        session,
        f"""DELETE FROM {table} AS held WHERE NOT EXISTS
            (SELECT FROM pg_temp.{kept.table} AS told WHERE {same})""",  # noqa: S608 - as above
    )
    written = await database.execute(
        session,
        f"""INSERT INTO {table} ({names}) {other} EXCEPT {one}
            ON CONFLICT ({", ".join(keys)}) {on_conflict}""",
    )
    return gone + written


def chosen(handlers: Handlers, *event_types: str) -> Handlers:
    """Of a service's handlers those of some types; KeyError for one that is not heard."""
    return {event_type: handlers[event_type] for event_type in event_types}
