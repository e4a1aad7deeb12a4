"""Outbox: events are written with the change that they tell of, then relayed to JetStream."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from google.protobuf.message import Message
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import APIError, NotFoundError
from opentelemetry import trace
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import causes, cloudevents, database, ids, process, telemetry, walls
from services.kernel.away import is_away
from services.kernel.causes import Cause
from services.kernel.database import Database
from services.kernel.nats_client import LeanClient
from services.kernel.values import light

STREAM = "EVENTS"
PUBLISH_TIMEOUT_SECONDS = 10.0
ONE_TIMEOUT_SECONDS = 2.5
"""Of an event by itself: to ask again costs little, for the stream knows its id."""
POLL_SECONDS = 0.2
TURN_SECONDS = 0.5
CHECK_SECONDS = 30.0
BACKOFF_SECONDS_MAX = 30.0
REPUBLISH_ROWS_MAX = 100_000
EVENT_BYTES_MAX = 512 * 1024
"""What the stream takes for certain: half of the server's `max_payload`."""

_WRONG_LAST_SEQUENCE = 10071

log = structlog.get_logger(__name__)


@light
@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """A fact to say: the message, the aggregate that it is about and its place in its history."""

    event_type: str
    """Proto package and message in snake case, e.g. `liandong.loans.v1.loan_repaid`."""
    aggregate_type: str
    aggregate_id: str
    sequence: int
    county_code: str
    message: Message
    business_date: date | None
    programme: str = ""


_COLUMNS = (
    *("event_id", "event_type", "aggregate_type", "aggregate_id", "sequence", "county_code"),
    *("business_date", "programme", "payload", "traceparent"),
)
_COPIED_MIN = 500
"""From so many rows on binary COPY costs less; fewer go as arrays, with what else is written."""

_RECORD = """
INSERT INTO outbox (event_id, event_type, aggregate_type, aggregate_id, sequence, county_code,
                    business_date, programme, payload, traceparent)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[],
                     $7::date[], $8::text[], $9::bytea[], $10::text[])
"""


async def record(session: AsyncSession, events: Sequence[OutgoingEvent]) -> None:
    """Write events in the caller's transaction, in the order given; the relay does the rest."""
    if not events:
        return
    span = trace.get_current_span()
    own = span.get_span_context()
    traceparent = telemetry.traceparent(own) if own.is_valid else ""
    if span.is_recording():
        _note(span, events)
    causing = _causes(events)
    rows = [
        (
            event_id,
            event.event_type,
            event.aggregate_type,
            event.aggregate_id,
            event.sequence,
            event.county_code,
            event.business_date,
            event.programme,
            event.message.SerializeToString(deterministic=True),
            (cause.traceparent if cause else "") or traceparent,
        )
        for event_id, event, cause in zip(ids.new_ids(len(events)), events, causing, strict=True)
    ]
    assert all(len(row[8]) <= EVENT_BYTES_MAX for row in rows), "an event that no stream takes"
    if len(rows) < _COPIED_MIN:
        await database.write(session, _RECORD, *database.columns(rows, 10))
    else:
        await database.copy_staged(session, "outbox", _COLUMNS, rows, {})
    database.mark_said(session)


def _causes(events: Sequence[OutgoingEvent]) -> list[Cause | None]:
    """Of what in the batch that is being handled each event comes; noted where that has a span."""
    batch = causes.current()
    if batch is None:
        return [None] * len(events)
    found = [batch.of(event.aggregate_id, event.message) for event in events]
    for cause, event in zip(found, events, strict=True):
        if cause is not None and cause.span is not None and cause.span.is_recording():
            _note(cause.span, [event])
    return found


def _note(span: trace.Span, events: Sequence[OutgoingEvent]) -> None:
    """Tell under which programme a span's work was done, where it is one."""
    programmes = {event.programme for event in events if event.programme}
    if len(programmes) == 1:
        span.set_attribute(telemetry.PROGRAMME, programmes.pop())
    span.set_attribute(telemetry.COUNTY, events[0].county_code)


class _StreamMoved(Exception):
    """The last event of ours in the stream is not the one that we know."""


class _CutShort(Exception):
    """Of rows that went one by one the first are in the stream, and the next was not answered."""

    def __init__(self, sequences: Sequence[int], error: Exception) -> None:
        super().__init__(len(sequences))
        self.sequences = sequences
        self.error = error


class Relay:
    """
    Publishes a service's outbox in order, in atomic batches, one relay at a time.

    Every row keeps the position that the stream gave it. When the stream was wiped or cut, the rows
    that it lacks are published again; consumers have an inbox, so doing it twice is safe. Nothing
    new goes in before that: each publish names our last position, and the stream refuses another.
    """

    def __init__(self, db: Database, noun: str, *, batch_size_max: int) -> None:
        self._database = db
        self._noun = noun
        self._batch_size_max = batch_size_max
        self._in_hand = 0
        telemetry.bound("relay_batch", lambda: self._in_hand, batch_size_max, noun=noun)
        self._last = 0
        """Position of the last event of ours that the stream holds, as we know it."""

    async def run(self, client: LeanClient) -> None:
        """Relay until cancelled; a server that is away is tried again, ever more slowly."""
        backoff = 0.1
        control = await client.subscribe(
            f"liandong.control.{self._noun}.republish", cb=self._republish_asked
        )
        try:
            while True:
                process.heed_cancel()
                began = asyncio.get_running_loop().time()
                try:
                    async with self._database.connection() as connection:
                        await self._take_turn(connection)
                        await self._relay(connection, client)
                except Exception as error:
                    if not is_away(error):
                        raise
                    log.warning("relay_waits", noun=self._noun, error=type(error).__name__)
                    # It had worked for a while, so this is another fault than the one before.
                    if asyncio.get_running_loop().time() - began > max(1.0, backoff):
                        backoff = 0.1
                    await asyncio.sleep(backoff)
                    backoff = min(backoff * 2, BACKOFF_SECONDS_MAX)
        finally:
            await control.unsubscribe()

    async def _take_turn(self, connection: asyncpg.Connection[Any]) -> None:
        """Wait for this service's relay lock; a replica stands by here."""
        while not await connection.fetchval(  # noqa: ASYNC110 - another process holds the lock
            "SELECT pg_try_advisory_lock(hashtext('liandong-relay'), hashtext($1))", self._noun
        ):
            await asyncio.sleep(TURN_SECONDS)

    async def _relay(self, connection: asyncpg.Connection[Any], client: LeanClient) -> None:
        stream = client.jetstream(timeout=PUBLISH_TIMEOUT_SECONDS)
        loop = asyncio.get_running_loop()
        next_check = 0.0
        connections = client.stats["reconnects"]

        def is_due() -> bool:
            # A server that was away may have come back without what it held.
            return loop.time() >= next_check or client.stats["reconnects"] != connections

        while True:
            process.heed_cancel()
            if is_due():
                connections = client.stats["reconnects"]
                await self._ensure_partitions(connection)
                await self._compare_with_stream(connection, stream)
                next_check = loop.time() + CHECK_SECONDS
            self._database.said.clear()
            rows = await self._unpublished(connection)
            if not await self._publish_from(connection, client, stream, rows, is_due):
                next_check = 0.0
                await asyncio.sleep(POLL_SECONDS)
                continue
            if not is_due():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._database.said.wait(), POLL_SECONDS)

    async def _ensure_partitions(self, connection: asyncpg.Connection[Any]) -> None:
        await ensure_partitions(connection)

    async def _unpublished(
        self, connection: asyncpg.Connection[Any], *, but: Sequence[asyncpg.Record] = ()
    ) -> list[asyncpg.Record]:
        found: list[asyncpg.Record] = await connection.fetch(
            """SELECT position, recorded_month, event_id, event_type, aggregate_type, aggregate_id,
                      sequence, county_code, business_date, programme, payload, traceparent,
                      recorded_at, publish_count
               FROM outbox WHERE stream_sequence IS NULL AND position <> ALL ($2::bigint[])
               ORDER BY position LIMIT $1""",
            self._batch_size_max,
            [row["position"] for row in but],
        )
        return found

    def _message(self, row: asyncpg.Record) -> tuple[str, bytes, str]:
        """Subject, body and lines of headers."""
        event_id, event_type, county_code = row["event_id"], row["event_type"], row["county_code"]
        lines = cloudevents.lines(
            event_type,
            self._noun,
            row["recorded_at"],
            row["aggregate_type"],
            county_code,
            row["programme"],
            row["business_date"],
            event_id=event_id,
            aggregate_id=row["aggregate_id"],
            sequence=row["sequence"],
            traceparent=row["traceparent"],
        )
        # A repeated id would be swallowed by the stream's duplicate window.
        again = f":{count}" if (count := row["publish_count"]) else ""
        said = f"{lines}Nats-Msg-Id: {event_id}{again}\r\n"
        return f"{event_type}.{county_code}", row["payload"], said

    async def _publish_from(
        self,
        connection: asyncpg.Connection[Any],
        client: LeanClient,
        stream: JetStreamContext,
        rows: Sequence[asyncpg.Record],
        is_due: Callable[[], bool],
    ) -> bool:
        """
        Publish rows and those of a backlog after them; False: the stream is not as we left it.

        While a full batch is on its way, the places of the one before it are noted and the one
        after it is read: the database and the stream work at the same time.
        """
        done: Sequence[asyncpg.Record] = ()
        sequences: Sequence[int] = ()
        while rows:
            full = len(rows) == self._batch_size_max and not is_due()
            self._in_hand = len(rows)
            following, sent = await asyncio.gather(
                self._note_and_read(connection, done, sequences, rows if full else ()),
                self._publish(client, stream, rows),
                return_exceptions=True,
            )
            if isinstance(following, BaseException):
                raise following
            if isinstance(sent, _CutShort):
                # Else answers that are lost now and then would hold up all of them for ever.
                await self._note(connection, rows[: len(sent.sequences)], sent.sequences)
                raise sent.error
            if isinstance(sent, BaseException):
                raise sent
            if sent is None:
                return False
            done, sequences, rows = rows, sent, following
        await self._note(connection, done, sequences)
        self._in_hand = 0
        return True

    async def _note_and_read(
        self,
        connection: asyncpg.Connection[Any],
        done: Sequence[asyncpg.Record],
        sequences: Sequence[int],
        sending: Sequence[asyncpg.Record],
    ) -> list[asyncpg.Record]:
        await self._note(connection, done, sequences)
        return await self._unpublished(connection, but=sending) if sending else []

    async def _publish(
        self, client: LeanClient, stream: JetStreamContext, rows: Sequence[asyncpg.Record]
    ) -> Sequence[int] | None:
        """Publish rows; their places, or None when the stream is not as we left it."""
        start_ns = time.time_ns()
        try:
            sequences = await self._publish_batch(client, rows) if len(rows) > 1 else None
            if sequences is None:
                sequences = await self._publish_apart(stream, rows)
        except _StreamMoved:
            log.warning("stream_moved", noun=self._noun, last=self._last)
            return None
        self._tell(rows, start_ns)
        return sequences

    async def _note(
        self,
        connection: asyncpg.Connection[Any],
        rows: Sequence[asyncpg.Record],
        sequences: Sequence[int],
    ) -> None:
        if rows:
            await connection.execute(
                """UPDATE outbox SET stream_sequence = at.sequence
                   FROM unnest($1::date[], $2::bigint[], $3::bigint[])
                        AS at (recorded_month, position, sequence)
                   WHERE outbox.recorded_month = at.recorded_month
                     AND outbox.position = at.position AND outbox.stream_sequence IS NULL""",
                [row["recorded_month"] for row in rows],
                [row["position"] for row in rows],
                sequences,
            )

    def _tell(self, rows: Sequence[asyncpg.Record], start_ns: int) -> None:
        """A span of the publishing for each trace that is kept, in that trace."""
        kept: dict[int, list[asyncpg.Record]] = {}
        parents: dict[int, trace.SpanContext] = {}
        for row in rows:
            if not row["traceparent"].endswith(cloudevents.TRACE_SAMPLED):
                continue
            parent = telemetry.read_traceparent(row["traceparent"])
            if parent is not None:
                parents.setdefault(parent.trace_id, parent)
                kept.setdefault(parent.trace_id, []).append(row)
        for trace_id, own_rows in kept.items():
            telemetry.record(
                "send events",
                telemetry.new_context(trace_id, sampled=True),
                parents[trace_id],
                kind=trace.SpanKind.PRODUCER,
                start_ns=start_ns,
                attributes={
                    "messaging.system": "nats",
                    "messaging.operation.type": "send",
                    "messaging.operation.name": "publish",
                    "messaging.destination.name": STREAM,
                    "messaging.batch.message_count": len(own_rows),
                    "messaging.message.id": str(own_rows[0]["event_id"]),
                },
            )

    def _fence(self) -> str:
        return (
            f"Nats-Expected-Last-Subject-Sequence: {self._last}\r\n"
            f"Nats-Expected-Last-Subject-Sequence-Subject: liandong.{self._noun}.>\r\n"
        )

    async def _publish_batch(
        self, client: LeanClient, rows: Sequence[asyncpg.Record]
    ) -> list[int] | None:
        """
        Publish rows as one atomic batch: one sync, all or nothing (limits.md).

        The stream positions, or None when the stream refused the batch, which it does when an id in
        it is stored already.
        """
        batch_id = ids.new_id().hex
        last = len(rows)
        messages = []
        for place, row in enumerate(rows, 1):
            subject, payload, lines = self._message(row)
            marks = f"Nats-Batch-Id: {batch_id}\r\nNats-Batch-Sequence: {place}\r\n"
            if place == 1:
                marks += self._fence()
            messages.append((subject, payload, f"{lines}{marks}"))
        await client.publish_all(messages[:-1])
        subject, payload, lines = messages[-1]
        answer = await client.request(
            subject,
            payload,
            timeout=PUBLISH_TIMEOUT_SECONDS,
            headers=cloudevents.parted(f"{lines}Nats-Batch-Commit: 1\r\n"),
        )
        ack = json.loads(answer.data)
        if "error" in ack:
            code = ack["error"].get("err_code")
            if code == _WRONG_LAST_SEQUENCE:
                raise _StreamMoved
            log.info("batch_refused", code=code, rows=last)
            return None
        assert ack["count"] == last, ack
        self._last = ack["seq"]
        return [ack["seq"] - last + place for place in range(1, last + 1)]

    async def _publish_apart(
        self, stream: JetStreamContext, rows: Sequence[asyncpg.Record]
    ) -> list[int]:
        """Publish rows one by one; their places."""
        sequences: list[int] = []
        for row in rows:
            try:
                sequences.append(await self._publish_one(stream, row))
            except (TimeoutError, NatsError) as error:
                raise _CutShort(sequences, error) from error
        return sequences

    async def _publish_one(self, stream: JetStreamContext, row: asyncpg.Record) -> int:
        subject, payload, lines = self._message(row)
        headers = cloudevents.parted(f"{lines}{self._fence()}")
        try:
            ack = await stream.publish(
                subject, payload, timeout=ONE_TIMEOUT_SECONDS, headers=headers
            )
        except APIError as error:
            if error.err_code == _WRONG_LAST_SEQUENCE:
                raise _StreamMoved from error
            raise
        if not ack.duplicate:
            self._last = ack.seq
        return ack.seq

    async def _compare_with_stream(
        self, connection: asyncpg.Connection[Any], stream: JetStreamContext
    ) -> None:
        """Mark for publishing again whatever the stream should hold and does not."""
        last = await _last_of(stream, self._noun)
        self._last = last.seq or 0 if last else 0
        info = await stream.stream_info(STREAM)
        created = info.created.astimezone(UTC).isoformat() if info.created else ""
        known = await connection.fetchval("SELECT stream_created FROM relay_state")
        lost = 0
        if known and known != created:
            lost = await _forget_after(connection, 0)
        else:
            last_good = await _last_row_that_stands(connection, last)
            lost = await _forget_after(connection, last_good)
        if known != created:
            await connection.execute("UPDATE relay_state SET stream_created = $1", created)
        if lost:
            log.warning("stream_lost_events", noun=self._noun, republishing=lost)

    async def _republish_asked(self, message: Msg) -> None:
        """A consumer misses events of an aggregate: publish them again from a sequence on."""
        asked = json.loads(message.data)
        async with self._database.transaction(walls.EVERY_COUNTY) as session:
            rows = await database.execute(
                session,
                """UPDATE outbox SET stream_sequence = NULL, publish_count = publish_count + 1
                   WHERE aggregate_type = $1 AND aggregate_id = $2 AND sequence >= $3
                     AND stream_sequence IS NOT NULL""",
                str(asked["aggregate_type"]),
                str(asked["aggregate_id"]),
                int(asked["from_sequence"]),
            )
            database.mark_said(session)
        log.warning("republish_asked", noun=self._noun, events=rows)


async def ensure_partitions(connection: asyncpg.Connection[Any]) -> None:
    """Make this month's and the next month's partition of the outbox."""
    await connection.execute(
        """SELECT ensure_outbox_partition((date_trunc('month', now() AT TIME ZONE 'UTC')
                  + make_interval(months => ahead))::date) FROM generate_series(0, 1) AS ahead"""
    )


async def republish_range(session: AsyncSession, first: int, last: int) -> int:
    """Mark a range of positions for the relay; how many events go out again."""
    rows = await database.execute(
        session,
        """UPDATE outbox SET stream_sequence = NULL, publish_count = publish_count + 1
           WHERE position BETWEEN $1 AND $2 AND stream_sequence IS NOT NULL""",
        first,
        min(last, first + REPUBLISH_ROWS_MAX - 1),
    )
    database.mark_said(session)
    return rows


async def _forget_after(connection: asyncpg.Connection[Any], stream_sequence: int) -> int:
    status = await connection.execute(
        """UPDATE outbox SET stream_sequence = NULL, publish_count = publish_count + 1
           WHERE stream_sequence > $1 AND recorded_at > now() - interval '30 days'""",
        stream_sequence,
    )
    return int(status.rsplit(" ", 1)[-1])


async def _last_of(stream: JetStreamContext, noun: str) -> RawStreamMsg | None:
    """The last event of a noun that the stream holds."""
    try:
        return await stream.get_last_msg(STREAM, f"liandong.{noun}.>", direct=True)
    except NotFoundError:
        return None


async def _last_row_that_stands(
    connection: asyncpg.Connection[Any], last: RawStreamMsg | None
) -> int:
    """The highest stream position at which the stream holds our event; 0 for none."""
    if last is None:
        return 0
    assert last.seq is not None
    stands = await connection.fetchval(
        "SELECT true FROM outbox WHERE stream_sequence = $1 AND event_id = $2::uuid",
        last.seq,
        _event_id(last),
    )
    # One that is in the stream and not noted yet was published just before a crash.
    return last.seq if stands else await _highest_before(connection, last.seq)


def _event_id(message: RawStreamMsg) -> UUID | None:
    """The id of an event; None of a message that is none, which must not stop the relay."""
    try:
        return UUID((message.headers or {}).get("ce-id", ""))
    except ValueError:
        return None


async def _highest_before(connection: asyncpg.Connection[Any], stream_sequence: int) -> int:
    found = await connection.fetchval(
        "SELECT max(stream_sequence) FROM outbox WHERE stream_sequence < $1", stream_sequence
    )
    return int(found or 0)
