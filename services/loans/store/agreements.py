"""Loans: SQL of what is agreed anew: extensions, new terms, renewals, interest forgiven."""

from collections.abc import Collection, Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.money import Fen
from services.loans.rules.schedule import Method, Plan


def _plan(row: asyncpg.Record) -> Plan:
    return Plan(
        kind=row["kind"],
        made_on=row["made_on"],
        starts_on=row["starts_on"],
        principal_fen=Fen(row["principal_fen"]),
        term_months=row["term_months"],
        method=Method(row["method"]),
        rate_ppm=row["rate_ppm"],
        matures_on=row["matures_on"],
        reason=row["reason"],
    )


async def plans_of(
    session: AsyncSession, county_code: str, loan_ids: Collection[UUID]
) -> dict[UUID, Plan]:
    """The last agreement of each loan that has one."""
    rows = await database.fetch(
        session,
        """SELECT DISTINCT ON (loan_id) * FROM agreement
           WHERE county_code = $1 AND loan_id = ANY($2::uuid[])
           ORDER BY loan_id, agreement_id DESC""",
        county_code,
        list(loan_ids),
    )
    return {row["loan_id"]: _plan(row) for row in rows}


async def history(session: AsyncSession, county_code: str, loan_id: UUID) -> list[Plan]:
    """Every agreement of a loan, in order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM agreement WHERE county_code = $1 AND loan_id = $2
           ORDER BY agreement_id""",
        county_code,
        loan_id,
    )
    return [_plan(row) for row in rows]


async def add(
    session: AsyncSession, county_code: str, loan_id: UUID, plan: Plan, person_id: str
) -> None:
    """Write an agreement."""
    await database.execute(
        session,
        """INSERT INTO agreement (county_code, loan_id, kind, made_on, starts_on, principal_fen,
                                  term_months, method, rate_ppm, matures_on, reason, person_id)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)""",
        county_code,
        loan_id,
        plan.kind,
        plan.made_on,
        plan.starts_on,
        plan.principal_fen,
        plan.term_months,
        plan.method,
        plan.rate_ppm,
        plan.matures_on,
        plan.reason,
        person_id,
    )


async def add_renewal(
    session: AsyncSession,
    county_code: str,
    *,
    loan_id: UUID,
    renewed_loan_id: UUID,
    on: date,
    conditions: Sequence[str],
    evidence: str,
    person_id: str,
) -> None:
    """Write that a loan renews another."""
    await database.execute(
        session,
        """INSERT INTO renewal (county_code, loan_id, renewed_loan_id, renewed_on, conditions,
                                evidence, person_id) VALUES ($1, $2, $3, $4, $5, $6, $7)""",
        county_code,
        loan_id,
        renewed_loan_id,
        on,
        ",".join(conditions),
        evidence,
        person_id,
    )


async def renewed_by(
    session: AsyncSession, county_code: str, loan_id: UUID
) -> tuple[UUID | None, UUID | None]:
    """The loan that this one renewed, and the loan that renewed this one."""
    rows = await database.fetch(
        session,
        """SELECT (SELECT renewed_loan_id FROM renewal WHERE county_code = $1 AND loan_id = $2)
                      AS before,
                  (SELECT loan_id FROM renewal WHERE county_code = $1 AND renewed_loan_id = $2)
                      AS after""",
        county_code,
        loan_id,
    )
    return rows[0]["before"], rows[0]["after"]


async def forgiven(session: AsyncSession, county_code: str, loan_id: UUID) -> dict[str, bool]:
    """Causes for which interest was forgiven, each with whether repayment became flexible."""
    rows = await database.fetch(
        session,
        "SELECT cause, flexible FROM interest_forgiven WHERE county_code = $1 AND loan_id = $2",
        county_code,
        loan_id,
    )
    return {row["cause"]: row["flexible"] for row in rows}


async def add_forgiven(
    session: AsyncSession,
    county_code: str,
    loan_id: UUID,
    *,
    cause: str,
    stage: str,
    on: date,
    amount_fen: Fen,
    flexible: bool,
    evidence: str,
    person_id: str,
) -> None:
    """Write that interest was forgiven, once for each cause."""
    await database.execute(
        session,
        """INSERT INTO interest_forgiven (county_code, loan_id, cause, stage, forgiven_on,
                                          amount_fen, flexible, evidence, person_id)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)""",
        county_code,
        loan_id,
        cause,
        stage,
        on,
        amount_fen,
        flexible,
        evidence,
        person_id,
    )
