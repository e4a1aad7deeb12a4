"""Statements: SQL of lists, of where they differ from ours and of what became of it."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.statements import (
    Cause,
    Comparison,
    Difference,
    DifferenceState,
    Kind,
    Line,
    Resolution,
    Statement,
    Who,
)


@dataclass(frozen=True, slots=True)
class Held:
    """A list, and how far its reconciliation is."""

    statement: Statement
    posted_lines: int
    posted_sum: int
    compared_on: date | None
    agreeing: int
    differences: int
    unresolved: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A difference with its number, its list and what became of it."""

    number: int
    statement_id: UUID
    institution_id: str
    difference: Difference
    touches_money: bool
    found_on: date
    state: DifferenceState
    round: int = 0
    """How often somebody said what becomes of it."""
    resolution: Resolution | None = None
    reason: str = ""
    resolved_by: Who | None = None
    resolved_on: date | None = None
    confirmed_by: Who | None = None
    confirmed_on: date | None = None


async def alone(session: AsyncSession, county_code: str, name: str) -> None:
    """One at a time announces, posts, compares or decides one thing."""
    await database.execute(
        session,
        "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || $1, 0))",
        f".statement:{county_code}:{name}",
    )


def _statement(row: asyncpg.Record) -> Statement:
    return Statement(
        county_code=row["county_code"],
        statement_id=row["statement_id"],
        institution_id=row["institution_id"],
        kind=Kind(row["kind"]),
        reference=row["reference"],
        as_of=row["as_of"],
        stated_lines=row["stated_lines"],
        stated_sum=row["stated_sum"],
        started_by=Who(row["started_by"], row["started_person"]),
        started_on=row["started_on"],
    )


async def find_by_reference(session: AsyncSession, asked: Statement) -> Statement | None:
    """The list that an institution announced under a reference."""
    rows = await database.fetch(
        session,
        """SELECT * FROM statement
           WHERE county_code = $1 AND institution_id = $2 AND reference = $3""",
        asked.county_code,
        asked.institution_id,
        asked.reference,
    )
    return _statement(rows[0]) if rows else None


async def add_statement(session: AsyncSession, statement: Statement) -> None:
    """Keep an announcement."""
    await database.execute(
        session,
        """INSERT INTO statement (county_code, statement_id, institution_id, kind, reference, as_of,
                                  stated_lines, stated_sum, started_by, started_person, started_on)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)""",
        statement.county_code,
        statement.statement_id,
        statement.institution_id,
        statement.kind,
        statement.reference,
        statement.as_of,
        statement.stated_lines,
        statement.stated_sum,
        statement.started_by.institution_id,
        statement.started_by.person_id,
        statement.started_on,
    )


# Resolved is a difference by a final word or by a word that a second person agreed to.
_STATE: Final = """
LEFT JOIN LATERAL (
    SELECT w.* FROM statement_word AS w
    WHERE w.county_code = f.county_code AND w.number = f.number ORDER BY w.round DESC LIMIT 1
) AS w ON true
LEFT JOIN statement_agreement AS a
    ON a.county_code = f.county_code AND a.number = f.number AND a.round = w.round
"""
_RESOLVED: Final = "(coalesce(w.final, false) OR coalesce(a.agrees, false))"

_HELD: Final = f"""
SELECT s.*, p.posted_lines, p.posted_sum, c.compared_on, coalesce(c.agreeing, 0) AS agreeing,
       d.differences, d.unresolved
FROM statement AS s
LEFT JOIN statement_comparison AS c USING (county_code, statement_id)
CROSS JOIN LATERAL (
    SELECT count(*) AS posted_lines, coalesce(sum(l.amount), 0)::bigint AS posted_sum
    FROM statement_line AS l
    WHERE l.county_code = s.county_code AND l.statement_id = s.statement_id
) AS p
CROSS JOIN LATERAL (
    SELECT count(*) AS differences, count(*) FILTER (WHERE NOT {_RESOLVED}) AS unresolved
    FROM statement_difference AS f {_STATE}
    WHERE f.county_code = s.county_code AND f.statement_id = s.statement_id
) AS d
"""  # noqa: S608 - own constants


def _held(row: asyncpg.Record) -> Held:
    return Held(
        statement=_statement(row),
        posted_lines=row["posted_lines"],
        posted_sum=row["posted_sum"],
        compared_on=row["compared_on"],
        agreeing=row["agreeing"],
        differences=row["differences"],
        unresolved=row["unresolved"],
    )


async def find(
    session: AsyncSession, county_code: str, institution_id: str, statement_id: UUID
) -> Held | None:
    """One reconciliation, of an institution unless that is empty."""
    rows = await database.fetch(
        session,
        f"""{_HELD}
            WHERE s.county_code = $1 AND s.statement_id = $2
              AND ($3 = '' OR s.institution_id = $3)""",
        county_code,
        statement_id,
        institution_id,
    )
    return _held(rows[0]) if rows else None


async def list_statements(
    session: AsyncSession,
    county_code: str,
    institution_id: str,
    *,
    before: UUID | None,
    limit: int,
) -> list[Held]:
    """Reconciliations, the latest first."""
    rows = await database.fetch(
        session,
        f"""{_HELD}
            WHERE s.county_code = $1 AND ($2 = '' OR s.institution_id = $2)
              AND ($3::uuid IS NULL OR s.statement_id < $3)
            ORDER BY s.statement_id DESC LIMIT $4""",
        county_code,
        institution_id,
        before,
        limit,
    )
    return [_held(row) for row in rows]


async def lines_of(
    session: AsyncSession, statement: Statement, numbers: Collection[int] | None = None
) -> list[Line]:
    """Lines that were posted: all, or those with some numbers."""
    rows = await database.fetch(
        session,
        """SELECT line_number, record_id, amount, cells FROM statement_line
           WHERE county_code = $1 AND statement_id = $2
             AND ($3::bigint[] IS NULL OR line_number = ANY($3::bigint[]))
           ORDER BY line_number""",
        statement.county_code,
        statement.statement_id,
        None if numbers is None else list(numbers),
    )
    return [Line(row["line_number"], row["record_id"], row["amount"], row["cells"]) for row in rows]


async def add_lines(
    session: AsyncSession, statement: Statement, lines: Sequence[Line], *, by: Who, on: date
) -> None:
    """Keep lines."""
    rows = [
        (line.line_number, line.record_id, line.amount, json.dumps(dict(line.cells)))
        for line in lines
    ]
    await database.execute(
        session,
        """INSERT INTO statement_line (county_code, statement_id, posted_by, posted_person,
                                       posted_on, line_number, record_id, amount, cells)
           SELECT $1, $2, $3, $4, $5, n.line_number, n.record_id, n.amount, n.cells::jsonb
           FROM unnest($6::bigint[], $7::text[], $8::bigint[], $9::text[])
               AS n (line_number, record_id, amount, cells)""",
        statement.county_code,
        statement.statement_id,
        by.institution_id,
        by.person_id,
        on,
        *database.columns(rows, 4),
    )


async def add_comparison(
    session: AsyncSession,
    statement: Statement,
    found: Comparison,
    money: Collection[Cause],
    *,
    by: Who,
    on: date,
) -> None:
    """Keep what was found, in its order."""
    await database.execute(
        session,
        """INSERT INTO statement_comparison (county_code, statement_id, agreeing, compared_by,
                                             compared_person, compared_on)
           VALUES ($1, $2, $3, $4, $5, $6)""",
        statement.county_code,
        statement.statement_id,
        found.agreeing,
        by.institution_id,
        by.person_id,
        on,
    )
    rows = [
        (
            each.record_id,
            each.line_number,
            each.cause,
            each.theirs_fen,
            each.ours_fen,
            each.theirs,
            each.ours,
            each.cause in money,
        )
        for each in found.differences
    ]
    await database.execute(
        session,
        """INSERT INTO statement_difference (county_code, statement_id, found_on, record_id,
                                             line_number, cause, theirs_fen, ours_fen, theirs,
                                             ours, touches_money)
           SELECT $1, $2, $3, n.* FROM unnest($4::text[], $5::bigint[], $6::text[], $7::bigint[],
                                              $8::bigint[], $9::text[], $10::text[],
                                              $11::boolean[]) AS n""",
        statement.county_code,
        statement.statement_id,
        on,
        *database.columns(rows, 8),
    )


_DIFFERENCES: Final = f"""
SELECT f.*, s.institution_id, w.round, w.resolution, w.reason, w.said_by, w.said_person, w.said_on,
       a.agrees, a.said_by AS confirmed_by, a.said_person AS confirmed_person,
       a.said_on AS confirmed_on, w.round IS NOT NULL AND a.agrees IS NOT FALSE AS spoken,
       {_RESOLVED} AS resolved
FROM statement_difference AS f
JOIN statement AS s USING (county_code, statement_id)
{_STATE}
"""  # noqa: S608 - own constants


def _kept(row: asyncpg.Record) -> Kept:
    state = DifferenceState.OPEN
    if row["resolved"]:
        state = DifferenceState.RESOLVED
    elif row["spoken"]:
        state = DifferenceState.PROPOSED
    said = row["resolution"]
    return Kept(
        number=row["number"],
        statement_id=row["statement_id"],
        institution_id=row["institution_id"],
        difference=Difference(
            record_id=row["record_id"],
            line_number=row["line_number"],
            cause=Cause(row["cause"]),
            theirs_fen=row["theirs_fen"],
            ours_fen=row["ours_fen"],
            theirs=row["theirs"],
            ours=row["ours"],
        ),
        touches_money=row["touches_money"],
        found_on=row["found_on"],
        state=state,
        round=row["round"] or 0,
        resolution=None if said is None else Resolution(said),
        reason=row["reason"] or "",
        resolved_by=None if said is None else Who(row["said_by"], row["said_person"]),
        resolved_on=row["said_on"],
        confirmed_by=Who(row["confirmed_by"], row["confirmed_person"]) if row["agrees"] else None,
        confirmed_on=row["confirmed_on"] if row["agrees"] else None,
    )


async def list_differences(
    session: AsyncSession,
    county_code: str,
    institution_id: str,
    *,
    statement_id: UUID | None,
    cause: Cause | None,
    unresolved: bool,
    after: int,
    limit: int,
) -> list[Kept]:
    """Differences, the oldest first, from a number on."""
    rows = await database.fetch(
        session,
        f"""{_DIFFERENCES}
            WHERE f.county_code = $1 AND f.number > $2 AND ($3 = '' OR s.institution_id = $3)
              AND ($4::uuid IS NULL OR f.statement_id = $4)
              AND ($5::text IS NULL OR f.cause = $5) AND (NOT $6 OR NOT {_RESOLVED})
            ORDER BY f.number LIMIT $7""",
        county_code,
        after,
        institution_id,
        statement_id,
        cause,
        unresolved,
        limit,
    )
    return [_kept(row) for row in rows]


async def find_difference(
    session: AsyncSession, county_code: str, institution_id: str, number: int
) -> Kept | None:
    """One difference, of an institution's list unless that is empty."""
    rows = await database.fetch(
        session,
        f"""{_DIFFERENCES}
            WHERE f.county_code = $1 AND f.number = $2 AND ($3 = '' OR s.institution_id = $3)""",
        county_code,
        number,
        institution_id,
    )
    return _kept(rows[0]) if rows else None


async def causes_of(
    session: AsyncSession, county_code: str, statement_id: UUID
) -> dict[Cause, int]:
    """How many differences of each cause were kept."""
    rows = await database.fetch(
        session,
        """SELECT cause, count(*) AS differences FROM statement_difference
           WHERE county_code = $1 AND statement_id = $2 GROUP BY cause""",
        county_code,
        statement_id,
    )
    return {Cause(row["cause"]): row["differences"] for row in rows}


async def posters(session: AsyncSession, county_code: str, statement_id: UUID) -> set[Who]:
    """Everybody who announced, posted or compared a list."""
    rows = await database.fetch(
        session,
        """SELECT started_by AS institution_id, started_person AS person_id FROM statement
           WHERE county_code = $1 AND statement_id = $2
           UNION SELECT posted_by, posted_person FROM statement_line
           WHERE county_code = $1 AND statement_id = $2
           UNION SELECT compared_by, compared_person FROM statement_comparison
           WHERE county_code = $1 AND statement_id = $2""",
        county_code,
        statement_id,
    )
    return {Who(row["institution_id"], row["person_id"]) for row in rows}


async def add_word(
    session: AsyncSession,
    county_code: str,
    kept: Kept,
    resolution: Resolution,
    *,
    reason: str,
    by: Who,
    on: date,
) -> None:
    """Keep what a person said of a difference."""
    await database.execute(
        session,
        """INSERT INTO statement_word (county_code, number, round, resolution, final, reason,
                                       said_by, said_person, said_on)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)""",
        county_code,
        kept.number,
        kept.round + 1,
        resolution,
        not kept.touches_money,
        reason,
        by.institution_id,
        by.person_id,
        on,
    )


async def add_agreement(
    session: AsyncSession,
    county_code: str,
    kept: Kept,
    *,
    agrees: bool,
    reason: str,
    by: Who,
    on: date,
) -> None:
    """Keep what a second person said of it."""
    await database.execute(
        session,
        """INSERT INTO statement_agreement (county_code, number, round, agrees, reason, said_by,
                                            said_person, said_on)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)""",
        county_code,
        kept.number,
        kept.round,
        agrees,
        reason,
        by.institution_id,
        by.person_id,
        on,
    )
