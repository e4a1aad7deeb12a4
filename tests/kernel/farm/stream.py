"""Saying events, and looking at what a stream holds."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from google.protobuf.wrappers_pb2 import StringValue
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from services.kernel import cloudevents, ids, outbox
from services.kernel.cloudevents import Envelope
from services.kernel.outbox import STREAM, OutgoingEvent
from services.kernel.walls import EVERY_COUNTY
from tests.builders import an_envelope
from tests.eventually import eventually
from tests.kernel.farm.handling import COUNTY, FIELD, SOWN
from tests.servers import NatsServer, Schema


@dataclass(frozen=True, slots=True)
class Stored:
    """A message of the stream."""

    stream_sequence: int
    message_id: str
    batch_id: str
    subject: str
    envelope: Envelope
    payload: bytes

    @property
    def place(self) -> tuple[str, int]:
        """Its aggregate and its sequence in it."""
        return self.envelope.aggregate_id, self.envelope.sequence


async def stored(nats: NatsServer) -> list[Stored]:
    """Every event of fields that the stream holds, in its order."""
    found = []
    async with nats.operator() as client:
        stream = client.jetstream()
        state = (await stream.stream_info(STREAM)).state
        for number in range(max(1, state.first_seq), state.last_seq + 1):
            try:
                message = await stream.get_msg(STREAM, number, direct=True)
            except NotFoundError:
                continue
            headers = message.headers or {}
            if not (message.subject or "").startswith("liandong.fields."):
                continue
            found.append(
                Stored(
                    number,
                    headers.get("Nats-Msg-Id", ""),
                    headers.get("Nats-Batch-Id", ""),
                    message.subject or "",
                    cloudevents.read(headers),
                    message.data or b"",
                )
            )
    return found


async def say(fields: Schema, *events: OutgoingEvent) -> None:
    """Write events as a service does: in one transaction."""
    async with fields.db.transaction(EVERY_COUNTY) as session:
        await outbox.record(session, events)


async def eventually_published(fields: Schema, *, seconds_max: float = 20) -> None:
    """Wait until the relay has noted a place in the stream for each event."""
    waiting = "SELECT count(*) FROM outbox WHERE stream_sequence IS NULL"
    await eventually(lambda: fields.one(waiting), lambda count: count == 0, seconds_max=seconds_max)


async def noted(fields: Schema) -> dict[int, UUID]:
    """Which event the relay believes at which place of the stream."""
    rows = await fields.ask(
        "SELECT stream_sequence, event_id FROM outbox WHERE stream_sequence IS NOT NULL"
    )
    found = {row["stream_sequence"]: UUID(int=row["event_id"].int) for row in rows}
    assert len(found) == len(rows), "two events at one place"
    return found


async def every_event_stands(fields: Schema, nats: NatsServer) -> bool:
    """Whether the stream holds each event of the outbox where the relay noted it."""
    events = await fields.one("SELECT count(*) FROM outbox")
    places = {message.stream_sequence: message.envelope.event_id for message in await stored(nats)}
    found = await noted(fields)
    return len(found) == events and found.items() <= places.items()


def an_event(
    field_id: str, sequence: int, *, kind: str = SOWN, event_id: UUID | None = None
) -> Envelope:
    """An event of a field, as it goes over the wire."""
    return an_envelope(
        event_id=event_id or ids.new_id(),
        event_type=kind,
        aggregate_type=FIELD,
        aggregate_id=field_id,
        sequence=sequence,
        business_date=None,
    )


async def put(
    client: Client,
    envelopes: Iterable[Envelope],
    *,
    what: str = "wheat",
    payload: bytes = b"",
    subject: str = "",
) -> None:
    """Publish events past the outbox, each as often as it is given."""
    body = payload or StringValue(value=what).SerializeToString()
    stream = client.jetstream(timeout=10)
    for envelope in envelopes:
        # An id of its own each time, or the stream would swallow the second one.
        headers = cloudevents.headers(envelope, source="fields") | {
            "Nats-Msg-Id": str(ids.new_id())
        }
        to = f"{subject or envelope.event_type}.{COUNTY}"
        await stream.publish(to, body, headers=headers)
