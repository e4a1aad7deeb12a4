"""Loans: tasks, their steps and duties; what tasks are made from."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.loans.rules.tasks import (
    Duty,
    Escalation,
    Evidence,
    OverdueFigures,
    StepKind,
    Subject,
    Task,
    TaskKind,
    TaskStep,
)

_MOVING = (
    *(("version", "bigint"), ("institution_id", "text"), ("owner_id", "text")),
    *(("deputy_id", "text"), ("closed_on", "date"), ("signed", "int"), ("escalated_to", "text")),
    *(("escalations", "int"), ("next_escalation_on", "date"), ("steps", "int")),
)
_FIXED = (
    *(("county_code", "text"), ("task_id", "uuid"), ("kind", "text"), ("clause_id", "text")),
    *(("key", "text"), ("programme", "text"), ("area_code", "text"), ("loan_id", "uuid")),
    *(("household_id", "uuid"), ("lender_id", "text"), ("organ", "text"), ("opened_on", "date")),
    *(("due_on", "date"), ("levels", "text"), ("chain", "text"), ("cause", "text")),
    ("looks_at", "text"),
)
_LISTS = ("levels", "chain", "looks_at")
_AFTER_KEYS = "~"
"""Behind every key that begins like another."""


def _sent(columns: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"${place}::{kind}[]" for place, (_, kind) in enumerate(columns, 1))


def _names(columns: Sequence[tuple[str, str]]) -> str:
    return ", ".join(name for name, _ in columns)


_ALL = (*_FIXED, *_MOVING)
_INSERT = (
    f"INSERT INTO task ({_names(_ALL)}) SELECT * FROM unnest({_sent(_ALL)})"  # noqa: S608 - names are the store's own
    " ON CONFLICT (county_code, key) DO NOTHING RETURNING task_id"
)
_KEYED = (("county_code", "text"), ("task_id", "uuid"), *_MOVING)
_UPDATE = (
    "UPDATE task SET "  # noqa: S608 - names are the store's own
    + ", ".join(f"{name} = n.{name}" for name, _ in _MOVING)
    + f" FROM unnest({_sent(_KEYED)}) AS n ({_names(_KEYED)})"
    + " WHERE task.county_code = n.county_code AND task.task_id = n.task_id"
)


def joined(values: Sequence[str]) -> str:
    """Codes in one column."""
    return ",".join(values)


def parted(text: str) -> tuple[str, ...]:
    """And back."""
    return tuple(text.split(",")) if text else ()


def evidence_text(evidence: Sequence[Evidence]) -> str:
    """Evidence in one column."""
    return json.dumps([[each.kind, each.reference, each.sha256] for each in evidence])


def evidence_of(text: str) -> tuple[Evidence, ...]:
    """And back."""
    return tuple(Evidence(*each) for each in json.loads(text))


def _value(task: Task, name: str) -> object:
    value = getattr(task, name)
    return joined(value) if name in _LISTS else value


def task_of(row: asyncpg.Record) -> Task:
    """A row of `task`."""
    values = {name: row[name] for name, _ in _ALL}
    values |= {name: parted(row[name]) for name in _LISTS}
    return Task(**{**values, "kind": TaskKind(row["kind"])})


async def insert(session: AsyncSession, tasks: Sequence[Task]) -> set[UUID]:
    """Write tasks; the ids of those that are new by their key."""
    if not tasks:
        return set()
    values = [[_value(task, name) for name, _ in _ALL] for task in tasks]
    rows = await database.fetch(session, _INSERT, *database.columns(values, len(_ALL)))
    return {row["task_id"] for row in rows}


async def save(session: AsyncSession, tasks: Sequence[Task]) -> None:
    """Write what moves of tasks that are held."""
    if tasks:
        values = [[_value(task, name) for name, _ in _KEYED] for task in tasks]
        await database.execute(session, _UPDATE, *database.columns(values, len(_KEYED)))


async def add_steps(session: AsyncSession, county_code: str, steps: Sequence[TaskStep]) -> None:
    """Write steps."""
    if not steps:
        return
    values = [
        (
            county_code,
            s.task_id,
            s.number,
            s.kind.value,
            s.taken_on,
            s.institution_id,
            s.person_id,
            s.organ,
            s.note,
            evidence_text(s.evidence),
            joined(s.findings),
            _figures_text(s.figures),
            s.in_time,
        )
        for s in steps
    ]
    await database.execute(
        session,
        """INSERT INTO task_step (county_code, task_id, number, kind, taken_on, institution_id,
                                  person_id, organ, note, evidence, findings, figures, in_time)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::int[], $4::text[], $5::date[],
                                $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                                $11::text[], $12::text[], $13::bool[])""",
        *database.columns(values, 13),
    )


def _figures_text(figures: OverdueFigures | None) -> str:
    if figures is None:
        return ""
    counts = (figures.due_count, figures.due_fen, figures.collected_count, figures.collected_fen)
    return json.dumps([figures.as_of.isoformat(), *counts])


def _figures_of(text: str) -> OverdueFigures | None:
    if not text:
        return None
    as_of, *counts = json.loads(text)
    return OverdueFigures(date.fromisoformat(as_of), *counts)


async def lock(session: AsyncSession, county_code: str, task_ids: Collection[UUID]) -> list[Task]:
    """Tasks in id order, held."""
    rows = await database.fetch(
        session,
        """SELECT * FROM task WHERE county_code = $1 AND task_id = ANY($2::uuid[])
           ORDER BY task_id FOR UPDATE""",
        county_code,
        list(task_ids),
    )
    return [task_of(row) for row in rows]


async def find(session: AsyncSession, county_code: str, task_id: UUID) -> Task | None:
    """One task."""
    rows = await database.fetch(
        session,
        "SELECT * FROM task WHERE county_code = $1 AND task_id = $2",
        county_code,
        task_id,
    )
    return task_of(rows[0]) if rows else None


async def steps_of(session: AsyncSession, county_code: str, task_id: UUID) -> list[TaskStep]:
    """Every step of a task, in order."""
    rows = await database.fetch(
        session,
        "SELECT * FROM task_step WHERE county_code = $1 AND task_id = $2 ORDER BY number",
        county_code,
        task_id,
    )
    return [
        TaskStep(
            row["task_id"],
            row["number"],
            StepKind(row["kind"]),
            row["taken_on"],
            row["institution_id"],
            row["person_id"],
            row["organ"],
            row["note"],
            evidence_of(row["evidence"]),
            parted(row["findings"]),
            _figures_of(row["figures"]),
            row["in_time"],
        )
        for row in rows
    ]


# Whose tasks a caller sees: in the own areas; of lenders the own loans', and what they have to do.
_SEEN = """t.county_code = $1
           AND EXISTS (SELECT FROM unnest($2::text[]) AS a (code)
                       WHERE starts_with(t.area_code, a.code))
           AND ($3 = '' OR t.lender_id = $3 OR t.institution_id = $3)"""


async def list_tasks(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    lender_id: str,
    person_id: str,
    kind: str,
    loan_id: UUID | None,
    closed: bool | None,
    due_before: date | None,
    start: int,
    limit: int,
) -> list[Task]:
    """Tasks within areas, of one lender or all; those due first."""
    rows = await database.fetch(
        session,
        f"""SELECT t.* FROM task AS t WHERE {_SEEN}
              AND ($4 = '' OR t.owner_id = $4 OR t.deputy_id = $4)
              AND ($5 = '' OR t.kind = $5) AND ($6::uuid IS NULL OR t.loan_id = $6)
              AND ($7::bool IS NULL OR (t.closed_on IS NOT NULL) = $7)
              AND ($8::date IS NULL OR t.due_on < $8)
            ORDER BY t.due_on, t.task_id OFFSET $9 LIMIT $10""",  # noqa: S608
        county_code,
        list(areas),
        lender_id,
        person_id,
        kind,
        loan_id,
        closed,
        due_before,
        start,
        limit,
    )
    return [task_of(row) for row in rows]


async def list_escalations(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    lender_id: str,
    task_id: UUID | None,
    start: int,
    limit: int,
) -> list[Escalation]:
    """Who heard of late tasks, in order."""
    rows = await database.fetch(
        session,
        f"""SELECT t.*, s.organ AS heard, s.institution_id AS heard_by, s.taken_on AS heard_on,
                   (SELECT count(*) FROM task_step AS b
                    WHERE b.county_code = s.county_code AND b.task_id = s.task_id
                      AND b.kind = 'escalated' AND b.number <= s.number)::int AS place
            FROM task_step AS s JOIN task AS t USING (county_code, task_id)
            WHERE {_SEEN} AND s.kind = 'escalated' AND ($4::uuid IS NULL OR s.task_id = $4)
            ORDER BY s.taken_on, s.task_id, s.number OFFSET $5 LIMIT $6""",  # noqa: S608
        county_code,
        list(areas),
        lender_id,
        task_id,
        start,
        limit,
    )
    return [
        Escalation(task_of(row), row["heard"], row["heard_by"], row["heard_on"], row["place"])
        for row in rows
    ]


# --- what tasks are made from ---------------------------------------------------------------------


def _subject(row: asyncpg.Record) -> Subject:
    return Subject(row["area_code"], row["loan_id"], row["household_id"], row["lender_id"])


async def loans_without(
    session: AsyncSession,
    county_code: str,
    programme: str,
    prefix: str,
    *,
    disbursed_since: date | None,
    after: UUID | None,
    limit: int,
) -> list[Subject]:
    """Loans of a programme's version that are paid out and owed, and lack the task of a prefix."""
    rows = await database.fetch(
        session,
        # The tasks are read once, as a set that is hashed: sought loan by loan they cost twice as
        # much. Those before the chunk are not read again.
        """SELECT loan_id, household_id, area_code, lender_id FROM loan
           WHERE county_code = $1 AND programme = $2 AND state = 'active'
             AND disbursed_on IS NOT NULL AND ($5::date IS NULL OR disbursed_on >= $5)
             AND ($6::uuid IS NULL OR loan_id > $6)
             AND loan_id NOT IN (SELECT t.loan_id FROM task AS t
                                 WHERE t.county_code = $1 AND t.key >= $3 AND t.key < $4
                                   AND t.loan_id IS NOT NULL)
           ORDER BY loan_id LIMIT $7""",
        county_code,
        programme,
        f"{prefix}{after or ''}",
        prefix + _AFTER_KEYS,
        disbursed_since,
        after,
        limit,
    )
    return [_subject(row) for row in rows]


async def known_keys(
    session: AsyncSession, county_code: str, prefixes: Collection[str]
) -> set[str]:
    """Keys of tasks that begin so."""
    rows = await database.fetch(
        session,
        # Both ends come from here: behind a wall an end that is put together is no end of the scan.
        """SELECT key FROM unnest($2::text[], $3::text[]) AS p (first, past)
           JOIN task ON county_code = $1 AND key >= p.first AND key < p.past""",
        county_code,
        list(prefixes),
        [prefix + _AFTER_KEYS for prefix in prefixes],
    )
    return {row["key"] for row in rows}


async def any_overdue(session: AsyncSession, county_code: str, programme: str, day: date) -> bool:
    """Whether a loan of a programme's version is overdue when a day ends."""
    rows = await database.fetch(
        session,
        """SELECT FROM loan WHERE county_code = $1 AND programme = $2 AND state = 'active'
             AND next_due_on < $3 AND overdue_days > 0 LIMIT 1""",
        county_code,
        programme,
        day,
    )
    return bool(rows)


async def undisposed(
    session: AsyncSession, county_code: str, programme: str, limit: int
) -> list[Subject]:
    """Non-performing loans of a programme's version without a disposition and without the task."""
    rows = await database.fetch(
        session,
        """SELECT loan_id, household_id, area_code, lender_id FROM loan AS l
           WHERE county_code = $1 AND programme = $2 AND state = 'active'
             AND non_performing_on IS NOT NULL
             AND NOT EXISTS (SELECT FROM disposition AS d WHERE d.county_code = $1
                               AND d.loan_id = l.loan_id AND d.in_effect
                               AND d.decided_on >= l.non_performing_on)
             AND NOT EXISTS (SELECT FROM task AS t WHERE t.county_code = $1
                               AND t.loan_id = l.loan_id AND t.kind = 'disposition'
                               AND t.opened_on >= l.non_performing_on)
           ORDER BY loan_id LIMIT $3""",
        county_code,
        programme,
        limit,
    )
    return [_subject(row) for row in rows]


async def owed_by(
    session: AsyncSession, county_code: str, household_ids: Collection[UUID]
) -> list[tuple[Subject, str]]:
    """Loans of households that are paid out and owed, each with its programme's version."""
    rows = await database.fetch(
        session,
        """SELECT loan_id, household_id, area_code, lender_id, programme FROM loan
           WHERE county_code = $1 AND household_id = ANY($2::uuid[]) AND state = 'active'
             AND outstanding_fen > 0
           ORDER BY loan_id""",
        county_code,
        list(household_ids),
    )
    return [(_subject(row), row["programme"]) for row in rows]


async def lock_late(session: AsyncSession, county_code: str, day: date, limit: int) -> list[Task]:
    """Open tasks that somebody is to hear of by the end of a day, held."""
    rows = await database.fetch(
        session,
        # Found by their day and then held in id order: by id alone every task would be read.
        """WITH late AS MATERIALIZED (
               SELECT task_id FROM task
               WHERE county_code = $1 AND closed_on IS NULL AND next_escalation_on <= $2
               ORDER BY next_escalation_on LIMIT $3)
           SELECT * FROM task
           WHERE county_code = $1 AND task_id IN (SELECT task_id FROM late)
             AND closed_on IS NULL AND next_escalation_on <= $2
           ORDER BY task_id FOR UPDATE""",
        county_code,
        day,
        limit,
    )
    return [task_of(row) for row in rows]


async def lock_open_of(
    session: AsyncSession, county_code: str, loan_id: UUID, kind: TaskKind
) -> list[Task]:
    """Open tasks of a kind about a loan, held."""
    rows = await database.fetch(
        session,
        """SELECT * FROM task WHERE county_code = $1 AND loan_id = $2 AND kind = $3
             AND closed_on IS NULL ORDER BY task_id FOR UPDATE""",
        county_code,
        loan_id,
        kind.value,
    )
    return [task_of(row) for row in rows]


async def overdue_figures(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    lender_id: str,
    programme_id: str,
    as_of: date,
) -> OverdueFigures:
    """Loans whose maturity has passed: how many, for how much, and what was paid of it."""
    rows = await database.fetch(
        session,
        """SELECT count(*) AS due, coalesce(sum(principal_fen), 0)::bigint AS due_fen,
                  count(*) FILTER (WHERE outstanding_fen = 0) AS collected,
                  coalesce(sum(principal_fen - least(outstanding_fen, principal_fen)), 0)::bigint
                      AS collected_fen
           FROM loan AS l
           WHERE county_code = $1 AND state IN ('active', 'settled', 'written_off')
             AND disbursed_on IS NOT NULL AND matures_on < $5
             AND EXISTS (SELECT FROM unnest($2::text[]) AS a (code)
                         WHERE starts_with(l.area_code, a.code))
             AND ($3 = '' OR lender_id = $3)
             AND ($4 = '' OR split_part(programme, '@', 1) = $4)""",
        county_code,
        list(areas),
        lender_id,
        programme_id,
        as_of,
    )
    (row,) = rows
    return OverdueFigures(as_of, row["due"], row["due_fen"], row["collected"], row["collected_fen"])


# --- duties ---------------------------------------------------------------------------------------


def _duty(row: asyncpg.Record) -> Duty:
    return Duty(
        row["institution_id"],
        TaskKind(row["kind"]),
        row["owner_id"],
        row["deputy_id"],
        row["assigned_on"],
        row["assigned_by"],
    )


async def add_duty(session: AsyncSession, county_code: str, duty: Duty) -> None:
    """Name an owner and a deputy; those before stay in the history."""
    await database.execute(
        session,
        """INSERT INTO duty (county_code, institution_id, kind, owner_id, deputy_id, assigned_on,
                             assigned_by) VALUES ($1, $2, $3, $4, $5, $6, $7)""",
        county_code,
        duty.institution_id,
        duty.kind.value,
        duty.owner_id,
        duty.deputy_id,
        duty.assigned_on,
        duty.assigned_by,
    )


async def duties(
    session: AsyncSession, county_code: str, institution_id: str = ""
) -> Mapping[tuple[str, TaskKind], Duty]:
    """Who owns what, as named last."""
    rows = await database.fetch(
        session,
        """SELECT DISTINCT ON (institution_id, kind) * FROM duty
           WHERE county_code = $1 AND ($2 = '' OR institution_id = $2)
           ORDER BY institution_id, kind, number DESC""",
        county_code,
        institution_id,
    )
    found = [_duty(row) for row in rows]
    return {(each.institution_id, each.kind): each for each in found}


async def lock_unowned(
    session: AsyncSession, county_code: str, institution_id: str, kind: TaskKind, limit: int
) -> list[Task]:
    """Open tasks of an institution that nobody owns, held."""
    rows = await database.fetch(
        session,
        """SELECT * FROM task WHERE county_code = $1 AND institution_id = $2 AND kind = $3
             AND closed_on IS NULL AND owner_id = ''
           ORDER BY task_id LIMIT $4 FOR UPDATE""",
        county_code,
        institution_id,
        kind.value,
        limit,
    )
    return [task_of(row) for row in rows]
