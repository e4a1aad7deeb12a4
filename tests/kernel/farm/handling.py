"""What barns do with events of fields: keep one row each, so that twice is seen as two."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf.wrappers_pb2 import StringValue
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database, outbox
from services.kernel.errors import Refused
from services.kernel.inbox import Handler, Handlers, Incoming
from services.kernel.outbox import OutgoingEvent

COUNTY = "411224"
SOWN = "liandong.fields.v1.field_sown"
REAPED = "liandong.fields.v1.field_reaped"
UNHEARD = "liandong.fields.v1.field_rested"
STORED = "liandong.barns.v1.harvest_stored"
FIELD = "fields.field"
BIN = "barns.bin"


def sown(field_id: str, sequence: int, what: str = "wheat", *, kind: str = SOWN) -> OutgoingEvent:
    """An event of a field."""
    return OutgoingEvent(
        event_type=kind,
        aggregate_type=FIELD,
        aggregate_id=field_id,
        sequence=sequence,
        county_code=COUNTY,
        message=StringValue(value=what),
        business_date=None,
    )


@dataclass(slots=True)
class Barn:
    """Takes events in; what it cannot take is named by the event's word."""

    cannot_take: set[str] = field(default_factory=set)
    answers: bool = False
    """Whether it says an event of its own for each that it takes."""

    @property
    def handlers(self) -> Handlers:
        """The table of handlers, as a service has one."""
        return {
            SOWN: Handler(StringValue, self.take),
            REAPED: Handler(StringValue, self.take),
        }

    async def take(self, session: AsyncSession, events: Sequence[Incoming[StringValue]]) -> None:
        """Write a row for each event; fail for those that it cannot take."""
        rows = [
            (e.envelope.event_id, e.envelope.aggregate_id, e.envelope.sequence, e.message.value)
            for e in events
        ]
        await database.execute(
            session,
            """INSERT INTO effect (event_id, aggregate_id, sequence, what)
               SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[])""",
            *database.columns(rows, 4),
        )
        for event in events:
            await self._fail(session, event.message.value)
        if self.answers:
            await outbox.record(session, [_stored(event) for event in events])

    async def _fail(self, session: AsyncSession, word: str) -> None:
        if word not in self.cannot_take:
            return
        if word == "refused":
            raise Refused("BARN_IS_FULL", "no room for 王芳's wheat")
        if word == "too large":
            await database.fetch(session, "SELECT $1::bigint AS sacks", 2**70)
        if word == "wrong statement":
            await database.fetch(session, "SELECT sacks FROM no_such_barn")
        if word == "too few arguments":
            await database.fetch(session, "SELECT $1::bigint, $2::bigint", 1)
        raise ValueError("a bug of the handler")


def _stored(event: Incoming[StringValue]) -> OutgoingEvent:
    return OutgoingEvent(
        event_type=STORED,
        aggregate_type=BIN,
        aggregate_id=f"{event.envelope.aggregate_id}/{event.envelope.sequence}",
        sequence=1,
        county_code=event.envelope.county_code,
        message=StringValue(value=event.envelope.aggregate_id),
        business_date=None,
    )
