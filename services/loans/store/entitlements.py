"""Loans: SQL of entitlements and the steps taken with them."""

from collections.abc import Collection, Sequence
from dataclasses import astuple
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.money import Fen
from services.loans.rules.entitlements import Entitlement, Step


def _entitlement(row: asyncpg.Record) -> Entitlement:
    return Entitlement(
        entitlement_id=row["entitlement_id"],
        household_id=row["household_id"],
        loan_id=row["loan_id"],
        area_code=row["area_code"],
        lender_id=row["lender_id"],
        rule_version=row["rule_version"],
        programme_id=row["programme_id"],
        rule_id=row["rule_id"],
        kind=row["kind"],
        payer=row["payer"],
        amount_fen=Fen(row["amount_fen"]),
        effects=tuple(row["effects"].split(",")) if row["effects"] else (),
        once=row["once"],
        working=row["working"],
        due_on=row["due_on"],
        recorded_by=row["recorded_by"],
        state=row["state"],
        approved_on=row["approved_on"],
        approved_by=row["approved_by"],
        paid_on=row["paid_on"],
        paid_by=row["paid_by"],
        reference=row["reference"],
        reason=row["reason"],
        version=row["version"],
    )


async def had(
    session: AsyncSession, county_code: str, programme_id: str, household_ids: Collection[UUID]
) -> dict[UUID, set[str]]:
    """What households had of a programme, or are to have."""
    rows = await database.fetch(
        session,
        """SELECT household_id, rule_id FROM entitlement
           WHERE county_code = $1 AND programme_id = $2 AND household_id = ANY($3::uuid[])
             AND state <> 'withdrawn'""",
        county_code,
        programme_id,
        list(household_ids),
    )
    found: dict[UUID, set[str]] = {}
    for row in rows:
        found.setdefault(row["household_id"], set()).add(row["rule_id"])
    return found


async def add(session: AsyncSession, county_code: str, made: Sequence[Entitlement]) -> None:
    """Write what is due."""
    values = [
        (
            e.entitlement_id,
            e.household_id,
            e.loan_id,
            e.area_code,
            e.lender_id,
            e.rule_version,
            e.programme_id,
            e.rule_id,
            e.kind,
            e.payer,
            e.amount_fen,
            ",".join(e.effects),
            e.once,
            e.working,
            e.due_on,
            e.recorded_by,
        )
        for e in made
    ]
    await database.execute(
        session,
        """INSERT INTO entitlement (county_code, entitlement_id, household_id, loan_id, area_code,
               lender_id, rule_version, programme_id, rule_id, kind, payer, amount_fen, effects,
               once, working, due_on, recorded_by, state, version)
           SELECT $1, e.*, 'due', 1
           FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[],
                       $8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[],
                       $13::text[], $14::bool[], $15::text[], $16::date[], $17::text[]) AS e""",
        county_code,
        *database.columns(values, 16),
    )


async def lock(
    session: AsyncSession, county_code: str, entitlement_ids: Collection[UUID]
) -> dict[UUID, Entitlement]:
    """Entitlements by id, held in id order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM entitlement WHERE county_code = $1 AND entitlement_id = ANY($2::uuid[])
           ORDER BY entitlement_id FOR UPDATE""",
        county_code,
        list(entitlement_ids),
    )
    return {row["entitlement_id"]: _entitlement(row) for row in rows}


async def save(session: AsyncSession, county_code: str, changed: Sequence[Entitlement]) -> None:
    """Write what changed of entitlements that are held."""
    values = [
        (
            e.entitlement_id,
            e.state,
            e.approved_on,
            e.approved_by,
            e.paid_on,
            e.paid_by,
            e.reference,
            e.reason,
            e.version,
        )
        for e in changed
    ]
    await database.execute(
        session,
        """UPDATE entitlement AS o SET state = n.state, approved_on = n.approved_on,
               approved_by = n.approved_by, paid_on = n.paid_on, paid_by = n.paid_by,
               reference = n.reference, reason = n.reason, version = n.version
           FROM unnest($2::uuid[], $3::text[], $4::date[], $5::text[], $6::date[], $7::text[],
                       $8::text[], $9::text[], $10::bigint[])
                AS n (entitlement_id, state, approved_on, approved_by, paid_on, paid_by, reference,
                      reason, version)
           WHERE o.county_code = $1 AND o.entitlement_id = n.entitlement_id""",
        county_code,
        *database.columns(values, 9),
    )


async def add_steps(session: AsyncSession, county_code: str, steps: Sequence[Step]) -> None:
    """Write steps that were taken."""
    await database.execute(
        session,
        """INSERT INTO entitlement_step (county_code, entitlement_id, number, what, taken_on,
               institution_id, person_id, note)
           SELECT $1, * FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::date[], $6::text[],
                                    $7::text[], $8::text[])""",
        county_code,
        *database.columns([astuple(step) for step in steps], 7),
    )


async def steps_of(session: AsyncSession, county_code: str, entitlement_id: UUID) -> list[Step]:
    """The steps of an entitlement, in order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM entitlement_step WHERE county_code = $1 AND entitlement_id = $2
           ORDER BY number""",
        county_code,
        entitlement_id,
    )
    return [
        Step(
            row["entitlement_id"],
            row["number"],
            row["what"],
            row["taken_on"],
            row["institution_id"],
            row["person_id"],
            row["note"],
        )
        for row in rows
    ]


async def listed(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    lender_id: str,
    entitlement_id: UUID | None = None,
    household_id: UUID | None = None,
    state: str = "",
    payer: str = "",
    after: UUID | None = None,
    limit: int = 1,
) -> list[Entitlement]:
    """Entitlements within areas, of one lender's loans or all, in id order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM entitlement AS e WHERE county_code = $1
             AND EXISTS (SELECT FROM unnest($2::text[]) AS a (code)
                         WHERE starts_with(e.area_code, a.code))
             AND ($3 = '' OR lender_id = $3) AND ($4::uuid IS NULL OR entitlement_id = $4)
             AND ($5::uuid IS NULL OR household_id = $5)
             AND ($6 = '' OR state = $6) AND ($7 = '' OR payer = $7)
             AND ($8::uuid IS NULL OR entitlement_id > $8)
           ORDER BY entitlement_id LIMIT $9""",
        county_code,
        list(areas),
        lender_id,
        entitlement_id,
        household_id,
        state,
        payer,
        after,
        limit,
    )
    return [_entitlement(row) for row in rows]
