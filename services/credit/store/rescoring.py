"""Credit: SQL of re-scores: the jobs, and credit files and indicators as columns."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.model import GONE, Rescore, RescoreState
from services.credit.rules.rescoring import Heads, Inputs
from services.kernel.database import columns, execute, fetch

_RESCORE = """
SELECT county_code, rescore_id, programme_id, programme, dry_run, reason, state, started_on,
       started_by, person_id, after_household_id, households, done, changed, incomplete,
       moves::text AS moves, failure
FROM rescore
"""

_RATED = """county_code = $1 AND NOT delisted AND household_status <> ALL ($2::text[])
        AND rating_id IS NOT NULL AND split_part(programme, '@', 1) = $3"""


def _rescore(row: asyncpg.Record) -> Rescore:
    held = dict(row)
    moves = {(before, after): count for before, after, count in json.loads(held.pop("moves"))}
    return Rescore(**{**held, "state": RescoreState(held["state"]), "moves": moves})


async def count_rated(session: AsyncSession, county_code: str, programme_id: str) -> int:
    """How many households a re-score looks at."""
    rows = await fetch(
        session,
        f"SELECT count(*) AS households FROM credit_file WHERE {_RATED}",  # noqa: S608 - constants
        county_code,
        GONE,
        programme_id,
    )
    count: int = rows[0]["households"]
    return count


async def add(session: AsyncSession, rescores: Sequence[Rescore]) -> int:
    """Write new re-scores down; how many: not where one of the programme runs already."""
    rows = [
        (
            r.county_code,
            r.rescore_id,
            r.programme_id,
            r.programme,
            r.dry_run,
            r.reason,
            r.state.value,
            r.started_on,
            r.started_by,
            r.person_id,
            r.after_household_id,
            r.households,
        )
        for r in rescores
    ]
    return await execute(
        session,
        """INSERT INTO rescore (county_code, rescore_id, programme_id, programme, dry_run, reason,
                                state, started_on, started_by, person_id, after_household_id,
                                households)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::boolean[],
                                $6::text[], $7::text[], $8::date[], $9::text[], $10::text[],
                                $11::uuid[], $12::bigint[])
           ON CONFLICT (county_code, programme_id) WHERE state = 'running' AND NOT dry_run
           DO NOTHING""",
        *columns(rows, 12),
    )


async def find(
    session: AsyncSession, county_codes: Sequence[str], rescore_id: UUID
) -> list[Rescore]:
    """A re-score in each county."""
    rows = await fetch(
        session,
        f"""{_RESCORE} WHERE county_code = ANY($1::text[]) AND rescore_id = $2
            ORDER BY county_code""",
        county_codes,
        rescore_id,
    )
    return [_rescore(row) for row in rows]


async def find_running(session: AsyncSession) -> tuple[str, UUID] | None:
    """The next re-score that is not over: where and which."""
    rows = await fetch(
        session,
        """SELECT county_code, rescore_id FROM rescore WHERE state = 'running'
           ORDER BY rescore_id, county_code LIMIT 1""",
    )
    return (rows[0]["county_code"], rows[0]["rescore_id"]) if rows else None


async def lock(session: AsyncSession, county_code: str, rescore_id: UUID) -> Rescore | None:
    """A re-score that is not over, held; None when another process has it in hand."""
    rows = await fetch(
        session,
        f"""{_RESCORE} WHERE county_code = $1 AND rescore_id = $2 AND state = 'running'
            FOR UPDATE SKIP LOCKED""",
        county_code,
        rescore_id,
    )
    return _rescore(rows[0]) if rows else None


async def save(session: AsyncSession, rescore: Rescore) -> None:
    """Write how far a re-score is."""
    await execute(
        session,
        """UPDATE rescore SET state = $3, after_household_id = $4, done = $5, changed = $6,
                  incomplete = $7, moves = $8::jsonb, failure = $9
           WHERE county_code = $1 AND rescore_id = $2""",
        rescore.county_code,
        rescore.rescore_id,
        rescore.state.value,
        rescore.after_household_id,
        rescore.done,
        rescore.changed,
        rescore.incomplete,
        json.dumps([[*move, count] for move, count in rescore.moves.items()]),
        rescore.failure,
    )


async def fail(session: AsyncSession, county_code: str, rescore_id: UUID, reason: str) -> None:
    """End a re-score that cannot go on."""
    await execute(
        session,
        """UPDATE rescore SET state = 'failed', failure = $3
           WHERE county_code = $1 AND rescore_id = $2 AND state = 'running'""",
        county_code,
        rescore_id,
        reason,
    )


# Whole columns in one row: decoding a row a household would take longer than the rest.
_HEADS = f"""
SELECT array_agg(household_id), array_agg(honour), array_agg(score_centi), array_agg(grade),
       array_agg(limit_fen), array_agg(plain), array_agg(same_terms)
FROM (SELECT household_id, nullif(honour, '') AS honour, score_centi, grade, limit_fen,
             vetoes = '{{}}' AND barred = '{{}}' AND holds = '{{}}'
                 AND (limit_fen > 0 OR grade = '')
                 AND NOT EXISTS (SELECT FROM measure AS m
                                 WHERE m.county_code = f.county_code
                                   AND m.household_id = f.household_id
                                   AND m.state = 'in_force') AS plain,
             programme = $4 AS same_terms
      FROM credit_file AS f
      WHERE {_RATED} AND household_id > $5
      ORDER BY household_id LIMIT $6) AS head
"""  # noqa: S608 - put together from constants


async def read_heads(
    session: AsyncSession,
    county_code: str,
    *,
    programme_id: str,
    ref: str,
    after: UUID,
    limit: int,
) -> Heads:
    """The next credit files that were rated under a programme, as columns; they are not held."""
    [row] = await fetch(session, _HEADS, county_code, GONE, programme_id, ref, after, limit)
    return Heads(*(column or [] for column in row))


_INPUTS = """
SELECT code, array_agg(place) AS places, array_agg(value) AS found, array_agg(stale) AS stale
FROM (SELECT DISTINCT ON (i.household_id, i.code) h.place, i.code, i.value,
             coalesce(least(i.expires_on,
                            (i.observed_on + make_interval(months => r.months))::date - 1) < $3,
                      false) AS stale
      FROM indicator AS i
      JOIN unnest($2::uuid[]) WITH ORDINALITY AS h (household_id, place) USING (household_id)
      LEFT JOIN unnest($5::text[], $6::integer[]) AS r (code, months) ON r.code = i.code
      WHERE i.county_code = $1 AND i.household_id BETWEEN $7 AND $8 AND i.observed_on <= $3
        AND i.code = ANY($4::text[])
      ORDER BY i.household_id, i.code, i.observed_on DESC, i.entry DESC) AS newest
GROUP BY code
"""


async def read_inputs(
    session: AsyncSession,
    county_code: str,
    household_ids: Sequence[UUID],
    *,
    codes: Sequence[str],
    vetoes: Sequence[str],
    months: Mapping[str, int],
    on: date,
) -> Inputs:
    """What was observed of households in order, a column an indicator; `months` as elsewhere."""
    if not household_ids:
        return Inputs({}, frozenset())
    rows = await fetch(
        session,
        _INPUTS,
        county_code,
        household_ids,
        on,
        codes,
        list(months),
        list(months.values()),
        household_ids[0],
        household_ids[-1],
    )
    found: dict[str, list[int | None]] = {}
    watched: set[int] = set()
    for code, places, values, stale in rows:
        column: list[int | None] = [None] * len(household_ids)
        for place, value, is_stale in zip(places, values, stale, strict=True):
            if not is_stale:
                column[place - 1] = value
            elif value >= 1 and code in vetoes:
                watched.add(place - 1)
        found[code] = column
    return Inputs(found, frozenset(watched))
