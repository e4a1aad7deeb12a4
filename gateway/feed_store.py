"""Feeds: the SQL of kept events, their ties, and how far readers have come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from gateway.feed_ties import Key, Tie
from services.kernel import database
from services.kernel.cloudevents import Envelope

_COLUMNS = (
    *("position", "event_id", "event_type", "noun", "aggregate_type", "aggregate_id", "sequence"),
    *("county_code", "area_code", "household_id", "parties", "programme", "business_date"),
    *("recorded_at", "payload"),
)


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
    await database.execute(
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


async def keep(session: AsyncSession, events: Sequence[Kept]) -> None:
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
        [_row(position, each) for position, each in enumerate(events, first)],
    )


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
    )
