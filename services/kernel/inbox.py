"""Inbox: an event takes effect once, in its aggregate's order, in the handler's transaction."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from google.protobuf.message import Message
from nats.aio.msg import Msg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import cloudevents, database
from services.kernel.cloudevents import Envelope

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Incoming(Generic[M]):
    """An event as a handler gets it."""

    envelope: Envelope
    message: M


class Handler(NamedTuple):
    """A row of a service's table of handlers: which message, which function takes a list of it."""

    message_type: type[Message]
    handle: Callable[[AsyncSession, Sequence[Incoming[Any]]], Awaitable[None]]


Handlers = Mapping[str, Handler]
"""Event type to handler; a type that is not in it only moves its aggregate's position."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message from the stream, read."""

    envelope: Envelope
    payload: bytes
    msg: Msg


@dataclass(slots=True)
class Sorted:
    """What is to be done with each delivery of a batch."""

    take: list[Delivery]
    known: list[Delivery]
    """Taken in before: acknowledge again."""
    behind: list[Delivery]
    """Behind a parked event of its aggregate: park it too, without an attempt."""
    early: list[Delivery]
    """The one before it has not come yet: give it back."""
    unknown: list[Delivery] = field(default_factory=list)
    """Of a version that this release does not read: park it, for the release that does."""


# The services of one machine share a database, where an advisory lock is everybody's.
LOCK = "SELECT pg_advisory_xact_lock(hashtext('liandong-inbox-take'), hashtext(current_schema()))"
"""By it the consumer and an operator's replay take turns in one service."""


async def lock(session: AsyncSession) -> None:
    """Wait for the turn in a transaction that has begun."""
    await database.fetch(session, LOCK)


async def sort(session: AsyncSession, deliveries: Sequence[Delivery]) -> Sorted:
    """Decide by the positions and parked aggregates what is new, known, behind or early."""
    aggregates = list({delivery.envelope.aggregate for delivery in deliveries})
    types = [pair[0] for pair in aggregates]
    names = [pair[1] for pair in aggregates]
    rows = await database.fetch(
        session,
        """SELECT a.type, a.id, coalesce(p.last_sequence, 0) AS last,
                  EXISTS (SELECT FROM parked_event AS e WHERE e.state = 'parked'
                          AND e.aggregate_type = a.type AND e.aggregate_id = a.id) AS parked
           FROM unnest($1::text[], $2::text[]) AS a (type, id)
           LEFT JOIN inbox_position AS p ON p.aggregate_type = a.type AND p.aggregate_id = a.id""",
        types,
        names,
    )
    last = {(row["type"], row["id"]): row["last"] for row in rows}
    parked = {(row["type"], row["id"]) for row in rows if row["parked"]}
    return arrange(deliveries, last, parked)


def arrange(
    deliveries: Sequence[Delivery],
    last: Mapping[tuple[str, str], int],
    parked: Iterable[tuple[str, str]],
) -> Sorted:
    """What is to be done with deliveries, by the last sequence of their aggregates. Pure."""
    held = dict(last)
    stopped = set(parked)
    found = Sorted([], [], [], [])
    for delivery in sorted(deliveries, key=lambda d: d.envelope.sequence):
        aggregate = delivery.envelope.aggregate
        sequence = delivery.envelope.sequence
        before = held.get(aggregate, 0)
        if sequence <= before:
            found.known.append(delivery)
        elif sequence > before + 1:
            found.early.append(delivery)
        else:
            held[aggregate] = sequence
            if aggregate in stopped:
                found.behind.append(delivery)
            elif delivery.envelope.version not in cloudevents.VERSIONS:
                # Whether it matters here, only a release that reads it could say.
                stopped.add(aggregate)
                found.unknown.append(delivery)
            else:
                found.take.append(delivery)
    return found


def runs(deliveries: Sequence[Delivery], handlers: Handlers) -> Iterator[list[Delivery]]:
    """
    Cut a batch into runs of one event type that keep each aggregate's order.

    Each event's trace goes on all the same (`causes`).
    """
    left = [delivery for delivery in deliveries if delivery.envelope.event_type in handlers]
    while left:
        first = left[0]
        run: list[Delivery] = []
        rest: list[Delivery] = []
        held: set[tuple[str, str]] = set()
        for delivery in left:
            envelope = delivery.envelope
            same = envelope.event_type == first.envelope.event_type
            if same and envelope.aggregate not in held:
                run.append(delivery)
            else:
                held.add(envelope.aggregate)
                rest.append(delivery)
        yield run
        left = rest


_KEEP_IDS = "INSERT INTO inbox_event (event_id) SELECT * FROM unnest($1::uuid[])"
_KEEP_POSITIONS = """
INSERT INTO inbox_position (aggregate_type, aggregate_id, last_sequence)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE SET last_sequence = excluded.last_sequence
"""
_KEEP_COUNT = """
INSERT INTO inbox_count (noun, events)
SELECT * FROM unnest($1::text[], $2::bigint[])
ON CONFLICT (noun) DO UPDATE SET events = inbox_count.events + excluded.events
"""


async def keep(session: AsyncSession, deliveries: Sequence[Delivery]) -> None:
    """Write down that these were taken in: their ids, their aggregates' positions, their count."""
    if not deliveries:
        return
    last: dict[tuple[str, str], int] = {}
    count: dict[str, int] = {}
    for delivery in deliveries:
        envelope = delivery.envelope
        last[envelope.aggregate] = max(last.get(envelope.aggregate, 0), envelope.sequence)
        count[envelope.noun] = count.get(envelope.noun, 0) + 1
    ids = [delivery.envelope.event_id for delivery in deliveries]
    places = [(*aggregate, sequence) for aggregate, sequence in last.items()]
    await database.write(session, _KEEP_IDS, ids)
    await database.write(session, _KEEP_POSITIONS, *database.columns(places, 3))
    await database.write(session, _KEEP_COUNT, list(count), list(count.values()))
