"""Loans: SQL of collection cases and write-offs."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database, ids
from services.kernel.money import Fen
from services.loans.model import CollectionCase, CollectionStep, WriteOff


def _case(row: asyncpg.Record) -> CollectionCase:
    return CollectionCase(
        case_id=row["case_id"],
        loan_id=row["loan_id"],
        household_id=row["household_id"],
        lender_id=row["lender_id"],
        area_code=row["area_code"],
        cause=row["cause"],
        opened_on=row["opened_on"],
        due_class=row["due_class"],
        actions=tuple(row["actions"].split(",")) if row["actions"] else (),
        organ=row["organ"],
        at_court=row["at_court"],
        closed_on=row["closed_on"],
        outcome=row["outcome"],
        steps=row["steps"],
    )


async def open_cases(
    session: AsyncSession, county_code: str, cases: Sequence[CollectionCase]
) -> list[CollectionCase]:
    """Open cases; those of loans that had none open. A loan has one at a time."""
    if not cases:
        return []
    values = [
        (
            county_code,
            c.case_id,
            c.loan_id,
            c.household_id,
            c.lender_id,
            c.area_code,
            c.cause,
            c.due_class,
            ",".join(c.actions),
            c.opened_on,
        )
        for c in cases
    ]
    rows = await database.fetch(
        session,
        """INSERT INTO collection_case (county_code, case_id, loan_id, household_id, lender_id,
                                        area_code, cause, due_class, actions, opened_on)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[],
                                $6::text[], $7::text[], $8::text[], $9::text[], $10::date[])
           ON CONFLICT (county_code, loan_id) WHERE closed_on IS NULL DO NOTHING RETURNING *""",
        *database.columns(values, 10),
    )
    return [_case(row) for row in rows]


async def lock_case(
    session: AsyncSession, county_code: str, case_id: UUID
) -> CollectionCase | None:
    """One case, held."""
    rows = await database.fetch(
        session,
        "SELECT * FROM collection_case WHERE county_code = $1 AND case_id = $2 FOR UPDATE",
        county_code,
        case_id,
    )
    return _case(rows[0]) if rows else None


async def find_case(
    session: AsyncSession, county_code: str, case_id: UUID
) -> CollectionCase | None:
    """One case, not held."""
    rows = await database.fetch(
        session,
        "SELECT * FROM collection_case WHERE county_code = $1 AND case_id = $2",
        county_code,
        case_id,
    )
    return _case(rows[0]) if rows else None


async def save_case(session: AsyncSession, county_code: str, case: CollectionCase) -> None:
    """Write what changed of a case that is held."""
    await database.execute(
        session,
        """UPDATE collection_case SET organ = $3, at_court = $4, closed_on = $5, outcome = $6,
                                      steps = $7
           WHERE county_code = $1 AND case_id = $2""",
        county_code,
        case.case_id,
        case.organ,
        case.at_court,
        case.closed_on,
        case.outcome,
        case.steps,
    )


async def add_step(
    session: AsyncSession, county_code: str, case_id: UUID, step: CollectionStep
) -> None:
    """Write a step of a case."""
    await database.execute(
        session,
        """INSERT INTO collection_step (county_code, case_id, number, kind, done_on, organ, note,
                                        person_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)""",
        county_code,
        case_id,
        step.number,
        step.kind,
        step.done_on,
        step.organ,
        step.note,
        step.person_id,
    )


async def steps_of(session: AsyncSession, county_code: str, case_id: UUID) -> list[CollectionStep]:
    """The steps of a case, in order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM collection_step WHERE county_code = $1 AND case_id = $2
           ORDER BY number""",
        county_code,
        case_id,
    )
    return [
        CollectionStep(
            row["number"],
            row["kind"],
            row["done_on"],
            row["organ"],
            row["note"],
            row["person_id"],
        )
        for row in rows
    ]


async def list_cases(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    lender_id: str,
    loan_id: UUID | None,
    open_only: bool,
    start: int,
    limit: int,
) -> list[CollectionCase]:
    """Cases within areas, of one lender or all, in order of opening."""
    rows = await database.fetch(
        session,
        """SELECT * FROM collection_case AS c WHERE county_code = $1
             AND EXISTS (SELECT FROM unnest($2::text[]) AS a (code)
                         WHERE starts_with(c.area_code, a.code))
             AND ($3 = '' OR lender_id = $3) AND ($4::uuid IS NULL OR loan_id = $4)
             AND ($5 IS FALSE OR closed_on IS NULL)
           ORDER BY opened_on, case_id OFFSET $6 LIMIT $7""",
        county_code,
        list(areas),
        lender_id,
        loan_id,
        open_only,
        start,
        limit,
    )
    return [_case(row) for row in rows]


async def close_settled_cases(
    session: AsyncSession, county_code: str, day: date
) -> list[CollectionCase]:
    """Close the cases of loans that are settled."""
    rows = await database.fetch(
        session,
        """UPDATE collection_case AS c SET closed_on = $2, outcome = 'settled'
           FROM loan AS l WHERE c.county_code = $1 AND c.closed_on IS NULL
             AND l.county_code = c.county_code AND l.loan_id = c.loan_id AND l.state = 'settled'
           RETURNING c.*""",
        county_code,
        day,
    )
    return [_case(row) for row in rows]


# --- write-offs -----------------------------------------------------------------------------------


def _write_off(row: asyncpg.Record) -> WriteOff:
    return WriteOff(
        row["write_off_id"],
        row["loan_id"],
        row["reason"],
        row["proposed_by"],
        row["proposed_on"],
        row["decided_by"],
        row["decided_on"],
        row["approved"],
        Fen(row["principal_fen"]),
        Fen(row["interest_fen"]),
    )


async def propose_write_off(
    session: AsyncSession, county_code: str, loan_id: UUID, *, reason: str, person_id: str, on: date
) -> WriteOff | None:
    """Write a proposal; None when one is open already."""
    rows = await database.fetch(
        session,
        """INSERT INTO write_off (county_code, write_off_id, loan_id, reason, proposed_by,
                                  proposed_on) VALUES ($1, $2, $3, $4, $5, $6)
           ON CONFLICT (county_code, loan_id) WHERE decided_on IS NULL DO NOTHING RETURNING *""",
        county_code,
        ids.new_id(),
        loan_id,
        reason,
        person_id,
        on,
    )
    return _write_off(rows[0]) if rows else None


async def lock_write_off(
    session: AsyncSession, county_code: str, write_off_id: UUID
) -> WriteOff | None:
    """One write-off, held."""
    rows = await database.fetch(
        session,
        "SELECT * FROM write_off WHERE county_code = $1 AND write_off_id = $2 FOR UPDATE",
        county_code,
        write_off_id,
    )
    return _write_off(rows[0]) if rows else None


async def decide_write_off(session: AsyncSession, county_code: str, decided: WriteOff) -> None:
    """Write how a write-off was decided."""
    await database.execute(
        session,
        """UPDATE write_off SET decided_by = $3, decided_on = $4, approved = $5,
                                principal_fen = $6, interest_fen = $7
           WHERE county_code = $1 AND write_off_id = $2""",
        county_code,
        decided.write_off_id,
        decided.decided_by,
        decided.decided_on,
        decided.approved,
        decided.principal_fen,
        decided.interest_fen,
    )
