"""Parked events: what a handler could not take waits for a person, its aggregate behind it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from opentelemetry import trace
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import cloudevents, database, telemetry
from services.kernel.cloudevents import Envelope
from services.kernel.errors import LiandongError, NotFound, Refused
from services.kernel.inbox import Delivery, Handlers, Incoming


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """An event that waits."""

    envelope: Envelope
    payload: bytes
    reason: str
    attempts: int
    parked_at: datetime
    drop_proposed_by: str


def reason_of(error: BaseException) -> str:
    """What to write down of a failure: a refusal's reason or a fault's kind, never its text."""
    return error.reason if isinstance(error, LiandongError) else type(error).__name__


async def count_attempt(session: AsyncSession, event_id: UUID, reason: str) -> int:
    """Count one failed attempt of the application; how many there were."""
    rows = await database.fetch(
        session,
        """INSERT INTO inbox_attempt (event_id, attempts, last_reason) VALUES ($1, 1, $2)
           ON CONFLICT (event_id) DO UPDATE
           SET attempts = inbox_attempt.attempts + 1, last_reason = excluded.last_reason
           RETURNING attempts""",
        event_id,
        reason,
    )
    return int(rows[0]["attempts"])


async def park(
    session: AsyncSession, deliveries: Sequence[Delivery], *, reason: str, attempts: int
) -> None:
    """Put events aside; the aggregate's later events will follow them here."""
    if not deliveries:
        return
    rows = [
        (
            delivery.envelope.event_id,
            delivery.envelope.event_type,
            delivery.envelope.aggregate_type,
            delivery.envelope.aggregate_id,
            delivery.envelope.sequence,
            delivery.envelope.county_code,
            json.dumps(dict(delivery.msg.headers or {})),
            delivery.payload,
            reason,
            attempts,
        )
        for delivery in deliveries
    ]
    await database.execute(
        session,
        """INSERT INTO parked_event (event_id, event_type, aggregate_type, aggregate_id, sequence,
                                     county_code, headers, payload, reason, attempts)
           SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[],
                                $6::text[], $7::text[], $8::bytea[], $9::text[], $10::int[])""",
        *database.columns(rows, 10),
    )


async def waiting(
    session: AsyncSession, *, county_code: str = "", aggregate_id: str = "", limit: int = 50
) -> list[ParkedEvent]:
    """Parked events in the order in which they must be run."""
    rows = await database.fetch(
        session,
        """SELECT * FROM parked_event WHERE state = 'parked'
             AND ($1 = '' OR county_code = $1) AND ($2 = '' OR aggregate_id = $2)
           ORDER BY aggregate_type, aggregate_id, sequence LIMIT $3""",
        county_code,
        aggregate_id,
        limit,
    )
    return [
        ParkedEvent(
            envelope=cloudevents.read(json.loads(row["headers"])),
            payload=row["payload"],
            reason=row["reason"],
            attempts=row["attempts"],
            parked_at=row["parked_at"],
            drop_proposed_by=row["drop_proposed_by"],
        )
        for row in rows
    ]


async def run_again(session: AsyncSession, event: ParkedEvent, handlers: Handlers) -> None:
    """Run one parked event's handler; it raises what the handler raises, or NotFound."""
    if event.envelope.version not in cloudevents.VERSIONS:
        raise Refused(
            "EVENT_VERSION_UNKNOWN",
            f"{event.envelope.event_type} is of a later release",
            message_zh="该事件属于更新版本,本版本无法处理",
        )
    # First, and with its row locked: another operator may be at the same event.
    await _close(session, event.envelope.event_id, "applied")
    handler = handlers.get(event.envelope.event_type)
    if handler is not None:
        message = handler.message_type.FromString(event.payload)
        span = telemetry.Span(
            f"replay {event.envelope.event_type}",
            kind=trace.SpanKind.CONSUMER,
            attributes={
                "messaging.system": "nats",
                "messaging.operation.type": "process",
                "messaging.operation.name": "replay",
                "messaging.destination.name": event.envelope.event_type,
                "messaging.message.id": str(event.envelope.event_id),
                telemetry.COUNTY: event.envelope.county_code,
            },
            parent=telemetry.read_traceparent(event.envelope.traceparent),
        )
        with telemetry.working(span):
            await handler.handle(session, [Incoming(event.envelope, message)])


async def drop(session: AsyncSession, event_id: UUID, person_id: str) -> bool:
    """Give an event up: the first person proposes, a second one's call carries it out."""
    rows = await database.fetch(
        session,
        """SELECT drop_proposed_by FROM parked_event
           WHERE event_id = $1 AND state = 'parked' FOR UPDATE""",
        event_id,
    )
    if not rows:
        raise NotFound("PARKED_EVENT_NOT_FOUND", f"no parked event {event_id}")
    proposer = rows[0]["drop_proposed_by"]
    if proposer == person_id:
        raise Refused(
            "SECOND_PERSON_NEEDED",
            "the person who proposed to drop an event cannot also confirm it",
            message_zh="须由另一人确认",
        )
    if not proposer:
        await database.execute(
            session,
            "UPDATE parked_event SET drop_proposed_by = $2 WHERE event_id = $1",
            event_id,
            person_id,
        )
        return False
    await _close(session, event_id, "dropped")
    return True


async def _close(session: AsyncSession, event_id: UUID, state: str) -> None:
    closed = await database.execute(
        session,
        "UPDATE parked_event SET state = $2 WHERE event_id = $1 AND state = 'parked'",
        event_id,
        state,
    )
    if not closed:
        raise NotFound("PARKED_EVENT_NOT_FOUND", f"no parked event {event_id}")
