"""Credit: SQL of reviews, their records and objections, and of contests."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.model import (
    Actor,
    Contest,
    Objection,
    Review,
    ReviewEntry,
    ReviewState,
)
from services.kernel.database import columns, execute, fetch
from services.kernel.money import Fen

_NAMES = [field.name for field in fields(Review)]
_LISTS = ("vetoes", "reviewers")
_TYPES = {
    "review_id": "uuid",
    "household_id": "uuid",
    "step": "integer",
    "due_on": "date",
    "opened_on": "date",
    "score_centi": "bigint",
    "scheme_limit_fen": "bigint",
    "override_limit_fen": "bigint",
    "notice_from": "date",
    "notice_to": "date",
    "contest_id": "uuid",
    "rating_id": "uuid",
    "version": "bigint",
    "entries": "integer",
}
_SOURCE = ", ".join(f"${n}::{_TYPES.get(name, 'text')}[]" for n, name in enumerate(_NAMES, 1))
_READ = ", ".join(
    f"string_to_array(n.{name}, ',')" if name in _LISTS else f"n.{name}" for name in _NAMES
)
_KEPT = [name for name in _NAMES if name not in ("county_code", "review_id", "household_id")]
_SAVE = f"""
INSERT INTO review ({", ".join(_NAMES)})
SELECT {_READ} FROM unnest({_SOURCE}) AS n ({", ".join(_NAMES)})
ON CONFLICT (county_code, review_id) DO UPDATE
SET {", ".join(f"{name} = excluded.{name}" for name in _KEPT)}
"""  # noqa: S608 - put together from the model's own names

_REVIEW = f"SELECT {', '.join(_NAMES)} FROM review"  # noqa: S608 - the same


def _review(row: asyncpg.Record) -> Review:
    values = dict(row)
    override = values["override_limit_fen"]
    values |= {
        "state": ReviewState(row["state"]),
        "vetoes": tuple(row["vetoes"]),
        "reviewers": tuple(row["reviewers"]),
        "override_limit_fen": None if override is None else Fen(override),
    }
    return Review(**values)


async def save_reviews(session: AsyncSession, reviews: Sequence[Review]) -> None:
    """Write reviews as they stand: new ones, and those that this transaction holds."""
    rows = [
        [
            ",".join(getattr(review, name)) if name in _LISTS else getattr(review, name)
            for name in _NAMES
        ]
        for review in reviews
    ]
    if rows:
        await execute(session, _SAVE, *columns(rows, len(_NAMES)))


async def lock_reviews(
    session: AsyncSession, county_code: str, review_ids: Sequence[UUID]
) -> dict[UUID, Review]:
    """Reviews by id, of those that there are; they are held."""
    rows = await fetch(
        session,
        f"""{_REVIEW} WHERE county_code = $1 AND review_id = ANY($2::uuid[])
            ORDER BY review_id FOR UPDATE""",
        county_code,
        review_ids,
    )
    return {row["review_id"]: _review(row) for row in rows}


async def find_open(
    session: AsyncSession, county_code: str, household_ids: Sequence[UUID]
) -> set[UUID]:
    """The households that are under review already."""
    rows = await fetch(
        session,
        """SELECT household_id FROM review
           WHERE county_code = $1 AND household_id = ANY($2::uuid[])
             AND state NOT IN ('granted', 'refused')""",
        county_code,
        household_ids,
    )
    return {row["household_id"] for row in rows}


async def list_reviews(
    session: AsyncSession,
    county_code: str,
    *,
    within: str,
    state: str,
    after: UUID,
    limit: int,
) -> list[Review]:
    """Reviews of an area, in the order in which they were opened."""
    rows = await fetch(
        session,
        f"""{_REVIEW} WHERE county_code = $1 AND area_code >= $2 AND area_code < $2 || ':'
              AND ($3 = '' OR state = $3) AND review_id > $4
            ORDER BY review_id LIMIT $5""",
        county_code,
        within or county_code,
        state,
        after,
        limit,
    )
    return [_review(row) for row in rows]


async def add_entries(
    session: AsyncSession, county_code: str, entries: Sequence[ReviewEntry]
) -> None:
    """Write entries of records down."""
    rows = [
        (
            e.review_id,
            e.place,
            e.kind,
            e.step,
            e.organ,
            e.actor.institution_id,
            e.actor.person_id,
            e.acted_on,
            str(e.outcome),
            e.present,
            e.members,
            e.votes_for,
            e.grade,
            e.limit_fen,
            e.reason,
            e.evidence_sha256,
            e.due_on,
        )
        for e in entries
    ]
    await execute(
        session,
        """INSERT INTO review_entry (county_code, review_id, place, kind, step, organ,
               institution_id, person_id, acted_on, outcome, present, members, votes_for, grade,
               limit_fen, reason, evidence_sha256, due_on)
           SELECT $1, e.* FROM unnest($2::uuid[], $3::integer[], $4::text[], $5::text[], $6::text[],
               $7::text[], $8::text[], $9::date[], $10::text[], $11::integer[], $12::integer[],
               $13::integer[], $14::text[], $15::bigint[], $16::text[], $17::text[],
               $18::date[]) AS e""",
        county_code,
        *columns(rows, 17),
    )


async def list_entries(
    session: AsyncSession, county_code: str, review_id: UUID
) -> list[ReviewEntry]:
    """A review's record, in order."""
    rows = await fetch(
        session,
        """SELECT review_id, place, kind, step, organ, institution_id, person_id, acted_on, outcome,
                  present, members, votes_for, grade, limit_fen, reason, evidence_sha256, due_on
           FROM review_entry WHERE county_code = $1 AND review_id = $2 ORDER BY place""",
        county_code,
        review_id,
    )
    found = []
    for row in rows:
        values = dict(row)
        actor = Actor(values.pop("institution_id"), "", values.pop("person_id"))
        found.append(ReviewEntry(actor=actor, **values))
    return found


def _objection(row: asyncpg.Record) -> Objection:
    values = dict(row)
    actor = Actor(values.pop("institution_id"), "", values.pop("person_id"))
    return Objection(actor=actor, **values)


_OBJECTION = """
SELECT county_code, objection_id, review_id, raised_on, grounds, evidence_sha256, institution_id,
       person_id, answered_on, upheld, answer, answer_evidence_sha256, answered_by
FROM objection
"""


async def find_objections(
    session: AsyncSession, county_code: str, review_ids: Sequence[UUID]
) -> dict[UUID, list[Objection]]:
    """Objections by review, in order."""
    rows = await fetch(
        session,
        f"""{_OBJECTION} WHERE county_code = $1 AND review_id = ANY($2::uuid[])
            ORDER BY objection_id""",
        county_code,
        review_ids,
    )
    found: defaultdict[UUID, list[Objection]] = defaultdict(list)
    for row in rows:
        found[row["review_id"]].append(_objection(row))
    return found


async def find_objection(
    session: AsyncSession, county_code: str, objection_id: UUID
) -> Objection | None:
    """One objection; its review is locked by who decides on it."""
    rows = await fetch(
        session,
        f"{_OBJECTION} WHERE county_code = $1 AND objection_id = $2",
        county_code,
        objection_id,
    )
    return _objection(rows[0]) if rows else None


async def save_objection(session: AsyncSession, objection: Objection) -> None:
    """Write an objection as it stands."""
    o = objection
    await execute(
        session,
        """INSERT INTO objection (county_code, objection_id, review_id, raised_on, grounds,
               evidence_sha256, institution_id, person_id, answered_on, upheld, answer,
               answer_evidence_sha256, answered_by)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
           ON CONFLICT (county_code, objection_id) DO UPDATE
           SET answered_on = excluded.answered_on, upheld = excluded.upheld,
               answer = excluded.answer, answered_by = excluded.answered_by,
               answer_evidence_sha256 = excluded.answer_evidence_sha256""",
        o.county_code,
        o.objection_id,
        o.review_id,
        o.raised_on,
        o.grounds,
        o.evidence_sha256,
        o.actor.institution_id,
        o.actor.person_id,
        o.answered_on,
        o.upheld,
        o.answer,
        o.answer_evidence_sha256,
        o.answered_by,
    )


_CONTEST = """
SELECT county_code, contest_id, household_id, area_code, rating_id, grounds, evidence_sha256,
       institution_id, person_id, raised_on, due_on, answered_on, upheld, answer,
       answer_evidence_sha256, answered_by, review_id
FROM contest
"""


def _contest(row: asyncpg.Record) -> Contest:
    values = dict(row)
    actor = Actor(values.pop("institution_id"), "", values.pop("person_id"))
    return Contest(actor=actor, **values)


async def lock_contest(session: AsyncSession, county_code: str, contest_id: UUID) -> Contest | None:
    """A contest, held."""
    rows = await fetch(
        session,
        f"{_CONTEST} WHERE county_code = $1 AND contest_id = $2 FOR UPDATE",
        county_code,
        contest_id,
    )
    return _contest(rows[0]) if rows else None


async def is_contested(session: AsyncSession, county_code: str, rating_id: UUID) -> bool:
    """Whether a rating has been contested before."""
    rows = await fetch(
        session,
        "SELECT FROM contest WHERE county_code = $1 AND rating_id = $2",
        county_code,
        rating_id,
    )
    return bool(rows)


async def list_contests(
    session: AsyncSession,
    county_code: str,
    *,
    within: str,
    open_only: bool,
    after: UUID,
    limit: int,
) -> list[Contest]:
    """Contests of an area, in the order in which they were raised."""
    rows = await fetch(
        session,
        f"""{_CONTEST} WHERE county_code = $1 AND area_code >= $2 AND area_code < $2 || ':'
              AND contest_id > $3 AND (NOT $4 OR answered_on IS NULL)
            ORDER BY contest_id LIMIT $5""",
        county_code,
        within or county_code,
        after,
        open_only,
        limit,
    )
    return [_contest(row) for row in rows]


async def save_contest(session: AsyncSession, contest: Contest) -> None:
    """Write a contest as it stands."""
    c = contest
    await execute(
        session,
        """INSERT INTO contest (county_code, contest_id, household_id, area_code, rating_id,
               grounds, evidence_sha256, institution_id, person_id, raised_on, due_on, answered_on,
               upheld, answer, answer_evidence_sha256, answered_by, review_id)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
           ON CONFLICT (county_code, contest_id) DO UPDATE
           SET answered_on = excluded.answered_on, upheld = excluded.upheld,
               answer = excluded.answer, answered_by = excluded.answered_by,
               answer_evidence_sha256 = excluded.answer_evidence_sha256,
               review_id = excluded.review_id""",
        c.county_code,
        c.contest_id,
        c.household_id,
        c.area_code,
        c.rating_id,
        c.grounds,
        c.evidence_sha256,
        c.actor.institution_id,
        c.actor.person_id,
        c.raised_on,
        c.due_on,
        c.answered_on,
        c.upheld,
        c.answer,
        c.answer_evidence_sha256,
        c.answered_by,
        c.review_id,
    )
