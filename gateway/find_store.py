"""Find store: the SQL of which events name an id, and of the calls of traces and ids."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import feed_store, find_names
from gateway.feed_store import Kept, Question, kept_of
from gateway.log_store import POSITION_MAX
from services.kernel import database

FORGET_ROWS_MAX = 10_000
FILL_EVENTS_MAX = 500
CALLS_MAX = 100
"""Calls of one answer."""

# Of each id its next positions, by the primary key: a page costs the same whatever else is kept.
_POSITIONS = """
SELECT DISTINCT n.position FROM unnest($2::uuid[], $3::bigint[]) AS a (id, since)
CROSS JOIN LATERAL (
    SELECT f.position FROM feed_named AS f
    WHERE f.id = a.id AND f.position > greatest($1, a.since - 1)
    ORDER BY f.position {order} LIMIT $4) AS n
ORDER BY n.position {order} LIMIT $4
"""

_EVENTS = """
SELECT * FROM feed_event
WHERE position = ANY($1::bigint[])
  AND ((event_type = ANY($2::text[])
        AND (starts_with(county_code, $4) OR county_code = '000000'))
       OR (event_type = ANY($3::text[]) AND parties && $5::text[]))
ORDER BY position
"""


async def positions(
    session: AsyncSession,
    since: Mapping[UUID, int],
    *,
    after: int,
    rows_max: int,
    newest: bool = False,
) -> list[int]:
    """The next positions at which any of some ids is named, each from a position on."""
    rows = await database.fetch(
        session,
        _POSITIONS.format(order="DESC" if newest else "ASC"),
        *(after, list(since), list(since.values()), rows_max),
    )
    return [row["position"] for row in rows]


async def events(session: AsyncSession, question: Question, places: Sequence[int]) -> list[Kept]:
    """The events at positions, as far as they may be the reader's to know, in their order."""
    rows = await database.fetch(
        session,
        _EVENTS,
        *(list(places), list(question.open_types), list(question.party_types)),
        *(question.county, list(question.parties)),
    )
    return [kept_of(row) for row in rows]


async def position_of_event(session: AsyncSession, event_id: UUID) -> int | None:
    """Where an event is kept."""
    rows = await database.fetch(
        session, "SELECT position FROM feed_event WHERE event_id = $1", event_id
    )
    return rows[0]["position"] if rows else None


async def forget(session: AsyncSession) -> int:
    """Forget names of events that retention has taken away, a bounded number."""
    return await database.execute(
        session,
        """DELETE FROM feed_named WHERE ctid IN (
               SELECT ctid FROM feed_named
               WHERE position < coalesce((SELECT min(position) FROM feed_event),
                                         (SELECT last_position + 1 FROM feed_state))
               LIMIT $1)""",
        FORGET_ROWS_MAX,
    )


async def fill(session: AsyncSession) -> bool:
    """Name the next events that were kept before names were; whether more are left."""
    state = (
        await database.fetch(
            session, "SELECT done_position, upto_position FROM feed_named_state FOR UPDATE"
        )
    )[0]
    if state["done_position"] >= state["upto_position"]:
        return False
    rows = await database.fetch(
        session,
        """SELECT * FROM feed_event WHERE position > $1 AND position <= $2
           ORDER BY position LIMIT $3""",
        *(state["done_position"], state["upto_position"], FILL_EVENTS_MAX),
    )
    named = [
        name
        for kept in map(kept_of, rows)
        for name in find_names.rows(kept.position, kept.envelope, feed_store.read(kept))
    ]
    await database.execute(
        session,
        """INSERT INTO feed_named (id, position, kind)
           SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[]) ON CONFLICT DO NOTHING""",
        *database.columns(named, 3),
    )
    done = rows[-1]["position"] if rows else state["upto_position"]
    await database.execute(session, "UPDATE feed_named_state SET done_position = $1", done)
    return bool(rows)


_CALL = """position, call_id, called_at, institution_id, method, county_code, outcome, reason,
           trace_id, resources"""


async def calls_of_traces(session: AsyncSession, traces: Sequence[str]) -> list[asyncpg.Record]:
    """The calls of traces, in the order in which they were recorded."""
    return await database.fetch(
        session,
        f"""SELECT c.* FROM unnest($1::text[]) AS t (trace_id)
            CROSS JOIN LATERAL (
                SELECT {_CALL} FROM access_log AS l
                WHERE l.trace_id = t.trace_id AND l.trace_id <> ''
                ORDER BY l.position LIMIT $2) AS c
            ORDER BY c.position""",  # noqa: S608 - the names are those above
        list(traces),
        CALLS_MAX,
    )


async def calls_naming(
    session: AsyncSession, resources: Sequence[str], *, before: int = POSITION_MAX
) -> list[asyncpg.Record]:
    """The calls whose request named any of some things, the latest of them, in their order."""
    # As in log_store: found by what they touched, then sorted.
    return await database.fetch(
        session,
        f"""WITH touched AS MATERIALIZED (
                SELECT {_CALL} FROM access_log WHERE resources && $1::text[])
            SELECT * FROM (SELECT * FROM touched WHERE position < $2
                           ORDER BY position DESC LIMIT $3) AS latest
            ORDER BY position""",  # noqa: S608 - as above
        *(list(resources), before, CALLS_MAX),
    )
