"""Claims: SQL of master policies, of their insured lists and of assignments."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import (
    Actor,
    ApprovedLoan,
    InsuredEntry,
    MasterPolicy,
    Standing,
)
from services.kernel import database
from services.kernel.money import Fen


async def hold_policies(session: AsyncSession, counties: Sequence[str]) -> None:
    """Let no policy of these counties be issued until this transaction ends."""
    await database.fetch(
        session,
        """SELECT pg_advisory_xact_lock_shared(hashtext('liandong-claims-policies'), hashtext(c))
           FROM (SELECT unnest($1::text[]) AS c ORDER BY c) AS counties""",
        sorted(set(counties)),
    )


async def hold_policies_alone(session: AsyncSession, county_code: str) -> None:
    """Let no loan join a list of this county, and no other policy be issued, meanwhile."""
    await database.fetch(
        session,
        "SELECT pg_advisory_xact_lock(hashtext('liandong-claims-policies'), hashtext($1))",
        county_code,
    )


def _policy(row: asyncpg.Record) -> MasterPolicy:
    return MasterPolicy(
        county_code=row["county_code"],
        policy_id=row["policy_id"],
        insurer_id=row["insurer_id"],
        programme_id=row["programme_id"],
        programme=row["programme"],
        cover_id=row["cover_id"],
        from_date=row["from_date"],
        until_date=row["until_date"],
    )


async def overlapping_policies(session: AsyncSession, policy: MasterPolicy) -> list[MasterPolicy]:
    """Policies of the same county, programme and cover with a day in common."""
    rows = await database.fetch(
        session,
        """SELECT * FROM master_policy
           WHERE county_code = $1 AND programme_id = $2 AND cover_id = $3
             AND from_date <= $5 AND until_date >= $4""",
        policy.county_code,
        policy.programme_id,
        policy.cover_id,
        policy.from_date,
        policy.until_date,
    )
    return [_policy(row) for row in rows]


async def add_policy(
    session: AsyncSession, policy: MasterPolicy, *, issuer: Actor, on: date
) -> None:
    """Keep a new policy."""
    await database.execute(
        session,
        """INSERT INTO master_policy (county_code, policy_id, insurer_id, programme_id, programme,
                                      cover_id, from_date, until_date, issued_by, issued_person,
                                      issued_on)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)""",
        policy.county_code,
        policy.policy_id,
        policy.insurer_id,
        policy.programme_id,
        policy.programme,
        policy.cover_id,
        policy.from_date,
        policy.until_date,
        issuer.institution_id,
        issuer.person_id,
        on,
    )


PolicyKey = tuple[str, str, str, date]
"""County, programme id, cover and day."""


async def policies_on(
    session: AsyncSession, keys: Sequence[PolicyKey]
) -> dict[PolicyKey, MasterPolicy]:
    """The policy that covers each key's day, where there is one."""
    rows = await database.fetch(
        session,
        """SELECT p.*, asked.on_date
           FROM unnest($1::text[], $2::text[], $3::text[], $4::date[])
                AS asked (county_code, programme_id, cover_id, on_date)
           JOIN master_policy AS p USING (county_code, programme_id, cover_id)
           WHERE asked.on_date BETWEEN p.from_date AND p.until_date""",
        *database.columns(sorted(set(keys)), 4),
    )
    return {
        (row["county_code"], row["programme_id"], row["cover_id"], row["on_date"]): _policy(row)
        for row in rows
    }


async def add_awaited(session: AsyncSession, awaited: Sequence[tuple[ApprovedLoan, str]]) -> None:
    """Note the covers that loans wait for."""
    rows = [(loan.county_code, loan.loan_id, loan.programme_id, cover) for loan, cover in awaited]
    if rows:
        await database.execute(
            session,
            """INSERT INTO awaited_cover (county_code, loan_id, programme_id, cover_id)
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[])""",
            *database.columns(rows, 4),
        )


async def take_awaited(
    session: AsyncSession, county_code: str, on: date, *, rows_max: int
) -> list[tuple[ApprovedLoan, MasterPolicy]]:
    """Waiting loans whose policy covers the day; they wait no more."""
    rows = await database.fetch(
        session,
        """WITH met AS (
               SELECT a.county_code, a.loan_id, a.cover_id, p.policy_id
               FROM awaited_cover AS a
               JOIN master_policy AS p USING (county_code, programme_id, cover_id)
               WHERE a.county_code = $1 AND $2 BETWEEN p.from_date AND p.until_date
               ORDER BY a.loan_id, a.cover_id LIMIT $3
           ), gone AS (
               DELETE FROM awaited_cover AS a USING met
               WHERE a.county_code = met.county_code AND a.loan_id = met.loan_id
                 AND a.cover_id = met.cover_id
               RETURNING a.county_code, a.loan_id, met.policy_id
           )
           SELECT p.*, l.loan_id, l.household_id, l.area_code, l.lender_id, l.principal_fen,
                  l.programme AS loan_programme, l.assignment_evidence, l.required_covers,
                  l.approved_on
           FROM gone JOIN loan AS l USING (county_code, loan_id)
           JOIN master_policy AS p USING (county_code, policy_id)
           ORDER BY l.loan_id, p.cover_id""",
        county_code,
        on,
        rows_max,
    )
    return [(_awaiting_loan(row), _policy(row)) for row in rows]


def _awaiting_loan(row: asyncpg.Record) -> ApprovedLoan:
    return ApprovedLoan(
        county_code=row["county_code"],
        loan_id=row["loan_id"],
        household_id=row["household_id"],
        area_code=row["area_code"],
        lender_id=row["lender_id"],
        principal_fen=Fen(row["principal_fen"]),
        programme=row["loan_programme"],
        assignment_evidence=row["assignment_evidence"],
        required_covers=tuple(row["required_covers"]),
        approved_on=row["approved_on"],
    )


async def add_insured(session: AsyncSession, entries: Sequence[InsuredEntry]) -> None:
    """Put entries on their policies' insured lists."""
    rows = [
        (
            entry.county_code,
            entry.insured_id,
            entry.policy_id,
            entry.household_id,
            entry.loan_id,
            entry.cover_id,
            entry.sum_insured_fen,
            entry.premium_fen,
            entry.premium_payer_id,
            entry.from_date,
            entry.until_date,
        )
        for entry in entries
    ]
    await database.execute(
        session,
        """INSERT INTO insured (county_code, insured_id, policy_id, household_id, loan_id,
                                cover_id, sum_insured_fen, premium_fen, premium_payer_id,
                                from_date, until_date)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[],
                                $6::text[], $7::bigint[], $8::bigint[], $9::text[], $10::date[],
                                $11::date[])""",
        *database.columns(rows, 11),
    )


CoverOf = tuple[UUID, str]
"""A household and a cover."""


async def standings(
    session: AsyncSession, county_code: str, asked: Sequence[CoverOf]
) -> dict[CoverOf, list[Standing]]:
    """Every insured entry of households under covers, with what stands around it."""
    rows = await database.fetch(
        session,
        """SELECT i.*, p.insurer_id, p.programme, coalesce(l.lender_id, '') AS lender_id,
                  l.approved_on, coalesce(l.state = 'approved', false) AS loan_open,
                  coalesce(h.area_code, l.area_code) AS area_code
           FROM unnest($2::uuid[], $3::text[]) AS asked (household_id, cover_id)
           JOIN insured AS i ON i.county_code = $1 AND i.household_id = asked.household_id
                            AND i.cover_id = asked.cover_id
           JOIN master_policy AS p ON p.county_code = $1 AND p.policy_id = i.policy_id
           LEFT JOIN loan AS l ON l.county_code = $1 AND l.loan_id = i.loan_id
           LEFT JOIN household AS h ON h.county_code = $1 AND h.household_id = i.household_id""",
        county_code,
        *database.columns(sorted(set(asked)), 2),
    )
    found: dict[CoverOf, list[Standing]] = {}
    for row in rows:
        standing = Standing(
            entry=InsuredEntry(
                county_code=row["county_code"],
                insured_id=row["insured_id"],
                policy_id=row["policy_id"],
                household_id=row["household_id"],
                loan_id=row["loan_id"],
                cover_id=row["cover_id"],
                sum_insured_fen=Fen(row["sum_insured_fen"]),
                premium_fen=Fen(row["premium_fen"]),
                premium_payer_id=row["premium_payer_id"],
                from_date=row["from_date"],
                until_date=row["until_date"],
            ),
            insurer_id=row["insurer_id"],
            programme=row["programme"],
            lender_id=row["lender_id"],
            area_code=row["area_code"],
            loan_open=row["loan_open"],
            loan_approved_on=row["approved_on"],
        )
        found.setdefault((row["household_id"], row["cover_id"]), []).append(standing)
    return found
