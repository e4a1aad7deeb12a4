"""The bus: one JetStream connection a process, and the consumer of a service's durable."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from opentelemetry import trace
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import (
    causes,
    cloudevents,
    inbox,
    metrics,
    parked,
    pauses,
    process,
    telemetry,
    walls,
)
from services.kernel.away import is_away, may_run_again
from services.kernel.causes import Cause, Causes
from services.kernel.clock import recorded_time
from services.kernel.cloudevents import Envelope
from services.kernel.database import Database
from services.kernel.inbox import Delivery, Handlers, Incoming
from services.kernel.nats_client import LeanClient
from services.kernel.outbox import STREAM
from services.kernel.pull import Puller

ATTEMPTS_MAX = 5
RETRY_SECONDS = 0.1
"""How long an event waits for its first redelivery; each later one takes twice as long."""
NAK_SECONDS_MAX = 30.0
GAP_SECONDS_MAX = 60.0
TURN_SECONDS = 0.5
GATHER_SECONDS = 0.05
"""How long what follows a batch may gather, for the next, where nobody waits for it."""
PENDING_BYTES_MAX = 8 * 1024 * 1024

TakeAll = Callable[[AsyncSession, Sequence[Delivery]], Awaitable[None]]
"""What is done with every event of a batch, whatever its type, before the handlers."""

_REFUSED = "permissions violation"

log = structlog.get_logger(__name__)
_CONSUMER = trace.SpanKind.CONSUMER


async def connect(
    url: str, *, name: str, ca_path: Path, cert_path: Path, key_path: Path
) -> LeanClient:
    """Connect over mTLS; the client reconnects for ever, at a bounded rate."""
    tls = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(ca_path))
    tls.load_cert_chain(cert_path, key_path)

    async def on_error(error: Exception) -> None:
        text = str(error)[:200]
        if _REFUSED not in text.lower():
            log.warning("nats_error", name=name, error=text)
            return
        # A refused publish or subscribe shows up only here; whoever waits sees a time-out.
        log.error("nats_refused", name=name, error=text)
        telemetry.count("liandong.nats.refused", noun=name)

    client = LeanClient()
    await client.connect(
        url,
        name=name,
        tls=tls,
        inbox_prefix=f"_INBOX_{name}",
        connect_timeout=5,
        reconnect_time_wait=0.5,  # type: ignore[arg-type]
        max_reconnect_attempts=-1,
        allow_reconnect=True,
        error_cb=on_error,
        pending_size=PENDING_BYTES_MAX,
    )
    telemetry.bound(
        "nats_pending_bytes", lambda: client.pending_data_size, PENDING_BYTES_MAX, noun=name
    )
    return client


def _syncs_always(monitor_url: str) -> bool:
    # /varz may keep what it said before JetStream was up.
    with urllib.request.urlopen(f"{monitor_url}/jsz", timeout=5) as answer:  # noqa: S310 - our own settings say http
        found = json.loads(answer.read())
    if found.get("disabled"):
        raise ConnectionError("JetStream is not up yet")
    return found.get("config", {}).get("sync_always") is True


async def require_synced_streams(monitor_url: str) -> None:
    """
    Refuse to start on a NATS server that acknowledges what is not on disk yet.

    With the default interval a power cut loses acknowledged events (faults.md, E1).
    """
    for wait in (0.2, 0.5, 1, 2, 4, 8):
        try:
            synced = await asyncio.to_thread(_syncs_always, monitor_url)
            break
        except (urllib.error.URLError, OSError):
            await asyncio.sleep(wait)
    else:
        synced = await asyncio.to_thread(_syncs_always, monitor_url)
    if not synced:
        raise SystemExit("NATS does not run with sync_interval `always`; liandong needs it")


def _attributes(noun: str, envelopes: Sequence[Envelope]) -> dict[str, str | int]:
    """What is told of events that are handled together."""
    first = envelopes[0]
    found: dict[str, str | int] = {
        "messaging.system": "nats",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": first.event_type,
        "messaging.consumer.group.name": noun,
        "messaging.batch.message_count": len(envelopes),
        telemetry.COUNTY: first.county_code,
    }
    if len(envelopes) == 1:
        found["messaging.message.id"] = str(first.event_id)
    if first.programme:
        found[telemetry.PROGRAMME] = first.programme
    return found


def _causes(events: Sequence[Incoming[Any]], told: Mapping[str, str]) -> Causes:
    return Causes(
        [
            Cause(each.envelope.aggregate_id, each.message, told[each.envelope.traceparent])
            for each in events
        ]
    )


def own_span(parent: trace.SpanContext | None, batch: trace.SpanContext) -> trace.SpanContext:
    """The span of a cause of a batch, in the cause's trace; the batch's where it has none."""
    if parent is None:
        return batch
    sampled = bool(parent.trace_flags.sampled)
    return telemetry.new_context(parent.trace_id, sampled=sampled)


async def _until(moment: float) -> None:
    left = moment - asyncio.get_running_loop().time()
    if left > 0:
        await asyncio.sleep(left)


async def _ack_all(client: Client, messages: Sequence[Msg]) -> None:
    """Acknowledge messages: together where the client is ours."""
    if isinstance(client, LeanClient):
        await client.ack_all(messages)
        return
    for message in messages:
        await message.ack()


class Consumer:
    """Takes every event that a service hears, in batches, each batch in one transaction."""

    def __init__(
        self,
        db: Database,
        noun: str,
        handlers: Handlers,
        *,
        batch_size_max: int,
        take_all: TakeAll | None = None,
        gather_seconds: float = 0.0,
    ) -> None:
        self._database = db
        self._noun = noun
        self._handlers = handlers
        self._take_all = take_all
        self._batch_size_max = batch_size_max
        self._gather_seconds = gather_seconds
        """From the beginning of a batch to that of the next, unless there is a backlog."""
        self._early_since: dict[tuple[str, str], float] = {}
        self._look_at = 0.0
        self._standing = False
        self._in_hand = 0
        telemetry.bound("consumer_batch", lambda: self._in_hand, batch_size_max, noun=noun)

    async def run(self, client: Client) -> None:
        """Consume until cancelled; a server that is away is tried again, ever more slowly."""
        backoff = 0.1
        while True:
            process.heed_cancel()
            began = asyncio.get_running_loop().time()
            try:
                async with self._database.connection() as connection:
                    await self._take_turn(connection)
                    await self._consume(connection, client)
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("consumer_waits", noun=self._noun, error=type(error).__name__)
                # It had worked for a while, so this is another fault than the one before.
                if asyncio.get_running_loop().time() - began > max(1.0, backoff):
                    backoff = 0.1
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, NAK_SECONDS_MAX)

    async def _take_turn(self, connection: asyncpg.Connection[Any]) -> None:
        """Wait for this durable's lock: one active consumer, replicas stand by."""
        while not await connection.fetchval(  # noqa: ASYNC110 - another process holds the lock
            "SELECT pg_try_advisory_lock(hashtext('liandong-consumer'), hashtext($1))", self._noun
        ):
            await asyncio.sleep(TURN_SECONDS)

    async def _consume(self, connection: asyncpg.Connection[Any], client: Client) -> None:
        stream = client.jetstream(timeout=10)
        puller = await Puller.bind(
            client, stream=STREAM, durable=self._noun, batch_max=self._batch_size_max
        )
        try:
            while True:
                process.heed_cancel()
                if await self._stands(connection):
                    await asyncio.sleep(pauses.LOOK_SECONDS)
                    continue
                try:
                    messages = await puller.fetch(self._batch_size_max)
                except TimeoutError:
                    messages = []
                self._in_hand = len(messages)
                if messages:
                    gathered = asyncio.get_running_loop().time() + self._gather_seconds
                    await self._take(client, messages)
                    if len(messages) < self._batch_size_max:
                        await _until(gathered)
                else:
                    # Nothing came. Losing this connection would mean losing the lock.
                    await connection.execute("SELECT 1")
                    await self._check_durable(stream)
        finally:
            if client.is_connected:
                await puller.close()

    async def _stands(self, connection: asyncpg.Connection[Any]) -> bool:
        """Whether operators let it stand still; looked up at most once a second."""
        now = asyncio.get_running_loop().time()
        if now < self._look_at:
            return False
        self._look_at = now + pauses.LOOK_SECONDS
        stands = await pauses.consumer_stands(connection, self._noun)
        if stands != self._standing:
            self._standing = stands
            log.warning("consumer_paused" if stands else "consumer_resumed", noun=self._noun)
        if stands:
            self._look_at = now
        return stands

    async def _check_durable(self, stream: JetStreamContext) -> None:
        """An emptied server has no durable: say so instead of waiting for ever."""
        await stream.consumer_info(STREAM, self._noun)

    async def _take(self, client: Client, messages: Sequence[Msg]) -> None:
        deliveries = [read for message in messages if (read := await self._read(message))]
        if not deliveries:
            return
        try:
            await self._settle(client, await self._apply(deliveries))
        except Exception as error:
            if is_away(error):
                await self._give_back(deliveries)
                raise
            log.warning("batch_fails", noun=self._noun, error=parked.reason_of(error))
            left = sorted(deliveries, key=lambda d: d.envelope.sequence)
            while left:
                try:
                    await self._take_one(client, left[0])
                except Exception:
                    await self._give_back(left)
                    raise
                left.pop(0)

    async def _read(self, message: Msg) -> Delivery | None:
        try:
            return Delivery(cloudevents.read(message.headers or {}), message.data, message)
        except (KeyError, ValueError) as error:
            # Not an event of ours at all: no aggregate waits for it, nobody can apply it.
            log.warning("event_unreadable", subject=message.subject, error=type(error).__name__)
            telemetry.count("liandong.events.unreadable", noun=self._noun)
            await message.term()
            return None

    async def _apply(self, deliveries: Sequence[Delivery]) -> inbox.Sorted:
        async with self._database.transaction(walls.EVERY_COUNTY, lock=inbox.LOCK) as session:
            found = await inbox.sort(session, deliveries)
            if self._take_all is not None and found.take:
                await self._take_all(session, found.take)
            for run in inbox.runs(found.take, self._handlers):
                await self._handle(session, run)
            await inbox.keep(session, [*found.take, *found.unknown, *found.behind])
            await parked.park(session, found.unknown, reason="EVENT_VERSION_UNKNOWN", attempts=0)
            await parked.park(session, found.behind, reason="BEHIND_A_PARKED_EVENT", attempts=0)
        return found

    async def _handle(self, session: AsyncSession, run: Sequence[Delivery]) -> None:
        event_type = run[0].envelope.event_type
        handler = self._handlers[event_type]
        events = [
            Incoming(delivery.envelope, handler.message_type.FromString(delivery.payload))
            for delivery in run
        ]
        oldest = min(each.envelope.recorded_at for each in events)
        age = (recorded_time() - oldest).total_seconds()
        with metrics.handling(self._noun, event_type, age):
            await self._traced(session, handler, run, events)

    async def _traced(
        self,
        session: AsyncSession,
        handler: inbox.Handler,
        run: Sequence[Delivery],
        events: list[Incoming[Any]],
    ) -> None:
        """The handler in a span; of a batch, one for each cause in the trace that it is of."""
        name = f"process {run[0].envelope.event_type}"
        said = _attributes(self._noun, [event.envelope for event in events])
        of_cause: dict[str, list[Envelope]] = {}
        for event in events:
            of_cause.setdefault(event.envelope.traceparent, []).append(event.envelope)
        parents = {text: telemetry.read_traceparent(text) for text in of_cause}
        if len(run) == 1:
            [parent] = parents.values()
            alone = telemetry.Span(name, kind=_CONSUMER, attributes=said, parent=parent)
            with telemetry.working(alone):
                await handler.handle(session, events)
            return
        kept = [parent for parent in parents.values() if parent and parent.trace_flags.sampled]
        batch = telemetry.Span(name, kind=_CONSUMER, attributes=said, links=kept, keep=bool(kept))
        with telemetry.working(batch):
            within = batch.get_span_context()
            owns = {text: own_span(parent, within) for text, parent in parents.items()}
            told = {text: telemetry.traceparent(own) for text, own in owns.items()}
            start_ns = time.time_ns()
            with causes.of_batch(_causes(events, told)):
                await handler.handle(session, events)
            for text, parent in parents.items():
                if parent is not None and parent.trace_flags.sampled:
                    telemetry.record(
                        name,
                        owns[text],
                        parent,
                        kind=_CONSUMER,
                        start_ns=start_ns,
                        attributes=_attributes(self._noun, of_cause[text]),
                        links=[trace.Link(within)],
                    )

    async def _settle(self, client: Client, found: inbox.Sorted) -> None:
        aside = [*found.unknown, *found.behind]
        done = (*found.take, *found.known, *aside)
        for delivery in done:
            self._early_since.pop(delivery.envelope.aggregate, None)
        await _ack_all(client, [delivery.msg for delivery in done])
        telemetry.count("liandong.events.taken", len(found.take), noun=self._noun)
        if aside:
            telemetry.count("liandong.events.parked", len(aside), noun=self._noun)
        for delivery in found.early:
            await self._give_back([delivery])
            await self._ask_for_gap(client, delivery)

    async def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.msg.is_acked:
                continue
            tries = min(delivery.msg.metadata.num_delivered, 10)
            await delivery.msg.nak(delay=min(RETRY_SECONDS * 2**tries, NAK_SECONDS_MAX))

    async def _ask_for_gap(self, client: Client, delivery: Delivery) -> None:
        """After a minute without the event before this one, ask its owner to say it again."""
        now = asyncio.get_running_loop().time()
        since = self._early_since.setdefault(delivery.envelope.aggregate, now)
        if now - since < GAP_SECONDS_MAX:
            return
        self._early_since[delivery.envelope.aggregate] = now
        kind, name = delivery.envelope.aggregate
        log.error("event_gap", noun=self._noun, aggregate=name, before=delivery.envelope.sequence)
        telemetry.count("liandong.events.gaps", noun=self._noun)
        asked = {"aggregate_type": kind, "aggregate_id": name, "from_sequence": 1}
        await client.publish(
            f"liandong.control.{delivery.envelope.noun}.republish", json.dumps(asked).encode()
        )

    async def _take_one(self, client: Client, delivery: Delivery) -> None:
        """One event alone: the one that keeps failing is parked, the others go on."""
        try:
            await self._settle(client, await self._apply([delivery]))
        except Exception as error:
            if is_away(error):
                raise
            if may_run_again(error):
                await self._give_back([delivery])
                return
            await self._count_or_park(delivery, error)

    async def _count_or_park(self, delivery: Delivery, error: Exception) -> None:
        reason = parked.reason_of(error)
        log.warning(
            "event_fails",
            noun=self._noun,
            type=delivery.envelope.event_type,
            event_id=str(delivery.envelope.event_id),
            reason=reason,
            exc_info=error,
        )
        try:
            attempts = await self._count_attempt(delivery, reason)
        except Exception as worse:
            if is_away(worse):
                raise
            # As when two events claim one id. It stays in the stream and its aggregate waits.
            log.exception("event_cannot_be_parked", event_id=str(delivery.envelope.event_id))
            telemetry.count("liandong.events.stuck", noun=self._noun)
            await delivery.msg.nak(delay=NAK_SECONDS_MAX)
            return
        if attempts < ATTEMPTS_MAX:
            await delivery.msg.nak(delay=RETRY_SECONDS * 2 ** (attempts + 1))
            return
        telemetry.count("liandong.events.parked", noun=self._noun)
        log.error("event_parked", noun=self._noun, event_id=str(delivery.envelope.event_id))
        await delivery.msg.ack()

    async def _count_attempt(self, delivery: Delivery, reason: str) -> int:
        """Write a failed attempt down, and with the last one park the event."""
        async with self._database.transaction(walls.EVERY_COUNTY) as session:
            await inbox.lock(session)
            attempts = await parked.count_attempt(session, delivery.envelope.event_id, reason)
            if attempts >= ATTEMPTS_MAX:
                await inbox.keep(session, [delivery])
                await parked.park(session, [delivery], reason=reason, attempts=attempts)
        return attempts
