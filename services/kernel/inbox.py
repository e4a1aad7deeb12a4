"""Inbox: an event takes effect once, in its aggregate's order, in the handler's transaction."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from google.protobuf.message import Message
from nats.aio.msg import Msg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
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


async def lock(session: AsyncSession) -> None:
    """Let the consumer and an operator's replay take turns in one service."""
    # The services of one machine share a database, where an advisory lock is everybody's.
    await database.fetch(
        session,
        "SELECT pg_advisory_xact_lock(hashtext('liandong-inbox-take'), hashtext(current_schema()))",
    )


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
    found = Sorted([], [], [], [])
    for delivery in sorted(deliveries, key=lambda d: d.envelope.sequence):
        aggregate = delivery.envelope.aggregate
        sequence = delivery.envelope.sequence
        if sequence <= last[aggregate]:
            found.known.append(delivery)
        elif sequence > last[aggregate] + 1:
            found.early.append(delivery)
        else:
            last[aggregate] = sequence
            (found.behind if aggregate in parked else found.take).append(delivery)
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


async def keep(session: AsyncSession, deliveries: Sequence[Delivery]) -> None:
    """Write down that these were taken in: their ids, their aggregates' positions, their count."""
    if not deliveries:
        return
    await database.execute(
        session,
        "INSERT INTO inbox_event (event_id) SELECT * FROM unnest($1::uuid[])",
        [delivery.envelope.event_id for delivery in deliveries],
    )
    last: dict[tuple[str, str], int] = {}
    count: dict[str, int] = {}
    for delivery in deliveries:
        envelope = delivery.envelope
        last[envelope.aggregate] = max(last.get(envelope.aggregate, 0), envelope.sequence)
        count[envelope.noun] = count.get(envelope.noun, 0) + 1
    await database.execute(
        session,
        """INSERT INTO inbox_position (aggregate_type, aggregate_id, last_sequence)
           SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
           ON CONFLICT (aggregate_type, aggregate_id)
           DO UPDATE SET last_sequence = excluded.last_sequence""",
        [key[0] for key in last],
        [key[1] for key in last],
        list(last.values()),
    )
    await database.execute(
        session,
        """INSERT INTO inbox_count (noun, events)
           SELECT * FROM unnest($1::text[], $2::bigint[])
           ON CONFLICT (noun) DO UPDATE SET events = inbox_count.events + excluded.events""",
        list(count),
        list(count.values()),
    )
