"""Log store: the SQL of the access log's proofs and of those who search it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from asyncpg import Record
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import access_log
from gateway.log_chain import BEGINNING, Checkpoint, Cut, DayRoot, Head, LogSigner, Row, row_text
from services.kernel import database

ROOTS_MAX = 40_000
"""A hundred years of days."""
CUTS_MAX = 10_000

_TEXTS = (
    *("peer", "institution_id", "person_id", "method", "service", "county_code", "purpose"),
    *("decision", "reason", "outcome", "body_hash", "trace_id"),
)
# The text that is hashed, but for its position, as `row_text` makes it: the server writes it at a
# third of the cost. Beyond ASCII the two escape differently; such rows `row_text` makes.
_TOLD = " || ',' || ".join(f"to_json({name})::text" for name in _TEXTS)
_ROWS = f"""
SELECT position, digest, chain_version, version_1,
       CASE WHEN told ~ '[^ -~]' THEN NULL ELSE told END AS told
FROM (
    SELECT position, digest, chain_version,
           chain_version = 1 AND resources = '{{}}' AND break_glass_id = '' AS version_1,
           '"' || replace(call_id::text, '-', '') || '",'
               || (extract(epoch FROM called_at) * 1000000)::bigint || ',' || {_TOLD} || ','
               || to_json(resources)::text || ',' || to_json(break_glass_id)::text AS told
    FROM access_log WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3) AS rows
ORDER BY position
"""  # noqa: S608 - the names are those above
_OTHERS = f"""
SELECT position, chain_version, call_id, called_at, {", ".join(_TEXTS)}, resources, break_glass_id
FROM access_log WHERE position = ANY($1::bigint[])
"""  # noqa: S608 - as above
_NOT_IN_VERSION_1 = ',[],""'
_CHECKPOINT = "number, made_at, position, digest, previous, key_id, signature"
_ROOT = "day, checkpoint_number, position, digest, previous, key_id, signature"
_CUT = """number, cut_at, first_position, archive, archive_sha256, position, digest, previous,
          key_id, signature"""

POSITION_MAX = 2**63 - 1


async def end_of(session: AsyncSession) -> Head:
    """The end of the chain now, also when all its rows were cut."""
    for sql in (access_log.HEAD, access_log.HEAD_OF_CUT):
        if found := await database.fetch(session, sql):
            return Head(found[0]["position"], found[0]["digest"])
    return BEGINNING


async def take_turn(session: AsyncSession) -> None:
    """Let nobody else make checkpoints, roots or cuts until the transaction ends."""
    await database.fetch(
        session, "SELECT pg_advisory_xact_lock(hashtext('liandong-access-log-checkpoint'))"
    )


async def read_rows(
    session: AsyncSession, after: int, rows_max: int, *, upto: int = POSITION_MAX
) -> list[Row]:
    """The rows behind a position, as the chain sees them."""
    found = await database.fetch(session, _ROWS, after, upto, rows_max)
    others = [row["position"] for row in found if row["told"] is None]
    made = await _other_texts(session, others) if others else {}
    return [
        Row(position, _text(version, position, first, told) if told else made[position], digest)
        for position, digest, version, first, told in found
    ]


def _text(version: int, position: int, first: bool, told: str) -> bytes:
    if first:
        return f"[{position},{told.removesuffix(_NOT_IN_VERSION_1)}]".encode()
    return f"[{version},{position},{told}]".encode()


async def _other_texts(session: AsyncSession, positions: Sequence[int]) -> dict[int, bytes]:
    found = await database.fetch(session, _OTHERS, positions)
    return {position: row_text(version, position, values) for position, version, *values in found}


async def enter_key(session: AsyncSession, signer: LogSigner) -> None:
    """Publish the key that signs from now on; the keys of before stay."""
    await database.execute(
        session,
        """INSERT INTO access_log_key (key_id, public_key) VALUES ($1, $2)
           ON CONFLICT (key_id) DO NOTHING""",
        signer.key_id,
        signer.public_key,
    )


async def read_keys(session: AsyncSession) -> list[Record]:
    """Every key that ever signed: `key_id`, `public_key`, `recorded_at`."""
    return await database.fetch(
        session,
        """SELECT key_id, public_key, recorded_at FROM access_log_key
           ORDER BY recorded_at, key_id LIMIT 1000""",
    )


def _checkpoint(row: Record) -> Checkpoint:
    return Checkpoint(**row)


async def read_checkpoints(
    session: AsyncSession, after: int, upto: int, checkpoints_max: int
) -> list[Checkpoint]:
    """The checkpoints behind a position, up to another."""
    found = await database.fetch(
        session,
        f"""SELECT {_CHECKPOINT} FROM access_log_checkpoint
            WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3""",  # noqa: S608
        after,
        upto,
        checkpoints_max,
    )
    return [_checkpoint(row) for row in found]


async def last_checkpoint(
    session: AsyncSession, *, before: datetime | None = None
) -> Checkpoint | None:
    """The last checkpoint, or the last one that was made before a moment."""
    found = await database.fetch(
        session,
        f"""SELECT {_CHECKPOINT} FROM access_log_checkpoint
            WHERE $1::timestamptz IS NULL OR made_at < $1 ORDER BY number DESC LIMIT 1""",  # noqa: S608
        before,
    )
    return _checkpoint(found[0]) if found else None


async def enter_checkpoint(session: AsyncSession, made: Checkpoint) -> None:
    """Write a checkpoint."""
    await database.execute(
        session,
        f"INSERT INTO access_log_checkpoint ({_CHECKPOINT}) VALUES ($1, $2, $3, $4, $5, $6, $7)",  # noqa: S608
        *(made.number, made.made_at, made.position, made.digest),
        *(made.previous, made.key_id, made.signature),
    )


async def last_of_days(
    session: AsyncSession, after_number: int, before: datetime
) -> list[Checkpoint]:
    """Of every day that is over: its last checkpoint, behind the number of the last root's."""
    found = await database.fetch(
        session,
        f"""SELECT DISTINCT ON (date_trunc('day', made_at, 'Asia/Shanghai')) {_CHECKPOINT}
            FROM access_log_checkpoint WHERE number > $1 AND made_at < $2
            ORDER BY date_trunc('day', made_at, 'Asia/Shanghai'), number DESC LIMIT 1000""",  # noqa: S608
        after_number,
        before,
    )
    return [_checkpoint(row) for row in found]


async def read_roots(
    session: AsyncSession, *, after: date | None = None, roots_max: int = ROOTS_MAX
) -> list[DayRoot]:
    """Day roots in order, from the first one or behind a day."""
    found = await database.fetch(
        session,
        f"""SELECT {_ROOT} FROM access_log_day_root WHERE $1::date IS NULL OR day > $1
            ORDER BY day LIMIT $2""",  # noqa: S608
        after,
        roots_max,
    )
    return [DayRoot(**row) for row in found]


async def last_root(session: AsyncSession) -> DayRoot | None:
    """The root of the last day that has one."""
    sql = f"SELECT {_ROOT} FROM access_log_day_root ORDER BY day DESC LIMIT 1"  # noqa: S608
    found = await database.fetch(session, sql)
    return DayRoot(**found[0]) if found else None


async def read_root(session: AsyncSession, day: date) -> DayRoot | None:
    """The root of one day."""
    sql = f"SELECT {_ROOT} FROM access_log_day_root WHERE day = $1"  # noqa: S608
    found = await database.fetch(session, sql, day)
    return DayRoot(**found[0]) if found else None


async def enter_root(session: AsyncSession, made: DayRoot) -> None:
    """Write a day's root."""
    await database.execute(
        session,
        f"INSERT INTO access_log_day_root ({_ROOT}) VALUES ($1, $2, $3, $4, $5, $6, $7)",  # noqa: S608
        *(made.day, made.checkpoint_number, made.position, made.digest),
        *(made.previous, made.key_id, made.signature),
    )


async def enter_taking(
    session: AsyncSession, day: date, institution_id: str, person_id: str
) -> None:
    """Note that an institution took a day's root; the first time counts."""
    await database.execute(
        session,
        """INSERT INTO access_log_root_taking (day, institution_id, person_id) VALUES ($1, $2, $3)
           ON CONFLICT (day, institution_id) DO NOTHING""",
        day,
        institution_id,
        person_id,
    )


async def read_takings(session: AsyncSession, day: date) -> list[Record]:
    """Who took a day's root, and when."""
    return await database.fetch(
        session,
        """SELECT institution_id, person_id, taken_at FROM access_log_root_taking
           WHERE day = $1 ORDER BY taken_at, institution_id LIMIT 5000""",
        day,
    )


async def read_cuts(session: AsyncSession) -> list[Cut]:
    """All cuts in order."""
    sql = f"SELECT {_CUT} FROM access_log_cut ORDER BY number LIMIT {CUTS_MAX}"  # noqa: S608
    return [Cut(**row) for row in await database.fetch(session, sql)]


async def enter_cut(session: AsyncSession, made: Cut) -> None:
    """Write a cut."""
    places = ", ".join(f"${place}" for place in range(1, 11))
    await database.execute(
        session,
        f"INSERT INTO access_log_cut ({_CUT}) VALUES ({places})",  # noqa: S608
        *(made.number, made.cut_at, made.first_position, made.archive, made.archive_sha256),
        *(made.position, made.digest, made.previous, made.key_id, made.signature),
    )


async def remove_cut_rows(session: AsyncSession, rows_max: int) -> int:
    """Remove rows that a cut covers, a bounded number; how many they were."""
    rows = await database.fetch(session, "SELECT cut_access_log($1) AS removed", rows_max)
    removed: int = rows[0]["removed"]
    return removed


# --- who searches ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What an auditor looks for; what is empty is not asked."""

    from_time: datetime
    to_time: datetime
    institution_id: str = ""
    person_id: str = ""
    method: str = ""
    county_code: str = ""
    break_glass_id: str = ""

    def conditions(self) -> Mapping[str, str]:
        """The columns that are asked, with their values."""
        names = ("institution_id", "person_id", "method", "county_code", "break_glass_id")
        return {name: value for name in names if (value := getattr(self, name))}


_FOUND = """position, called_at, institution_id, person_id, method, county_code, purpose, decision,
            reason, outcome, resources, break_glass_id"""


async def search(
    session: AsyncSession, asked: Search, *, before: int, rows_max: int
) -> list[Record]:
    """Calls, the latest first."""
    conditions = asked.conditions()
    tests = "".join(f" AND {name} = ${place}" for place, name in enumerate(conditions, 5))
    return await database.fetch(
        session,
        f"""SELECT {_FOUND} FROM access_log
            WHERE called_at >= $1 AND called_at < $2 AND position < $3{tests}
            ORDER BY position DESC LIMIT $4""",  # noqa: S608 - the names are those above
        *(asked.from_time, asked.to_time, before, rows_max),
        *conditions.values(),
    )


async def accesses_of(
    session: AsyncSession,
    resources: Sequence[str],
    county_code: str,
    *,
    before: int,
    rows_max: int,
) -> list[Record]:
    """Calls that named any of these resources in a county, the latest first."""
    # The rows are found by what they touched, then sorted: a reverse walk over all would not end.
    return await database.fetch(
        session,
        f"""WITH touched AS MATERIALIZED (
                SELECT {_FOUND} FROM access_log WHERE resources && $1::text[])
            SELECT * FROM touched WHERE county_code = $2 AND position < $3
            ORDER BY position DESC LIMIT $4""",  # noqa: S608 - as above
        list(resources),
        county_code,
        before,
        rows_max,
    )


async def enter_report(session: AsyncSession, values: Sequence[Any]) -> None:
    """Write what a run of retention removed."""
    await database.execute(
        session,
        """INSERT INTO retention_report (report_id, ran_at, category, kept_days, removed_rows,
                                         archive, archive_sha256, note)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)""",
        *values,
    )


async def read_reports(session: AsyncSession, *, before: datetime, rows_max: int) -> list[Record]:
    """Reports of retention, the latest first."""
    return await database.fetch(
        session,
        """SELECT report_id, ran_at, category, kept_days, removed_rows, archive, archive_sha256,
                  note FROM retention_report WHERE ran_at < $1
           ORDER BY ran_at DESC, category LIMIT $2""",
        before,
        rows_max,
    )
