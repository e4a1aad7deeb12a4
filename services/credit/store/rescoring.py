"""Credit: SQL of re-scores: the jobs, and credit files and indicators as columns."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from uuid import UUID

import asyncpg
import polars as pl
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.model import GONE, Rescore, RescoreState
from services.credit.rules.rescored import STAGED
from services.credit.rules.rescoring import HEADS, OBSERVED
from services.credit.rules.scheme import Scheme
from services.kernel.database import columns, execute, fetch, read_columns, write_columns

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


_HEADS = f"""
SELECT household_id, honour, score_centi, grade, array_to_string(vetoes, ','),
       array_to_string(barred, ','), limit_fen, valid_until, version, ctid, xmin,
       (holds = '{{}}'
            AND (limit_fen > 0 OR grade = '')
            AND NOT EXISTS (SELECT FROM measure AS m
                            WHERE m.county_code = f.county_code
                              AND m.household_id = f.household_id AND m.state = 'in_force')
            AND NOT EXISTS (SELECT FROM rating AS r
                            WHERE r.county_code = f.county_code AND r.rating_id = f.rating_id
                              AND r.pins ? 'override'))::text AS plain,
       (granted_on IS NOT NULL)::text AS granted,
       (programme = $4)::text AS same_terms
FROM credit_file AS f
WHERE {_RATED} AND household_id > $5
ORDER BY household_id LIMIT $6
"""  # noqa: S608 - put together from constants


async def read_heads(
    session: AsyncSession,
    county_code: str,
    *,
    programme_id: str,
    ref: str,
    after: UUID,
    limit: int,
) -> pl.DataFrame:
    """The next credit files that were rated under a programme, as columns; they are not held."""
    args = (county_code, list(GONE), programme_id, ref, after, limit)
    return await read_columns(session, _HEADS, *args, schema=HEADS)


# Text of the dates: only their order counts here, and they are written as they are read.
_OBSERVED = """
SELECT i.household_id, i.code, i.value, i.observed_on, i.entry,
       least(i.expires_on, (i.observed_on + make_interval(months => r.months))::date - 1)
FROM indicator AS i
LEFT JOIN unnest($3::text[], $4::integer[]) AS r (code, months) ON r.code = i.code
WHERE i.county_code = $1 AND i.observed_on <= $2
"""
_BETWEEN = f"""{_OBSERVED} AND (i.code = ANY($5::text[]) OR $5::text[] IS NULL)
  AND i.household_id BETWEEN $6 AND $7"""
_REST = f"{_OBSERVED} AND i.code <> ALL($5::text[]) AND i.household_id = ANY($6::uuid[])"


async def read_observed(
    session: AsyncSession,
    county_code: str,
    household_ids: Sequence[str],
    *,
    codes: Sequence[str] | None,
    months: Mapping[str, int],
    on: date,
) -> pl.DataFrame:
    """
    What was observed of everybody between the first and the last of households, in order.

    A row an entry; of some indicators or of all; `months` as elsewhere.
    """
    if not household_ids:
        return pl.DataFrame(schema=OBSERVED)
    return await read_columns(
        session,
        _BETWEEN,
        *(county_code, on, list(months), list(months.values())),
        codes if codes is None else list(codes),
        *(UUID(household_ids[0]), UUID(household_ids[-1])),
        schema=OBSERVED,
    )


async def read_rest(
    session: AsyncSession,
    county_code: str,
    household_ids: Sequence[str],
    *,
    but: Sequence[str],
    months: Mapping[str, int],
    on: date,
) -> pl.DataFrame:
    """What was observed of these households beside some indicators."""
    return await read_columns(
        session,
        _REST,
        *(county_code, on, list(months), list(months.values()), list(but)),
        list(map(UUID, household_ids)),
        schema=OBSERVED,
    )


_STAGE = """
CREATE TEMPORARY TABLE IF NOT EXISTS staged_rescored (
    household_id uuid, place tid, was xid, version bigint, said bigint, limit_said bigint,
    rating_id uuid, honour text, score_centi bigint, grade text, vetoes text, barred text,
    base_limit_fen bigint, uplift_fen bigint, limit_fen bigint, valid_until date, working text,
    inputs jsonb, digest text
) ON COMMIT DELETE ROWS
"""
_TAKE = """
UPDATE credit_file AS f
SET version = n.version + n.said, rating_id = n.rating_id, programme = $2,
    score_centi = n.score_centi, grade = n.grade, vetoes = string_to_array(n.vetoes, ','),
    barred = string_to_array(n.barred, ','), limit_fen = n.limit_fen, valid_until = n.valid_until
FROM staged_rescored AS n
WHERE f.county_code = $1 AND f.household_id = n.household_id AND f.ctid = n.place
  AND f.xmin = n.was
"""
_RATE = """
INSERT INTO rating (county_code, rating_id, household_id, cause, programme, rated_on, inputs,
                    honour, score_centi, grade, vetoes, base_limit_fen, uplift_fen, limit_fen,
                    valid_until, working, pins, digest, rated_by)
SELECT $1, rating_id, household_id, 'rescored', $2, $3, inputs, honour, score_centi, grade,
       string_to_array(vetoes, ','), base_limit_fen, uplift_fen, limit_fen, valid_until, working,
       $4::jsonb, digest, $5
FROM staged_rescored
"""
_CHANGE = """
INSERT INTO limit_change (county_code, changed_on, household_id, sequence, fact, limit_fen, grade,
                          valid_until, rating_id)
SELECT $1, $2, household_id, version + said, 'limit_changed', limit_fen,
       CASE WHEN limit_fen > 0 THEN grade ELSE '' END, valid_until, rating_id
FROM staged_rescored WHERE limit_said > 0
"""


async def save_decided(
    session: AsyncSession,
    county_code: str,
    sealed: pl.DataFrame,
    *,
    scheme: Scheme,
    on: date,
    rated_by: str,
) -> None:
    """
    Write down what the columns decided: ratings, files, limits.

    Nobody was held meanwhile: where another was quicker, the chunk is done again.
    """
    await write_columns(session, "staged_rescored", _STAGE, sealed.select(STAGED))
    taken = await execute(session, _TAKE, county_code, scheme.ref)
    if taken < len(sealed):
        raise asyncpg.SerializationError("a credit file changed while its county was rated again")
    pins = json.dumps({"terms_digest": scheme.digest})
    await execute(session, _RATE, county_code, scheme.ref, on, pins, rated_by)
    await execute(session, _CHANGE, county_code, on)
