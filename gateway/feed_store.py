"""Feeds: the SQL of kept events, their ties, and how far readers have come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from google.protobuf.message import Message
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import find_names
from gateway.event_types import MESSAGES
from gateway.feed_ties import Key, Tie
from services.kernel import database
from services.kernel.cloudevents import Envelope

_COLUMNS = (
    *("position", "event_id", "event_type", "noun", "aggregate_type", "aggregate_id", "sequence"),
    *("county_code", "area_code", "household_id", "parties", "programme", "business_date"),
    *("recorded_at", "payload", "traceparent"),
)
NAMED_COLUMNS = ("id", "position", "kind")


@dataclass(frozen=True, slots=True)
class Kept:
    """An event as it is kept."""

    envelope: Envelope
    payload: bytes
    tie: Tie
    position: int = 0


async def read_ties(session: AsyncSession, keys: Sequence[Key]) -> dict[Key, Tie]:
    """What is known of aggregates."""
    rows = await database.fetch(
        session,
        """SELECT t.* FROM unnest($1::text[], $2::text[]) AS a (type, id)
           JOIN feed_tie AS t ON t.aggregate_type = a.type AND t.aggregate_id = a.id""",
        *database.columns(keys, 2),
    )
    return {
        (row["aggregate_type"], row["aggregate_id"]): Tie(
            row["area_code"], row["household_id"], frozenset(row["parties"])
        )
        for row in rows
    }


async def save_ties(session: AsyncSession, ties: Mapping[Key, Tie]) -> None:
    """Write down what is known of aggregates now."""
    if not ties:
        return
    # Arrays of arrays must be rectangular; ids hold no spaces.
    rows = [
        (*key, tie.area_code, tie.household_id, " ".join(sorted(tie.parties)))
        for key, tie in sorted(ties.items())
    ]
    await database.write(
        session,
        """INSERT INTO feed_tie (aggregate_type, aggregate_id, area_code, household_id, parties)
           SELECT a.type, a.id, a.area, a.household, string_to_array(a.parties, ' ')
           FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
                AS a (type, id, area, household, parties)
           ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE
           SET area_code = excluded.area_code, household_id = excluded.household_id,
               parties = excluded.parties""",
        *database.columns(rows, 5),
    )


async def keep(session: AsyncSession, events: Sequence[tuple[Kept, Message]]) -> None:
    """Give events their positions and write them; others wait, so that order is order of commit."""
    rows = await database.fetch(
        session,
        "UPDATE feed_state SET last_position = last_position + $1 RETURNING last_position",
        len(events),
    )
    first = rows[0]["last_position"] - len(events) + 1
    await database.copy(
        session,
        "feed_event",
        _COLUMNS,
        [_row(position, each) for position, (each, _) in enumerate(events, first)],
    )
    named = [
        row
        for position, (each, message) in enumerate(events, first)
        for row in find_names.rows(position, each.envelope, message)
    ]
    await database.copy(session, "feed_named", NAMED_COLUMNS, named)


def read(kept: Kept) -> Message:
    """What an event says."""
    return MESSAGES[kept.envelope.event_type].FromString(kept.payload)


def _row(position: int, kept: Kept) -> tuple[object, ...]:
    envelope, tie = kept.envelope, kept.tie
    return (
        position,
        envelope.event_id,
        envelope.event_type,
        envelope.noun,
        envelope.aggregate_type,
        envelope.aggregate_id,
        envelope.sequence,
        envelope.county_code,
        tie.area_code,
        tie.household_id,
        sorted(tie.parties),
        envelope.programme,
        envelope.business_date,
        envelope.recorded_at,
        kept.payload,
        envelope.traceparent,
    )


@dataclass(frozen=True, slots=True)
class Question:
    """Which events are looked for; each is decided upon once more when it is told."""

    open_types: Sequence[str]
    """Told for what they are or where they are."""
    party_types: Sequence[str]
    """Told only to those who are named."""
    parties: Sequence[str]
    county: str
    """What the county's code begins with, for what is told by place; empty for any."""


_FIND = """
SELECT * FROM feed_event
WHERE position > $1 AND position <= $2
  AND ((event_type = ANY($3::text[])
        AND (starts_with(county_code, $5) OR county_code = '000000'))
       OR (event_type = ANY($4::text[]) AND parties && $6::text[]))
ORDER BY position {order} LIMIT $7
"""


async def find(
    session: AsyncSession,
    question: Question,
    *,
    after: int,
    upto: int,
    rows_max: int,
    newest: bool = False,
) -> list[Kept]:
    """Events between two positions, in their order or the newest first."""
    rows = await database.fetch(
        session,
        _FIND.format(order="DESC" if newest else "ASC"),
        after,
        upto,
        list(question.open_types),
        list(question.party_types),
        question.county,
        list(question.parties),
        rows_max,
    )
    return [kept_of(row) for row in rows]


def kept_of(row: asyncpg.Record) -> Kept:
    """An event of its row."""
    return Kept(
        Envelope(
            event_id=row["event_id"],
            event_type=row["event_type"],
            aggregate_type=row["aggregate_type"],
            aggregate_id=row["aggregate_id"],
            sequence=row["sequence"],
            county_code=row["county_code"],
            business_date=row["business_date"],
            programme=row["programme"],
            traceparent=row["traceparent"],
            recorded_at=row["recorded_at"],
        ),
        row["payload"],
        Tie(row["area_code"], row["household_id"], frozenset(row["parties"])),
        row["position"],
    )


async def last_position(session: AsyncSession) -> int:
    """The position of the last event that was kept."""
    rows = await database.fetch(session, "SELECT last_position FROM feed_state")
    found: int = rows[0]["last_position"]
    return found


async def first_kept(session: AsyncSession) -> tuple[int, datetime | None]:
    """The first position that is kept, or the next one to be given; and since when."""
    rows = await database.fetch(
        session,
        """SELECT coalesce(e.position, s.last_position + 1) AS position, e.recorded_at
           FROM feed_state AS s
           LEFT JOIN LATERAL (SELECT position, recorded_at FROM feed_event
                              ORDER BY position LIMIT 1) AS e ON true""",
    )
    return rows[0]["position"], rows[0]["recorded_at"]


async def position_at(session: AsyncSession, moment: datetime) -> int:
    """The position before the first event that was recorded at a moment or later."""
    rows = await database.fetch(
        session,
        """SELECT coalesce((SELECT min(position) - 1 FROM feed_event WHERE recorded_at >= $1),
                           (SELECT last_position FROM feed_state)) AS position""",
        moment,
    )
    found: int = rows[0]["position"]
    return found


async def readers(session: AsyncSession, institution_id: str) -> list[asyncpg.Record]:
    """How far each reader of an institution has come."""
    return await database.fetch(
        session,
        """SELECT reader, position, acknowledged_at FROM feed_reader
           WHERE institution_id = $1 ORDER BY reader""",
        institution_id,
    )


async def acknowledge(
    session: AsyncSession, institution_id: str, reader: str, position: int
) -> int:
    """Note how far a reader has come; it never goes back."""
    rows = await database.fetch(
        session,
        """INSERT INTO feed_reader AS known (institution_id, reader, position) VALUES ($1, $2, $3)
           ON CONFLICT (institution_id, reader) DO UPDATE
           SET position = greatest(known.position, excluded.position),
               acknowledged_at = CASE WHEN excluded.position > known.position THEN now()
                                      ELSE known.acknowledged_at END
           RETURNING position""",
        institution_id,
        reader,
        position,
    )
    found: int = rows[0]["position"]
    return found


async def channels(session: AsyncSession) -> list[asyncpg.Record]:
    """The feeds on NATS, closed ones too."""
    return await database.fetch(
        session,
        """SELECT institution_id, open, position, stream_created FROM feed_channel
           ORDER BY institution_id""",
    )


async def set_channel(
    session: AsyncSession, institution_id: str, *, is_open: bool, person_id: str
) -> None:
    """Open or close a feed on NATS; it goes on from where it was."""
    await database.execute(
        session,
        """INSERT INTO feed_channel (institution_id, open, changed_by) VALUES ($1, $2, $3)
           ON CONFLICT (institution_id) DO UPDATE
           SET open = excluded.open, changed_by = excluded.changed_by, changed_at = now()
           WHERE feed_channel.open <> excluded.open""",
        institution_id,
        is_open,
        person_id,
    )


async def note_published(
    session: AsyncSession, institution_id: str, position: int, stream_created: str
) -> None:
    """Note how far a feed has been published, into which stream."""
    await database.execute(
        session,
        "UPDATE feed_channel SET position = $2, stream_created = $3 WHERE institution_id = $1",
        institution_id,
        position,
        stream_created,
    )
