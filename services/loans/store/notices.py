"""Loans: SQL of notices: queued, taken, reported; of which warnings nobody was told yet."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.loans import store
from services.loans.model import Loan, Warned
from services.loans.rules.notices import Attempt, Notice

UNTOLD_DAYS = 7
"""Early warnings are put into the queue by the close of their day; older ones are history."""

_INSERT = """
INSERT INTO notice (county_code, notice_id, kind, channel, state, subject_id, cause_id, loan_id,
                    household_id, lender_id, sender_id, organ, area_code, text, programme,
                    queued_on, queued_by, attempts_max)
SELECT $1, n.notice_id, n.kind, n.channel, 'queued', n.subject_id, n.cause_id, n.loan_id,
       n.household_id, n.lender_id, n.sender_id, n.organ, n.area_code, n.text, n.programme,
       n.queued_on, n.queued_by, n.attempts_max
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::uuid[], $8::uuid[],
            $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[],
            $15::date[], $16::text[], $17::integer[])
     AS n (notice_id, kind, channel, subject_id, cause_id, loan_id, household_id, lender_id,
           sender_id, organ, area_code, text, programme, queued_on, queued_by, attempts_max)
ON CONFLICT DO NOTHING RETURNING notice_id
"""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a caller may see: areas; a lender what is of its own loans."""

    areas: tuple[str, ...]
    lender_id: str = ""


def _notice(row: asyncpg.Record) -> Notice:
    return Notice(
        notice_id=row["notice_id"],
        kind=row["kind"],
        channel=row["channel"],
        subject_id=row["subject_id"],
        cause_id=row["cause_id"],
        loan_id=row["loan_id"],
        household_id=row["household_id"],
        lender_id=row["lender_id"],
        sender_id=row["sender_id"],
        organ=row["organ"],
        area_code=row["area_code"],
        text=row["text"],
        programme=row["programme"],
        queued_on=row["queued_on"],
        attempts_max=row["attempts_max"],
        queued_by=row["queued_by"],
        state=row["state"],
        attempts=row["attempts"],
        taken_by=row["taken_by"],
        leased_until=row["leased_until"],
        reason=row["reason"],
        sent_on=row["sent_on"],
    )


async def queue(session: AsyncSession, county_code: str, notices: Sequence[Notice]) -> set[UUID]:
    """Put notices into the queue; those that are new: one cause is told once."""
    if not notices:
        return set()
    values = [
        (
            n.notice_id,
            n.kind,
            n.channel,
            n.subject_id,
            n.cause_id,
            n.loan_id,
            n.household_id,
            n.lender_id,
            n.sender_id,
            n.organ,
            n.area_code,
            n.text,
            n.programme,
            n.queued_on,
            n.queued_by,
            n.attempts_max,
        )
        for n in notices
    ]
    rows = await database.fetch(session, _INSERT, county_code, *database.columns(values, 16))
    return {row["notice_id"] for row in rows}


async def lock_waiting(
    session: AsyncSession,
    county_code: str,
    *,
    sender_id: str,
    organ: str,
    areas: Sequence[str],
    channels: Sequence[str],
    limit: int,
) -> list[tuple[Notice, str | None]]:
    """The next notices of a sender that nobody has, held, each with the state of its loan."""
    rows = await database.fetch(
        session,
        """SELECT n.*, l.state AS loan_state FROM notice AS n
           LEFT JOIN loan AS l ON l.county_code = n.county_code AND l.loan_id = n.loan_id
           WHERE n.county_code = $1
             AND (n.state = 'queued' OR (n.state = 'taken' AND n.leased_until <= now()))
             AND (n.sender_id = $2
                  OR (n.organ <> '' AND n.organ = $3
                      AND EXISTS (SELECT FROM unnest($4::text[]) AS a (code)
                                  WHERE starts_with(n.area_code, a.code))))
             AND (cardinality($5::text[]) = 0 OR n.channel = ANY($5::text[]))
           ORDER BY n.notice_id LIMIT $6 FOR UPDATE OF n SKIP LOCKED""",
        county_code,
        sender_id,
        organ,
        list(areas),
        list(channels),
        limit,
    )
    return [(_notice(row), row["loan_state"]) for row in rows]


async def lock(
    session: AsyncSession, county_code: str, notice_ids: Collection[UUID]
) -> dict[UUID, Notice]:
    """Notices by id, held in id order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM notice WHERE county_code = $1 AND notice_id = ANY($2::uuid[])
           ORDER BY notice_id FOR UPDATE""",
        county_code,
        list(notice_ids),
    )
    return {row["notice_id"]: _notice(row) for row in rows}


async def save(
    session: AsyncSession, county_code: str, notices: Sequence[Notice], *, lease_seconds: int = 0
) -> list[Notice]:
    """Write what changed of notices that are held; those taken now have their lease."""
    values = [(n.notice_id, n.state, n.attempts, n.taken_by, n.reason, n.sent_on) for n in notices]
    rows = await database.fetch(
        session,
        """UPDATE notice AS o SET state = n.state, attempts = n.attempts, taken_by = n.taken_by,
               reason = n.reason, sent_on = n.sent_on,
               leased_until = CASE WHEN n.state <> 'taken' THEN NULL
                                   ELSE now() + make_interval(secs => $8) END
           FROM unnest($2::uuid[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::date[])
                AS n (notice_id, state, attempts, taken_by, reason, sent_on)
           WHERE o.county_code = $1 AND o.notice_id = n.notice_id RETURNING o.*""",
        county_code,
        *database.columns(values, 6),
        lease_seconds,
    )
    return sorted((_notice(row) for row in rows), key=lambda each: each.notice_id)


async def add_attempts(
    session: AsyncSession, county_code: str, attempts: Sequence[Attempt]
) -> None:
    """Write what became of attempts."""
    if not attempts:
        return
    values = [
        (a.notice_id, a.attempt, a.institution_id, a.person_id, a.result, a.reason, a.reference)
        for a in attempts
    ]
    await database.execute(
        session,
        """INSERT INTO notice_attempt (county_code, notice_id, attempt, institution_id, person_id,
                                       result, reason, reference)
           SELECT $1, * FROM unnest($2::uuid[], $3::integer[], $4::text[], $5::text[], $6::text[],
                                    $7::text[], $8::text[])""",
        county_code,
        *database.columns(values, 7),
    )


async def attempts_of(session: AsyncSession, county_code: str, notice_id: UUID) -> list[Attempt]:
    """Every attempt of a notice, in order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM notice_attempt WHERE county_code = $1 AND notice_id = $2
           ORDER BY attempt""",
        county_code,
        notice_id,
    )
    return [
        Attempt(
            row["notice_id"],
            row["attempt"],
            row["institution_id"],
            row["person_id"],
            row["result"],
            row["reason"],
            row["reference"],
        )
        for row in rows
    ]


_SEEN = """county_code = $1
             AND EXISTS (SELECT FROM unnest($2::text[]) AS a (code)
                         WHERE starts_with(notice.area_code, a.code))
             AND ($3 = '' OR lender_id = $3 OR sender_id = $3)"""


async def find(
    session: AsyncSession, county_code: str, notice_id: UUID, scope: Scope
) -> Notice | None:
    """One notice that is within a scope."""
    rows = await database.fetch(
        session,
        f"SELECT * FROM notice WHERE {_SEEN} AND notice_id = $4",  # noqa: S608
        county_code,
        list(scope.areas),
        scope.lender_id,
        notice_id,
    )
    return _notice(rows[0]) if rows else None


async def listed(
    session: AsyncSession,
    county_code: str,
    scope: Scope,
    *,
    states: Sequence[str],
    channel: str,
    loan_id: UUID | None,
    after: UUID | None,
    limit: int,
) -> list[Notice]:
    """Notices within a scope, in id order."""
    rows = await database.fetch(
        session,
        f"""SELECT * FROM notice WHERE {_SEEN}
             AND (cardinality($4::text[]) = 0 OR state = ANY($4::text[]))
             AND ($5 = '' OR channel = $5) AND ($6::uuid IS NULL OR loan_id = $6)
             AND ($7::uuid IS NULL OR notice_id > $7)
           ORDER BY notice_id LIMIT $8""",  # noqa: S608
        county_code,
        list(scope.areas),
        scope.lender_id,
        list(states),
        channel,
        loan_id,
        after,
        limit,
    )
    return [_notice(row) for row in rows]


# --- what the day close looks for -----------------------------------------------------------------


async def untold(
    session: AsyncSession, county_code: str, day: date, *, but: Collection[str], limit: int
) -> list[tuple[Warned, Loan]]:
    """Early warnings up to a day of which nobody was told yet, with their loans."""
    rows = await database.fetch(
        session,
        """SELECT l.*, w.kind, w.raised_on, w.cause_id
           FROM early_warning AS w
           JOIN loan AS l ON l.county_code = w.county_code AND l.loan_id = w.loan_id
           WHERE w.county_code = $1 AND w.raised_on BETWEEN $2::date AND $3::date
             AND w.kind <> ALL($4::text[])
             AND NOT EXISTS (SELECT FROM notice AS n WHERE n.county_code = $1
                             AND n.subject_id = w.loan_id AND n.kind = w.kind
                             AND n.channel = 'platform' AND n.sender_id = l.lender_id
                             AND n.cause_id = w.cause_id)
           ORDER BY w.loan_id, w.kind, w.cause_id LIMIT $5""",
        county_code,
        day - timedelta(days=UNTOLD_DAYS),
        day,
        list(but),
        limit,
    )
    return [
        (Warned(row["loan_id"], row["kind"], row["raised_on"], row["cause_id"]), store.loan_of(row))
        for row in rows
    ]


async def near_maturity(
    session: AsyncSession,
    county_code: str,
    programmes: Sequence[str],
    through: date,
    *,
    after: UUID | None,
    limit: int,
) -> list[tuple[UUID, date, str, tuple[str, ...]]]:
    """Owed loans that mature up to a day: id, day, programme, and what was warned of it so far."""
    rows = await database.fetch(
        session,
        """SELECT l.loan_id, l.matures_on, l.programme,
                  (SELECT coalesce(array_agg(w.kind), '{}') FROM early_warning AS w
                   WHERE w.county_code = $1 AND w.loan_id = l.loan_id
                     AND w.cause_id = l.matures_on::text) AS warned
           FROM loan AS l WHERE l.county_code = $1 AND l.state = 'active'
             AND l.programme = ANY($2::text[]) AND l.matures_on <= $3
             AND ($4::uuid IS NULL OR l.loan_id > $4)
           ORDER BY l.loan_id LIMIT $5""",
        county_code,
        list(programmes),
        through,
        after,
        limit,
    )
    return [
        (row["loan_id"], row["matures_on"], row["programme"], tuple(row["warned"])) for row in rows
    ]
