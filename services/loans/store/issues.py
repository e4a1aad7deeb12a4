"""Loans: issues, dispositions, problem loans; what the compliance list looks at; who did what."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.loans.rules.issues import Decided, Done, Issue, Looked, subsidy_quarter
from services.loans.store.tasks import evidence_of, evidence_text, joined, parted
from services.programmes.issues import IssueState

_FIXED = (
    *(("county_code", "text"), ("issue_id", "uuid"), ("ledger", "text"), ("code", "text")),
    *(("programme", "text"), ("area_code", "text"), ("loan_id", "uuid")),
    *(("household_id", "uuid"), ("lender_id", "text"), ("registered_on", "date")),
    *(("note", "text"), ("task_id", "uuid")),
)
_MOVING = (
    *(("version", "bigint"), ("state", "text"), ("due_on", "date"), ("rectified_on", "date")),
    *(("rectified_by", "text"), ("closed_on", "date"), ("closed_by", "text"), ("steps", "int")),
)


def _sent(columns: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"${place}::{kind}[]" for place, (_, kind) in enumerate(columns, 1))


def _names(columns: Sequence[tuple[str, str]]) -> str:
    return ", ".join(name for name, _ in columns)


_ALL = (*_FIXED, *_MOVING)
_INSERT = (
    f"INSERT INTO issue ({_names(_ALL)}) SELECT * FROM unnest({_sent(_ALL)})"  # noqa: S608 - names are the store's own
    " ON CONFLICT (county_code, loan_id, code) WHERE state <> 'crossed_off'"
    " AND loan_id IS NOT NULL DO NOTHING RETURNING issue_id"
)
_KEYED = (("county_code", "text"), ("issue_id", "uuid"), *_MOVING)
_UPDATE = (
    "UPDATE issue SET "  # noqa: S608 - names are the store's own
    + ", ".join(f"{name} = n.{name}" for name, _ in _MOVING)
    + f" FROM unnest({_sent(_KEYED)}) AS n ({_names(_KEYED)})"
    + " WHERE issue.county_code = n.county_code AND issue.issue_id = n.issue_id"
)


def issue_of(row: asyncpg.Record) -> Issue:
    """A row of `issue`."""
    values = {name: row[name] for name, _ in _ALL}
    return Issue(**{**values, "state": IssueState(row["state"])})


async def insert(session: AsyncSession, issues: Sequence[Issue]) -> set[UUID]:
    """Write issues; the ids of those that their loans did not have open."""
    if not issues:
        return set()
    values = [[getattr(issue, name) for name, _ in _ALL] for issue in issues]
    rows = await database.fetch(session, _INSERT, *database.columns(values, len(_ALL)))
    return {row["issue_id"] for row in rows}


async def save(session: AsyncSession, issues: Sequence[Issue]) -> None:
    """Write what moves of issues that are held."""
    if issues:
        values = [[getattr(issue, name) for name, _ in _KEYED] for issue in issues]
        await database.execute(session, _UPDATE, *database.columns(values, len(_KEYED)))


async def add_steps(session: AsyncSession, county_code: str, steps: Sequence[Done]) -> None:
    """Write what was done."""
    if not steps:
        return
    values = [
        (
            county_code,
            s.issue_id,
            s.number,
            s.kind,
            s.taken_on,
            s.institution_id,
            s.person_id,
            s.note,
            evidence_text(s.evidence),
            s.in_time,
        )
        for s in steps
    ]
    await database.execute(
        session,
        """INSERT INTO issue_step (county_code, issue_id, number, kind, taken_on, institution_id,
                                   person_id, note, evidence, in_time)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::int[], $4::text[], $5::date[],
                                $6::text[], $7::text[], $8::text[], $9::text[], $10::bool[])""",
        *database.columns(values, 10),
    )


async def find(session: AsyncSession, county_code: str, issue_id: UUID) -> Issue | None:
    """One issue."""
    rows = await database.fetch(
        session,
        "SELECT * FROM issue WHERE county_code = $1 AND issue_id = $2",
        county_code,
        issue_id,
    )
    return issue_of(rows[0]) if rows else None


async def lock(session: AsyncSession, county_code: str, issue_id: UUID) -> Issue | None:
    """One issue, held."""
    rows = await database.fetch(
        session,
        "SELECT * FROM issue WHERE county_code = $1 AND issue_id = $2 FOR UPDATE",
        county_code,
        issue_id,
    )
    return issue_of(rows[0]) if rows else None


async def steps_of(session: AsyncSession, county_code: str, issue_id: UUID) -> list[Done]:
    """All that was done with an issue, in order."""
    rows = await database.fetch(
        session,
        "SELECT * FROM issue_step WHERE county_code = $1 AND issue_id = $2 ORDER BY number",
        county_code,
        issue_id,
    )
    return [
        Done(
            row["issue_id"],
            row["number"],
            row["kind"],
            row["taken_on"],
            row["institution_id"],
            row["person_id"],
            row["note"],
            evidence_of(row["evidence"]),
            row["in_time"],
        )
        for row in rows
    ]


_SEEN = """t.county_code = $1
           AND EXISTS (SELECT FROM unnest($2::text[]) AS a (code)
                       WHERE starts_with(t.area_code, a.code))
           AND ($3 = '' OR t.lender_id = $3)"""


async def list_issues(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    lender_id: str,
    loan_id: UUID | None,
    state: str,
    code: str,
    ledger: str,
    due_before: date | None,
    start: int,
    limit: int,
) -> list[Issue]:
    """Issues within areas, of one lender or all; those due first."""
    rows = await database.fetch(
        session,
        f"""SELECT t.* FROM issue AS t WHERE {_SEEN}
              AND ($4::uuid IS NULL OR t.loan_id = $4) AND ($5 = '' OR t.state = $5)
              AND ($6 = '' OR t.code = $6) AND ($7 = '' OR t.ledger = $7)
              AND ($8::date IS NULL OR t.due_on < $8)
            ORDER BY t.due_on NULLS LAST, t.issue_id OFFSET $9 LIMIT $10""",  # noqa: S608
        county_code,
        list(areas),
        lender_id,
        loan_id,
        state,
        code,
        ledger,
        due_before,
        start,
        limit,
    )
    return [issue_of(row) for row in rows]


# --- what the compliance list looks at ------------------------------------------------------------


async def looked(
    session: AsyncSession,
    county_code: str,
    day: date,
    *,
    programme: str = "",
    loan_ids: Collection[UUID] | None = None,
    overdue_only: bool = False,
    after: UUID | None = None,
    limit: int = 1,
) -> list[Looked]:
    """Loans that are paid out and owed, as the list looks at them, in id order."""
    year, quarter, begins, ends = subsidy_quarter(day)
    rows = await database.fetch(
        session,
        """SELECT l.loan_id, l.household_id, l.area_code, l.lender_id, l.programme, l.product_id,
                  l.overdue_days, l.rate_ppm, l.term_months, l.disbursed_on, l.purpose,
                  coalesce(a.stated, '{}') AS stated,
                  coalesce((SELECT array_agg(i.code) FROM issue AS i
                            WHERE i.county_code = $1 AND i.loan_id = l.loan_id
                              AND i.state <> 'crossed_off'), '{}') AS open_codes,
                  l.subsidised AND coalesce(o.opening_on, l.disbursed_on) < $7
                    AND coalesce(l.subsidy_ended_on, $7) > $6
                    AND NOT EXISTS (SELECT FROM subsidy_claim_line AS x
                                    JOIN subsidy_claim AS c USING (county_code, claim_id)
                                    WHERE x.county_code = $1 AND x.loan_id = l.loan_id
                                      AND c.year = $8 AND c.quarter = $9
                                      AND c.paid_on IS NOT NULL) AS subsidy_unpaid
           FROM loan AS l
           LEFT JOIN application AS a USING (county_code, loan_id)
           LEFT JOIN opening AS o ON o.county_code = l.county_code AND o.loan_id = l.loan_id
           WHERE l.county_code = $1 AND l.state = 'active' AND l.disbursed_on IS NOT NULL
             AND ($2 = '' OR l.programme = $2) AND ($3::uuid[] IS NULL OR l.loan_id = ANY($3))
             AND (NOT $4 OR l.overdue_days > 0) AND ($5::uuid IS NULL OR l.loan_id > $5)
           ORDER BY l.loan_id LIMIT $10""",
        county_code,
        programme,
        None if loan_ids is None else list(loan_ids),
        overdue_only,
        after,
        begins,
        ends,
        year,
        quarter,
        limit,
    )
    return [_looked(row) for row in rows]


def _looked(row: asyncpg.Record) -> Looked:
    stated = json.loads(row["stated"])
    return Looked(
        row["loan_id"],
        row["household_id"],
        row["area_code"],
        row["lender_id"],
        row["programme"],
        row["product_id"],
        row["overdue_days"],
        row["rate_ppm"],
        row["term_months"],
        row["disbursed_on"],
        row["purpose"],
        stated.get("use_mode") or "",
        stated.get("user_id") or "",
        stated.get("repayer_id") or "",
        tuple(stated.get("conduct") or ()),
        row["subsidy_unpaid"],
        tuple(row["open_codes"]),
    )


# --- dispositions ---------------------------------------------------------------------------------


def _decided(row: asyncpg.Record) -> Decided:
    return Decided(
        row["loan_id"],
        row["number"],
        row["due_class"],
        parted(row["actions"]),
        row["plan"],
        row["reason"],
        evidence_of(row["evidence"]),
        row["organ"],
        row["institution_id"],
        row["person_id"],
        row["decided_on"],
        row["in_effect"],
    )


async def add_disposition(session: AsyncSession, county_code: str, decided: Decided) -> None:
    """Write a decision."""
    await database.execute(
        session,
        """INSERT INTO disposition (county_code, loan_id, number, due_class, actions, plan, reason,
                                    evidence, organ, institution_id, person_id, decided_on,
                                    in_effect)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)""",
        county_code,
        decided.loan_id,
        decided.number,
        decided.due_class,
        joined(decided.actions),
        decided.plan,
        decided.reason,
        evidence_text(decided.evidence),
        decided.organ,
        decided.institution_id,
        decided.person_id,
        decided.decided_on,
        decided.in_effect,
    )


async def dispositions_of(session: AsyncSession, county_code: str, loan_id: UUID) -> list[Decided]:
    """Every decision on a loan, in order."""
    rows = await database.fetch(
        session,
        "SELECT * FROM disposition WHERE county_code = $1 AND loan_id = $2 ORDER BY number",
        county_code,
        loan_id,
    )
    return [_decided(row) for row in rows]


async def list_dispositions(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    lender_id: str,
    loan_id: UUID | None,
    start: int,
    limit: int,
) -> list[Decided]:
    """Decisions on loans within areas, of one lender or all, the oldest first."""
    rows = await database.fetch(
        session,
        f"""SELECT d.* FROM disposition AS d JOIN loan AS t USING (county_code, loan_id)
            WHERE {_SEEN} AND ($4::uuid IS NULL OR d.loan_id = $4)
            ORDER BY d.decided_on, d.loan_id, d.number OFFSET $5 LIMIT $6""",  # noqa: S608
        county_code,
        list(areas),
        lender_id,
        loan_id,
        start,
        limit,
    )
    return [_decided(row) for row in rows]


@dataclass(frozen=True, slots=True)
class Problem:
    """A loan that is overdue or non-performing, and what was done about it."""

    loan_id: UUID
    household_id: UUID
    area_code: str
    lender_id: str
    overdue_days: int
    non_performing_on: date | None
    outstanding_fen: int
    due_class: str
    actions: tuple[str, ...]
    open_issues: int


async def list_problems(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    lender_id: str,
    undecided_only: bool,
    start: int,
    limit: int,
) -> list[Problem]:
    """Loans that are overdue or non-performing, in id order."""
    rows = await database.fetch(
        session,
        f"""SELECT t.loan_id, t.household_id, t.area_code, t.lender_id, t.overdue_days,
                   t.non_performing_on, t.outstanding_fen, coalesce(d.due_class, '') AS due_class,
                   (SELECT count(*) FROM issue AS i WHERE i.county_code = $1
                      AND i.loan_id = t.loan_id AND i.state <> 'crossed_off')::int AS open_issues,
                   coalesce((SELECT array_agg(a.action ORDER BY a.taken_on, a.cause DESC, a.place)
                             FROM loan_action AS a WHERE a.county_code = $1
                               AND a.loan_id = t.loan_id), '{{}}') AS actions
            FROM loan AS t
            LEFT JOIN LATERAL (SELECT due_class, in_effect FROM disposition AS x
                               WHERE x.county_code = $1 AND x.loan_id = t.loan_id AND x.in_effect
                               ORDER BY x.number DESC LIMIT 1) AS d ON true
            WHERE {_SEEN} AND t.state = 'active'
              AND (t.overdue_days > 0 OR t.non_performing_on IS NOT NULL)
              AND (NOT $4 OR d.due_class IS NULL)
            ORDER BY t.loan_id OFFSET $5 LIMIT $6""",  # noqa: S608
        county_code,
        list(areas),
        lender_id,
        undecided_only,
        start,
        limit,
    )
    return [
        Problem(
            *(row["loan_id"], row["household_id"], row["area_code"], row["lender_id"]),
            *(row["overdue_days"], row["non_performing_on"], row["outstanding_fen"]),
            *(row["due_class"], tuple(row["actions"]), row["open_issues"]),
        )
        for row in rows
    ]


# --- who did what ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DutyDone:
    """One thing that an officer did."""

    loan_id: UUID | None
    institution_id: str
    person_id: str
    done_on: date
    duty: str
    what: str
    outcome: str
    evidence: tuple[str, ...]
    in_time: bool


# Each part: what histories keep of who did what; the journal of duties is not written twice.
_DONE = """
SELECT loan_id, NULL::text AS area_code, '' AS lender_id, institution_id, person_id,
       taken_on AS done_on, 'application_step' AS duty, step AS what,
       CASE WHEN approved THEN 'approved' ELSE 'refused' END || rtrim(': ' || reason, ': ')
           AS outcome,
       CASE WHEN evidence = '' THEN '[]'::jsonb ELSE jsonb_build_array(evidence) END AS evidence,
       true AS in_time, number
FROM step_taken WHERE county_code = $1 AND person_id <> ''
    AND ($4 = '' OR person_id = $4) AND ($5::uuid IS NULL OR loan_id = $5)
UNION ALL
SELECT t.loan_id, t.area_code, t.lender_id, s.institution_id, s.person_id, s.taken_on, 'task',
       t.kind || ':' || s.kind, s.note,
       (SELECT coalesce(jsonb_agg(e -> 2), '[]') FROM jsonb_array_elements(s.evidence::jsonb) AS e),
       s.in_time, s.number
FROM task_step AS s JOIN task AS t USING (county_code, task_id)
WHERE s.county_code = $1 AND s.person_id <> '' AND s.kind <> 'assigned'
    AND ($4 = '' OR s.person_id = $4) AND ($5::uuid IS NULL OR t.loan_id = $5)
UNION ALL
SELECT i.loan_id, i.area_code, i.lender_id, s.institution_id, s.person_id, s.taken_on, 'issue',
       i.code || ':' || s.kind, s.note,
       (SELECT coalesce(jsonb_agg(e -> 2), '[]') FROM jsonb_array_elements(s.evidence::jsonb) AS e),
       s.in_time, s.number
FROM issue_step AS s JOIN issue AS i USING (county_code, issue_id)
WHERE s.county_code = $1 AND s.person_id <> ''
    AND ($4 = '' OR s.person_id = $4) AND ($5::uuid IS NULL OR i.loan_id = $5)
UNION ALL
SELECT loan_id, NULL, '', institution_id, person_id, decided_on, 'disposition', due_class, reason,
       (SELECT coalesce(jsonb_agg(e -> 2), '[]') FROM jsonb_array_elements(evidence::jsonb) AS e),
       true, number
FROM disposition WHERE county_code = $1
    AND ($4 = '' OR person_id = $4) AND ($5::uuid IS NULL OR loan_id = $5)
UNION ALL
SELECT c.loan_id, NULL, '', '', s.person_id, s.done_on, 'collection', s.kind, s.note, '[]', true,
       s.number
FROM collection_step AS s JOIN collection_case AS c USING (county_code, case_id)
WHERE s.county_code = $1 AND s.person_id <> ''
    AND ($4 = '' OR s.person_id = $4) AND ($5::uuid IS NULL OR c.loan_id = $5)
UNION ALL
SELECT loan_id, NULL, '', '', person_id, changed_on, 'class', now_is, reason, '[]', true,
       change_id::int
FROM class_change WHERE county_code = $1 AND person_id <> ''
    AND ($4 = '' OR person_id = $4) AND ($5::uuid IS NULL OR loan_id = $5)
UNION ALL
SELECT loan_id, NULL, '', '', person_id, closed_on, 'review', cause || ':' || outcome, reason,
       '[]', true, 1
FROM loan_review WHERE county_code = $1 AND person_id <> '' AND closed_on IS NOT NULL
    AND ($4 = '' OR person_id = $4) AND ($5::uuid IS NULL OR loan_id = $5)
"""

_DONE_SEEN = f"""
SELECT d.*, d.evidence::text AS shown FROM ({_DONE}) AS d
LEFT JOIN loan AS l ON l.county_code = $1 AND l.loan_id = d.loan_id
WHERE EXISTS (SELECT FROM unnest($2::text[]) AS a (code)
              WHERE starts_with(coalesce(l.area_code, d.area_code), a.code))
  AND ($3 = '' OR coalesce(l.lender_id, d.lender_id) = $3 OR d.institution_id = $3)
ORDER BY d.done_on, d.duty, d.loan_id, d.number OFFSET $6 LIMIT $7
"""  # noqa: S608 - the parts are the store's own


async def list_done(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    lender_id: str,
    person_id: str,
    loan_id: UUID | None,
    start: int,
    limit: int,
) -> list[DutyDone]:
    """What one person did, or everybody on a loan, in order."""
    rows = await database.fetch(
        session, _DONE_SEEN, county_code, list(areas), lender_id, person_id, loan_id, start, limit
    )
    return [
        DutyDone(
            *(row["loan_id"], row["institution_id"], row["person_id"], row["done_on"]),
            *(row["duty"], row["what"], row["outcome"]),
            tuple(json.loads(row["shown"])),
            row["in_time"],
        )
        for row in rows
    ]
