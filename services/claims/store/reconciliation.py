"""Claims: SQL of statements, of what we have beside them, and of differences."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import Actor
from services.claims.rules.reconciliation import (
    Cause,
    Comparison,
    Difference,
    Kind,
    Line,
    Record,
    Resolution,
    Statement,
)
from services.kernel import database
from services.kernel.money import Fen


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A statement, and how far its reconciliation is."""

    statement: Statement
    posted_lines: int
    posted_fen: int
    compared_on: date | None
    agreeing: int
    differences: int
    unresolved: int


@dataclass(frozen=True, slots=True)
class KeptDifference:
    """A difference with its number, its statement and what became of it."""

    number: int
    reconciliation_id: UUID
    institution_id: str
    difference: Difference
    found_on: date
    resolution: Resolution | None
    reason: str
    resolved_by: str
    resolved_on: date | None


async def alone(session: AsyncSession, county_code: str, name: str) -> None:
    """One at a time announces, posts or compares one statement."""
    await database.execute(
        session,
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
        f"claims.reconciliation:{county_code}:{name}",
    )


def _statement(row: asyncpg.Record) -> Statement:
    return Statement(
        county_code=row["county_code"],
        reconciliation_id=row["reconciliation_id"],
        institution_id=row["institution_id"],
        kind=Kind(row["kind"]),
        reference=row["reference"],
        from_date=row["from_date"],
        until_date=row["until_date"],
        stated_lines=row["stated_lines"],
        stated_fen=row["stated_fen"],
        started_by=Actor(row["started_by"], row["started_person"]),
        started_on=row["started_on"],
    )


async def find_by_reference(session: AsyncSession, asked: Statement) -> Statement | None:
    """The statement that an institution announced under a reference."""
    rows = await database.fetch(
        session,
        """SELECT * FROM reconciliation
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
        """INSERT INTO reconciliation (county_code, reconciliation_id, institution_id, kind,
                                       reference, from_date, until_date, stated_lines, stated_fen,
                                       started_by, started_person, started_on)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)""",
        statement.county_code,
        statement.reconciliation_id,
        statement.institution_id,
        statement.kind,
        statement.reference,
        statement.from_date,
        statement.until_date,
        statement.stated_lines,
        statement.stated_fen,
        statement.started_by.institution_id,
        statement.started_by.person_id,
        statement.started_on,
    )


_RECONCILIATIONS: Final = """
SELECT r.*, p.posted_lines, p.posted_fen, c.compared_on, coalesce(c.agreeing, 0) AS agreeing,
       d.differences, d.unresolved
FROM reconciliation AS r
LEFT JOIN reconciliation_comparison AS c USING (county_code, reconciliation_id)
CROSS JOIN LATERAL (
    SELECT count(*) AS posted_lines, coalesce(sum(l.amount_fen), 0)::bigint AS posted_fen
    FROM statement_line AS l
    WHERE l.county_code = r.county_code AND l.reconciliation_id = r.reconciliation_id
) AS p
CROSS JOIN LATERAL (
    SELECT count(*) AS differences, count(*) FILTER (WHERE s.number IS NULL) AS unresolved
    FROM reconciliation_difference AS f
    LEFT JOIN difference_resolution AS s USING (county_code, number)
    WHERE f.county_code = r.county_code AND f.reconciliation_id = r.reconciliation_id
) AS d
"""


def _reconciliation(row: asyncpg.Record) -> Reconciliation:
    return Reconciliation(
        statement=_statement(row),
        posted_lines=row["posted_lines"],
        posted_fen=row["posted_fen"],
        compared_on=row["compared_on"],
        agreeing=row["agreeing"],
        differences=row["differences"],
        unresolved=row["unresolved"],
    )


async def find(
    session: AsyncSession, county_code: str, institution_id: str, reconciliation_id: UUID
) -> Reconciliation | None:
    """One reconciliation, of an institution unless that is empty."""
    rows = await database.fetch(
        session,
        f"""{_RECONCILIATIONS}
            WHERE r.county_code = $1 AND r.reconciliation_id = $2
              AND ($3 = '' OR r.institution_id = $3)""",
        county_code,
        reconciliation_id,
        institution_id,
    )
    return _reconciliation(rows[0]) if rows else None


async def list_reconciliations(
    session: AsyncSession,
    county_code: str,
    institution_id: str,
    *,
    before: UUID | None,
    limit: int,
) -> list[Reconciliation]:
    """Reconciliations, the latest first."""
    rows = await database.fetch(
        session,
        f"""{_RECONCILIATIONS}
            WHERE r.county_code = $1 AND ($2 = '' OR r.institution_id = $2)
              AND ($3::uuid IS NULL OR r.reconciliation_id < $3)
            ORDER BY r.reconciliation_id DESC LIMIT $4""",
        county_code,
        institution_id,
        before,
        limit,
    )
    return [_reconciliation(row) for row in rows]


def _line(row: asyncpg.Record) -> Line:
    return Line(
        line_number=row["line_number"],
        record_id=row["record_id"],
        amount_fen=Fen(row["amount_fen"]),
        value_date=row["value_date"],
        state=row["state"],
        payee_id=row["payee_id"],
    )


async def lines_of(
    session: AsyncSession, statement: Statement, numbers: Collection[int] | None = None
) -> list[Line]:
    """Lines that were posted: all, or those with some numbers."""
    rows = await database.fetch(
        session,
        """SELECT * FROM statement_line
           WHERE county_code = $1 AND reconciliation_id = $2
             AND ($3::bigint[] IS NULL OR line_number = ANY($3::bigint[]))
           ORDER BY line_number""",
        statement.county_code,
        statement.reconciliation_id,
        None if numbers is None else list(numbers),
    )
    return [_line(row) for row in rows]


async def add_lines(
    session: AsyncSession, statement: Statement, lines: Sequence[Line], *, by: Actor, on: date
) -> None:
    """Keep lines."""
    rows = [
        (
            statement.county_code,
            statement.reconciliation_id,
            line.line_number,
            line.record_id,
            line.amount_fen,
            line.value_date,
            line.state,
            line.payee_id,
            by.institution_id,
            by.person_id,
            on,
        )
        for line in lines
    ]
    if rows:
        await database.execute(
            session,
            """INSERT INTO statement_line (county_code, reconciliation_id, line_number, record_id,
                                           amount_fen, value_date, state, payee_id, posted_by,
                                           posted_person, posted_on)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::text[], $5::bigint[],
                                    $6::date[], $7::text[], $8::text[], $9::text[], $10::text[],
                                    $11::date[])""",
            *database.columns(rows, 11),
        )


# What we have of each kind. $2 is the institution, $3 and $4 the days, $5 what the lines name.
_OURS: Final[Mapping[Kind, str]] = {
    Kind.POLICIES: """
        SELECT p.policy_id AS id, coalesce(g.premium_fen, 0)::bigint AS amount_fen,
               p.from_date AS value_date, '' AS payee_id,
               CASE WHEN p.until_date >= $4 THEN 'in_force' ELSE 'ended' END AS state
        FROM master_policy AS p
        LEFT JOIN (SELECT policy_id, sum(amount_fen) AS premium_fen FROM premium_charge
                   WHERE county_code = $1 AND value_date <= $4
                   GROUP BY policy_id) AS g USING (policy_id)
        WHERE p.county_code = $1 AND p.insurer_id = $2
          AND (p.from_date BETWEEN $3 AND $4 OR p.policy_id = ANY($5::uuid[]))""",
    Kind.INSURED: """
        SELECT i.insured_id AS id, coalesce(g.premium_fen, 0)::bigint AS amount_fen,
               i.from_date AS value_date, '' AS payee_id,
               CASE WHEN i.until_date >= $4 THEN 'in_force' ELSE 'ended' END AS state
        FROM insured AS i
        JOIN master_policy AS p USING (county_code, policy_id)
        LEFT JOIN (SELECT insured_id, sum(amount_fen) AS premium_fen FROM premium_charge
                   WHERE county_code = $1 AND value_date <= $4 AND insured_id IS NOT NULL
                   GROUP BY insured_id) AS g USING (insured_id)
        WHERE i.county_code = $1 AND p.insurer_id = $2 AND i.state <> 'cancelled'
          AND (i.from_date BETWEEN $3 AND $4 OR i.insured_id = ANY($5::uuid[]))""",
    Kind.CLAIMS: """
        SELECT c.claim_id AS id, c.loss_date AS value_date, '' AS payee_id,
               CASE WHEN s.state = 'approved' THEN s.payable_fen ELSE 0 END AS amount_fen,
               s.state
        FROM claim AS c
        CROSS JOIN LATERAL (
            -- As it was at the end of the statement's last day.
            SELECT p.state, p.payable_fen FROM claim_step AS p
            WHERE p.county_code = c.county_code AND p.claim_id = c.claim_id
              AND p.happened_on <= $4 ORDER BY p.step DESC LIMIT 1
        ) AS s
        WHERE c.county_code = $1 AND c.insurer_id = $2 AND c.taken_in
          AND (c.loss_date BETWEEN $3 AND $4 OR c.claim_id = ANY($5::uuid[]))""",
    Kind.PAYOUTS: """
        SELECT payout_id AS id, amount_fen, value_date, household_id::text AS payee_id, state
        FROM payout
        WHERE county_code = $1 AND insurer_id = $2
          AND (value_date BETWEEN $3 AND $4 OR payout_id = ANY($5::uuid[]))""",
    Kind.PAYMENTS: """
        SELECT instruction_id AS id, confirmed_value_date AS value_date, payee_id, state,
               CASE state WHEN 'confirmed' THEN confirmed_fen ELSE amount_fen END AS amount_fen
        FROM instruction
        WHERE county_code = $1
          AND (insurer_id = $2 OR (payee_kind = 'lender' AND payee_id = $2))
          AND (confirmed_value_date BETWEEN $3 AND $4 OR instruction_id = ANY($5::uuid[]))""",
}


async def ours(
    session: AsyncSession, statement: Statement, named: Collection[UUID]
) -> dict[str, Record]:
    """What we have of the statement's kind and days, and what its lines name, by id."""
    rows = await database.fetch(
        session,
        _OURS[statement.kind],
        statement.county_code,
        statement.institution_id,
        statement.from_date,
        statement.until_date,
        list(named),
    )
    return {
        str(row["id"]): Record(
            record_id=str(row["id"]),
            amount_fen=Fen(row["amount_fen"]),
            value_date=row["value_date"],
            state=row["state"],
            payee_id=row["payee_id"],
        )
        for row in rows
    }


async def add_comparison(
    session: AsyncSession, statement: Statement, found: Comparison, *, by: Actor, on: date
) -> None:
    """Keep what was found, in its order."""
    await database.execute(
        session,
        """INSERT INTO reconciliation_comparison (county_code, reconciliation_id, agreeing,
                                                  compared_by, compared_person, compared_on)
           VALUES ($1, $2, $3, $4, $5, $6)""",
        statement.county_code,
        statement.reconciliation_id,
        found.agreeing,
        by.institution_id,
        by.person_id,
        on,
    )
    rows = [
        (
            statement.county_code,
            statement.reconciliation_id,
            each.record_id,
            each.line_number,
            each.cause,
            each.theirs_fen,
            each.ours_fen,
            each.theirs,
            each.ours,
            on,
        )
        for each in found.differences
    ]
    if rows:
        await database.execute(
            session,
            """INSERT INTO reconciliation_difference (county_code, reconciliation_id, record_id,
                                                      line_number, cause, theirs_fen, ours_fen,
                                                      theirs, ours, found_on)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[], $5::text[],
                                    $6::bigint[], $7::bigint[], $8::text[], $9::text[],
                                    $10::date[])""",
            *database.columns(rows, 10),
        )


_DIFFERENCES: Final = """
SELECT d.*, r.institution_id, s.resolution, s.reason, s.resolved_person, s.resolved_on
FROM reconciliation_difference AS d
JOIN reconciliation AS r USING (county_code, reconciliation_id)
LEFT JOIN difference_resolution AS s USING (county_code, number)
"""


def _difference(row: asyncpg.Record) -> KeptDifference:
    said = row["resolution"]
    return KeptDifference(
        number=row["number"],
        reconciliation_id=row["reconciliation_id"],
        institution_id=row["institution_id"],
        difference=Difference(
            record_id=row["record_id"],
            line_number=row["line_number"],
            cause=Cause(row["cause"]),
            theirs_fen=Fen(row["theirs_fen"]),
            ours_fen=Fen(row["ours_fen"]),
            theirs=row["theirs"],
            ours=row["ours"],
        ),
        found_on=row["found_on"],
        resolution=None if said is None else Resolution(said),
        reason=row["reason"] or "",
        resolved_by=row["resolved_person"] or "",
        resolved_on=row["resolved_on"],
    )


async def list_differences(
    session: AsyncSession,
    county_code: str,
    institution_id: str,
    *,
    reconciliation_id: UUID | None,
    cause: Cause | None,
    unresolved: bool,
    after: int,
    limit: int,
) -> list[KeptDifference]:
    """Differences, the oldest first, from a number on."""
    rows = await database.fetch(
        session,
        f"""{_DIFFERENCES}
            WHERE d.county_code = $1 AND d.number > $2 AND ($3 = '' OR r.institution_id = $3)
              AND ($4::uuid IS NULL OR d.reconciliation_id = $4)
              AND ($5::text IS NULL OR d.cause = $5) AND (NOT $6 OR s.number IS NULL)
            ORDER BY d.number LIMIT $7""",
        county_code,
        after,
        institution_id,
        reconciliation_id,
        cause,
        unresolved,
        limit,
    )
    return [_difference(row) for row in rows]


async def causes_of(
    session: AsyncSession, county_code: str, reconciliation_id: UUID
) -> dict[Cause, int]:
    """How many differences of each cause were kept."""
    rows = await database.fetch(
        session,
        """SELECT cause, count(*) AS differences FROM reconciliation_difference
           WHERE county_code = $1 AND reconciliation_id = $2 GROUP BY cause""",
        county_code,
        reconciliation_id,
    )
    return {Cause(row["cause"]): row["differences"] for row in rows}


async def find_difference(
    session: AsyncSession, county_code: str, institution_id: str, number: int
) -> KeptDifference | None:
    """One difference, of an institution's statement unless that is empty."""
    rows = await database.fetch(
        session,
        f"""{_DIFFERENCES}
            WHERE d.county_code = $1 AND d.number = $2 AND ($3 = '' OR r.institution_id = $3)""",
        county_code,
        number,
        institution_id,
    )
    return _difference(rows[0]) if rows else None


async def posters(session: AsyncSession, county_code: str, reconciliation_id: UUID) -> set[Actor]:
    """Everybody who announced, posted or compared a statement."""
    rows = await database.fetch(
        session,
        """SELECT started_by AS institution_id, started_person AS person_id FROM reconciliation
           WHERE county_code = $1 AND reconciliation_id = $2
           UNION SELECT posted_by, posted_person FROM statement_line
           WHERE county_code = $1 AND reconciliation_id = $2
           UNION SELECT compared_by, compared_person FROM reconciliation_comparison
           WHERE county_code = $1 AND reconciliation_id = $2""",
        county_code,
        reconciliation_id,
    )
    return {Actor(row["institution_id"], row["person_id"]) for row in rows}


async def add_resolution(
    session: AsyncSession,
    county_code: str,
    number: int,
    resolution: Resolution,
    *,
    reason: str,
    by: Actor,
    on: date,
) -> None:
    """Keep what a person said of a difference."""
    await database.execute(
        session,
        """INSERT INTO difference_resolution (county_code, number, resolution, reason, resolved_by,
                                              resolved_person, resolved_on)
           VALUES ($1, $2, $3, $4, $5, $6, $7)""",
        county_code,
        number,
        resolution,
        reason,
        by.institution_id,
        by.person_id,
        on,
    )
