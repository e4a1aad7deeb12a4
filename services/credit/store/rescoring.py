"""Credit: SQL of re-scores: the jobs, and credit files and indicators as columns."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from uuid import UUID

import asyncpg
import polars as pl
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.model import GONE, Earlier, Rescore, RescoreState
from services.credit.rules.rescored import STAGED
from services.credit.rules.rescoring import HEADS, OBSERVED
from services.credit.rules.scheme import Scheme
from services.kernel.database import columns, execute, fetch, read_columns, write_columns

_RESCORE = """
SELECT county_code, rescore_id, programme_id, programme, dry_run, reason, state, started_on,
       started_by, person_id, after_household_id, households, done, changed, incomplete,
       moves::text AS moves, failure, basis
FROM rescore
"""

# Of a prefix the planner knows how many there are, and so it reads a chunk by its key; of a
# function of the column it supposes few, and goes through the county for each chunk.
_RATED = """county_code = $1 AND NOT delisted AND household_status <> ALL ($2::text[])
        AND rating_id IS NOT NULL AND programme ^@ ($3::text || '@')"""


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
                                households, seen_upto)
           SELECT r.*, pg_snapshot_xmin(pg_current_snapshot())
           FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::boolean[],
                                $6::text[], $7::text[], $8::date[], $9::text[], $10::text[],
                                $11::uuid[], $12::bigint[]) AS r
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
                  incomplete = $7, moves = $8::jsonb, failure = $9, basis = $10
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
        rescore.basis,
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


async def find_earlier(session: AsyncSession, job: Rescore, basis: str) -> Earlier | None:
    """The last re-score of the programme, where it came to its end and rests on the same."""
    rows = await fetch(
        session,
        """SELECT started_on, seen_upto::text AS seen_upto,
                  state = 'done' AND basis = $4 AND basis <> '' AND seen_upto IS NOT NULL AS holds
           FROM rescore
           WHERE county_code = $1 AND programme_id = $2 AND NOT dry_run AND rescore_id <> $3
           ORDER BY recorded_at DESC, rescore_id DESC LIMIT 1""",
        job.county_code,
        job.programme_id,
        job.rescore_id,
        basis,
    )
    if not rows or not rows[0]["holds"]:
        return None
    return Earlier(rows[0]["started_on"], int(rows[0]["seen_upto"]))


async def read_cluster(session: AsyncSession) -> str:
    """Which database cluster this is: a dump that is put into another one takes no number along."""
    rows = await fetch(session, "SELECT system_identifier::text AS id FROM pg_control_system()")
    cluster: str = rows[0]["id"]
    return cluster


_LAST_DAY = "least(i.expires_on, (i.observed_on + make_interval(months => r.months))::date - 1)"
"""Of an observation and the months that its indicator counts, if they are known."""
# Who is settled is left out, unless something was observed since, or starts or ends to count; but
# the last of a chunk is always read: it says where the chunk ends, and how many it has.
_HEADS = f"""
WITH chunk AS (
    SELECT *, ctid AS place, xmin AS was, programme = $4 AS same_terms,
           coalesce(settled_rating_id = rating_id AND settled_honour = honour, false) AS settled,
           (holds = '{{}}'
                AND (limit_fen > 0 OR grade = '')
                AND NOT EXISTS (SELECT FROM measure AS m
                                WHERE m.county_code = f.county_code
                                  AND m.household_id = f.household_id AND m.state = 'in_force')
                AND NOT EXISTS (SELECT FROM rating AS r
                                WHERE r.county_code = f.county_code AND r.rating_id = f.rating_id
                                  AND r.pins ? 'override')) AS plain
    FROM credit_file AS f
    WHERE {_RATED} AND household_id > $5
    ORDER BY household_id LIMIT $6
), last AS (
    SELECT household_id FROM chunk ORDER BY household_id DESC LIMIT 1
), touched AS (
    SELECT i.household_id
    FROM indicator AS i
    CROSS JOIN LATERAL (SELECT ($11::integer[])[array_position($10::text[], i.code)]) AS r (months)
    CROSS JOIN LATERAL (SELECT {_LAST_DAY}) AS e (last_day)
    WHERE i.county_code = $1 AND i.household_id > $5
      AND i.household_id <= (SELECT household_id FROM last)
      AND (i.transaction_id >= $7::text::xid8 OR i.observed_on > $8
           OR e.last_day >= $8 AND e.last_day < $9)
)
SELECT household_id, honour, score_centi, grade, array_to_string(vetoes, ','),
       array_to_string(barred, ','), limit_fen, valid_until, version, place, was,
       plain::text, (granted_on IS NOT NULL)::text, same_terms::text, settled::text,
       (SELECT count(*) FROM chunk)
FROM chunk AS f
WHERE $7::text IS NULL
   OR NOT (settled AND plain AND same_terms AND barred = '{{}}')
   OR household_id IN (SELECT household_id FROM last UNION ALL SELECT household_id FROM touched)
ORDER BY household_id
"""  # noqa: S608 - put together from constants


async def read_heads(
    session: AsyncSession,
    county_code: str,
    *,
    programme_id: str,
    ref: str,
    after: UUID,
    limit: int,
    earlier: Earlier | None,
    months: Mapping[str, int],
    on: date,
) -> pl.DataFrame:
    """
    The next credit files that were rated under a programme, as columns; they are not held.

    Those are left out that an earlier re-score found right and of which it would say so again.
    """
    since = (str(earlier.seen_upto), earlier.started_on) if earlier else (None, None)
    chunk = (county_code, list(GONE), programme_id, ref, after, limit)
    args = (*chunk, *since, on, list(months), list(months.values()))
    return await read_columns(session, _HEADS, *args, schema=HEADS)


# Text of the dates: only their order counts here, and they are written as they are read.
_OBSERVED = f"""
SELECT i.household_id, i.code, i.value, i.observed_on, i.entry, {_LAST_DAY}
FROM indicator AS i
LEFT JOIN unnest($3::text[], $4::integer[]) AS r (code, months) ON r.code = i.code
WHERE i.county_code = $1 AND i.observed_on <= $2
"""  # noqa: S608 - put together from constants
_BETWEEN = f"""{_OBSERVED} AND (i.code = ANY($5::text[]) OR $5::text[] IS NULL)
  AND i.household_id BETWEEN $6 AND $7"""
_AMONG = f"""{_OBSERVED} AND (i.code = ANY($5::text[]) OR $5::text[] IS NULL)
  AND i.household_id = ANY($6::uuid[])"""
_REST = f"{_OBSERVED} AND i.code <> ALL($5::text[]) AND i.household_id = ANY($6::uuid[])"


async def read_observed(
    session: AsyncSession,
    county_code: str,
    household_ids: Sequence[str],
    *,
    codes: Sequence[str] | None,
    months: Mapping[str, int],
    on: date,
    apart: bool,
) -> pl.DataFrame:
    """
    What was observed of everybody between the first and the last of households, in order.

    A row an entry; of some indicators or of all; `months` as elsewhere. Where the households lie
    `apart`, of them alone.
    """
    if not household_ids:
        return pl.DataFrame(schema=OBSERVED)
    whom = household_ids if apart else (household_ids[0], household_ids[-1])
    ids = [UUID(household_id) for household_id in whom]
    return await read_columns(
        session,
        _AMONG if apart else _BETWEEN,
        *(county_code, on, list(months), list(months.values())),
        codes if codes is None else list(codes),
        *((ids,) if apart else ids),
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
    barred = string_to_array(n.barred, ','), limit_fen = n.limit_fen, valid_until = n.valid_until,
    settled_rating_id = CASE WHEN n.barred = '' THEN n.rating_id END, settled_honour = n.honour
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


_SETTLE = """
UPDATE credit_file AS f SET settled_rating_id = f.rating_id, settled_honour = f.honour
FROM unnest($2::uuid[], $3::text[], $4::bigint[]) AS n (household_id, place, was)
WHERE f.county_code = $1 AND f.household_id = n.household_id AND f.ctid = n.place::tid
  AND f.xmin = n.was::text::xid
"""


async def settle(
    session: AsyncSession, county_code: str, right: pl.DataFrame, wrong: Sequence[UUID]
) -> None:
    """
    Note who was found right as the file stands, and of whom that no longer holds.

    A file that changed since it was read is left for the next re-score.
    """
    if wrong:
        await execute(
            session,
            """UPDATE credit_file SET settled_rating_id = NULL
               WHERE county_code = $1 AND household_id = ANY($2::uuid[])""",
            county_code,
            wrong,
        )
    if len(right):
        ids = [UUID(household_id) for household_id in right["household_id"]]
        await execute(
            session, _SETTLE, county_code, ids, right["place"].to_list(), right["was"].to_list()
        )
