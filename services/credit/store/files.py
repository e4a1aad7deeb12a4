"""Credit: SQL of credit files and ratings."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.model import (
    GONE,
    Cause,
    CreditFile,
    Expired,
    Hold,
    Household,
    Last,
    Observed,
    Override,
    Pins,
    Rating,
)
from services.kernel.database import columns, execute, fetch
from services.kernel.money import Fen

_FILE = """
SELECT county_code, household_id, area_code, household_status, honour, delisted, version, rating_id,
       programme, score_centi, grade, vetoes, limit_fen, valid_until, granted_on, barred, holds
FROM credit_file
"""

# Area codes are digits: everything within an area sorts before its code and a colon.
_WITH_WORKING = f"""
SELECT f.*, coalesce(r.working, '') AS working FROM ({_FILE}) AS f
LEFT JOIN rating AS r USING (county_code, rating_id)
WHERE f.county_code = $1 AND f.household_id = $2
"""  # noqa: S608 - put together from constants

_CHUNK = f"""{_FILE}
WHERE county_code = $1 AND household_id > $2 AND area_code >= $3 AND area_code < $3 || ':'
"""


def _file(row: asyncpg.Record) -> CreditFile:
    household = Household(
        row["household_id"], row["area_code"], row["household_status"], row["honour"]
    )
    return CreditFile(
        county_code=row["county_code"],
        household=household,
        delisted=row["delisted"],
        version=row["version"],
        rating_id=row["rating_id"],
        programme=row["programme"],
        score_centi=row["score_centi"],
        grade=row["grade"],
        vetoes=tuple(row["vetoes"]),
        limit_fen=Fen(row["limit_fen"]),
        valid_until=row["valid_until"],
        granted_on=row["granted_on"],
        barred=tuple(row["barred"]),
        holds=tuple(row["holds"]),
    )


async def put_households(
    session: AsyncSession, county_code: str, households: Sequence[Household], *, relist: bool
) -> None:
    """Write what the registry says of households; a household that is new gets an empty file."""
    rows = [(h.household_id, h.area_code, h.status, h.honour) for h in households]
    await execute(
        session,
        """INSERT INTO credit_file AS f (county_code, household_id, area_code, household_status,
                                         honour)
           SELECT $1, h.* FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[]) AS h
           ON CONFLICT (county_code, household_id) DO UPDATE
           SET area_code = excluded.area_code, household_status = excluded.household_status,
               honour = excluded.honour, delisted = f.delisted AND NOT $2,
               -- Who was away was in no re-score.
               settled_rating_id = CASE WHEN NOT f.delisted
                                         AND f.household_status = excluded.household_status
                                        THEN f.settled_rating_id END""",
        county_code,
        relist,
        *columns(rows, 4),
    )


async def delist(session: AsyncSession, county_code: str, household_ids: Sequence[UUID]) -> None:
    """Mark households that the registry took off its file."""
    await execute(
        session,
        """UPDATE credit_file SET delisted = true
           WHERE county_code = $1 AND household_id = ANY($2::uuid[])""",
        county_code,
        household_ids,
    )


async def lock_files(
    session: AsyncSession, county_code: str, household_ids: Sequence[UUID]
) -> list[CreditFile]:
    """Read files by household and hold them until the transaction ends."""
    rows = await fetch(
        session,
        f"""{_FILE} WHERE county_code = $1 AND household_id = ANY($2::uuid[])
            ORDER BY household_id FOR UPDATE""",
        county_code,
        household_ids,
    )
    return [_file(row) for row in rows]


async def read_files(
    session: AsyncSession, county_code: str, household_ids: Sequence[UUID]
) -> list[CreditFile]:
    """The same without holding them."""
    rows = await fetch(
        session,
        f"{_FILE} WHERE county_code = $1 AND household_id = ANY($2::uuid[]) ORDER BY household_id",
        county_code,
        household_ids,
    )
    return [_file(row) for row in rows]


async def lock_chunk(
    session: AsyncSession, county_code: str, within: str, *, after: UUID, limit: int
) -> list[CreditFile]:
    """The next files of an area that may be rated, in household order; they are held."""
    rows = await fetch(
        session,
        f"""{_CHUNK} AND NOT delisted AND household_status <> ALL ($5::text[])
            ORDER BY household_id LIMIT $4 FOR UPDATE""",
        county_code,
        after,
        within,
        limit,
        GONE,
    )
    return [_file(row) for row in rows]


async def list_files(
    session: AsyncSession, county_code: str, within: str, *, after: UUID, limit: int
) -> list[CreditFile]:
    """The next files of an area, in household order."""
    rows = await fetch(
        session,
        f"{_CHUNK} ORDER BY household_id LIMIT $4",
        county_code,
        after,
        within,
        limit,
    )
    return [_file(row) for row in rows]


async def find_file(
    session: AsyncSession, county_code: str, household_id: UUID
) -> tuple[CreditFile, str] | None:
    """A household's file and the working of its last rating."""
    rows = await fetch(session, _WITH_WORKING, county_code, household_id)
    return (_file(rows[0]), rows[0]["working"]) if rows else None


async def find_areas(
    session: AsyncSession, county_code: str, household_ids: Sequence[UUID]
) -> dict[UUID, str]:
    """Where households live, of those that are known."""
    rows = await fetch(
        session,
        """SELECT household_id, area_code FROM credit_file
           WHERE county_code = $1 AND household_id = ANY($2::uuid[])""",
        county_code,
        household_ids,
    )
    return {row["household_id"]: row["area_code"] for row in rows}


_RATING = """
SELECT county_code, rating_id, household_id, cause, programme, rated_on, inputs::text AS inputs,
       honour, score_centi, grade, vetoes, base_limit_fen, uplift_fen, limit_fen, valid_until,
       working, pins::text AS pins, digest
FROM rating
"""


def _rating(row: asyncpg.Record) -> Rating:
    return Rating(
        county_code=row["county_code"],
        rating_id=row["rating_id"],
        household_id=row["household_id"],
        cause=Cause(row["cause"]),
        programme=row["programme"],
        rated_on=row["rated_on"],
        inputs=_inputs_from_json(row["inputs"]),
        honour=row["honour"],
        score_centi=row["score_centi"],
        grade=row["grade"],
        vetoes=tuple(row["vetoes"]),
        base_limit_fen=Fen(row["base_limit_fen"]),
        uplift_fen=Fen(row["uplift_fen"]),
        limit_fen=Fen(row["limit_fen"]),
        valid_until=row["valid_until"],
        working=row["working"],
        pins=_pins_from_json(row["pins"]),
        digest=row["digest"],
    )


async def find_ratings(
    session: AsyncSession, county_code: str, rating_ids: Sequence[UUID]
) -> dict[UUID, Rating]:
    """Ratings by id, of those that there are."""
    rows = await fetch(
        session,
        f"{_RATING} WHERE county_code = $1 AND rating_id = ANY($2::uuid[])",
        county_code,
        rating_ids,
    )
    return {row["rating_id"]: _rating(row) for row in rows}


async def find_lasts(
    session: AsyncSession, county_code: str, rating_ids: Sequence[UUID]
) -> dict[UUID, Last]:
    """Of ratings what a re-score must know, by household."""
    rows = await fetch(
        session,
        """SELECT household_id, limit_fen, (pins -> 'override')::text AS override FROM rating
           WHERE county_code = $1 AND rating_id = ANY($2::uuid[])""",
        county_code,
        rating_ids,
    )
    return {
        household_id: Last(Fen(limit_fen), _override(json.loads(said)) if said else None)
        for household_id, limit_fen, said in rows
    }


async def list_ratings(
    session: AsyncSession, county_code: str, household_id: UUID, *, before: UUID, limit: int
) -> list[Rating]:
    """A household's ratings, the newest first; ids go with time."""
    rows = await fetch(
        session,
        f"""{_RATING} WHERE county_code = $1 AND household_id = $2 AND rating_id < $3
            ORDER BY rating_id DESC LIMIT $4""",
        county_code,
        household_id,
        before,
        limit,
    )
    return [_rating(row) for row in rows]


def _inputs_to_json(inputs: Mapping[str, Observed]) -> str:
    return json.dumps({code: _input_to_json(seen) for code, seen in inputs.items()})


def _input_to_json(seen: Observed) -> dict[str, object]:
    said: dict[str, object] = {
        "value": seen.value,
        "observed_on": seen.observed_on.isoformat(),
        "entry": seen.entry,
    }
    if seen.expires_on is not None:
        said |= {"expires_on": seen.expires_on.isoformat(), "stale": seen.stale}
    return said


def _inputs_from_json(text: str) -> dict[str, Observed]:
    return {
        code: Observed(
            value=said["value"],
            observed_on=date.fromisoformat(said["observed_on"]),
            entry=said["entry"],
            expires_on=date.fromisoformat(said["expires_on"]) if "expires_on" in said else None,
            stale=said.get("stale", False),
        )
        for code, said in json.loads(text).items()
    }


def _pins_to_json(pins: Pins) -> str:
    said: dict[str, object] = {"terms_digest": pins.terms_digest}
    if pins.waived:
        said["waived"] = pins.waived
    if pins.holds:
        said["holds"] = [
            [h.code, h.grade_too, h.until.isoformat() if h.until else None] for h in pins.holds
        ]
    if pins.reward_fen:
        said["reward_fen"] = pins.reward_fen
    if pins.cap_fen is not None:
        said["cap_fen"] = pins.cap_fen
    if pins.override is not None:
        override = pins.override
        said["override"] = [str(override.review_id), override.grade, override.limit_fen]
    if pins.demoted:
        said["demoted"] = pins.demoted
    return json.dumps(said)


def _pins_from_json(text: str) -> Pins:
    said = json.loads(text)
    return Pins(
        waived=tuple(said.get("waived", ())),
        holds=tuple(
            Hold(code, grade_too, date.fromisoformat(until) if until else None)
            for code, grade_too, until in said.get("holds", ())
        ),
        reward_fen=Fen(said.get("reward_fen", 0)),
        cap_fen=said.get("cap_fen"),
        override=_override(said["override"]) if "override" in said else None,
        terms_digest=said.get("terms_digest", ""),
        demoted=said.get("demoted", 0),
    )


def _override(said: Sequence[Any]) -> Override:
    review_id, grade, limit_fen = said
    return Override(UUID(review_id), grade, None if limit_fen is None else Fen(limit_fen))


_ADD_RATINGS = """
INSERT INTO rating (county_code, rating_id, household_id, cause, programme, rated_on, inputs,
                    honour, score_centi, grade, vetoes, base_limit_fen, uplift_fen, limit_fen,
                    valid_until, working, pins, digest, rated_by)
SELECT county_code, rating_id, household_id, cause, programme, rated_on, inputs::jsonb, honour,
       score_centi, grade, string_to_array(vetoes, ','), base_limit_fen, uplift_fen, limit_fen,
       valid_until, working, pins::jsonb, digest, $19
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::date[], $7::text[],
            $8::text[], $9::bigint[], $10::text[], $11::text[], $12::bigint[], $13::bigint[],
            $14::bigint[], $15::date[], $16::text[], $17::text[], $18::text[])
     AS r (county_code, rating_id, household_id, cause, programme, rated_on, inputs, honour,
           score_centi, grade, vetoes, base_limit_fen, uplift_fen, limit_fen, valid_until, working,
           pins, digest)
"""


async def add_ratings(
    session: AsyncSession, ratings: Sequence[Rating], *, rated_by: str = ""
) -> None:
    """Write ratings down with their inputs, their pins and their working; who made them."""
    if not ratings:
        return
    rows = [
        (
            r.county_code,
            r.rating_id,
            r.household_id,
            r.cause,
            r.programme,
            r.rated_on,
            _inputs_to_json(r.inputs),
            r.honour,
            r.score_centi,
            r.grade,
            ",".join(r.vetoes),
            r.base_limit_fen,
            r.uplift_fen,
            r.limit_fen,
            r.valid_until,
            r.working,
            _pins_to_json(r.pins),
            r.digest,
        )
        for r in ratings
    ]
    await execute(session, _ADD_RATINGS, *columns(rows, 18), rated_by)


_SAVE_FILES = """
UPDATE credit_file AS f
SET version = n.version, rating_id = n.rating_id, programme = n.programme,
    score_centi = n.score_centi, grade = n.grade, vetoes = string_to_array(n.vetoes, ','),
    limit_fen = n.limit_fen, valid_until = n.valid_until, granted_on = n.granted_on,
    barred = string_to_array(n.barred, ','), holds = string_to_array(n.holds, ',')
FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::bigint[], $7::text[],
            $8::text[], $9::bigint[], $10::date[], $11::date[], $12::text[], $13::text[])
     AS n (county_code, household_id, version, rating_id, programme, score_centi, grade, vetoes,
           limit_fen, valid_until, granted_on, barred, holds)
WHERE f.county_code = n.county_code AND f.household_id = n.household_id
"""


async def save_files(session: AsyncSession, files: Sequence[CreditFile]) -> None:
    """Write what was decided of files that this transaction holds."""
    if not files:
        return
    rows = [
        (
            f.county_code,
            f.household_id,
            f.version,
            f.rating_id,
            f.programme,
            f.score_centi,
            f.grade,
            ",".join(f.vetoes),
            f.limit_fen,
            f.valid_until,
            f.granted_on,
            ",".join(f.barred),
            ",".join(f.holds),
        )
        for f in files
    ]
    saved = await execute(session, _SAVE_FILES, *columns(rows, 13))
    assert saved == len(files), "every file was locked, so it exists"


async def expire_limits(
    session: AsyncSession, county_code: str, day: date, *, limit: int
) -> list[Expired]:
    """End limits whose last day is the given one, a bounded number at a time."""
    rows = await fetch(
        session,
        """UPDATE credit_file AS f SET limit_fen = 0, valid_until = NULL, version = f.version + 1
           FROM (SELECT household_id FROM credit_file
                 WHERE county_code = $1 AND limit_fen > 0 AND valid_until <= $2
                 ORDER BY household_id LIMIT $3 FOR UPDATE) AS due
           WHERE f.county_code = $1 AND f.household_id = due.household_id
           RETURNING f.household_id, f.version, f.programme""",
        county_code,
        day,
        limit,
    )
    return [Expired(row["household_id"], row["version"], row["programme"]) for row in rows]


async def totals(session: AsyncSession, county_code: str) -> dict[str, int]:
    """The county's figures, by name."""
    rows = await fetch(
        session,
        """SELECT count(*) AS "credit.households_count",
                  count(*) FILTER (WHERE grade <> '') AS "credit.files_graded_count",
                  coalesce(sum(limit_fen), 0)::bigint AS "credit.limit_fen"
           FROM credit_file WHERE county_code = $1""",
        county_code,
    )
    return dict(rows[0])
