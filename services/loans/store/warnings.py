"""Loans: SQL of departments' warnings and of the loans that they reach."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.loans import store
from services.loans.model import Loan
from services.loans.rules.warnings import DepartmentWarning


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split("\n")) if text else ()


def _warning(row: asyncpg.Record) -> DepartmentWarning:
    return DepartmentWarning(
        warning_id=row["warning_id"],
        kind=row["kind"],
        risk=row["risk"],
        institution_id=row["institution_id"],
        person_id=row["person_id"],
        department=row["department"],
        area_codes=_split(row["area_codes"]),
        industries=_split(row["industries"]),
        project_ids=_split(row["project_ids"]),
        advice=row["advice"],
        channels=_split(row["channels"]),
        starts_on=row["starts_on"],
        ends_on=row["ends_on"],
        received_on=row["received_on"],
        version=row["version"],
        after_loan_id=row["after_loan_id"],
        loans=row["loans"],
        households=row["households"],
        spread=row["spread"],
        withdrawn_on=row["withdrawn_on"],
        reason=row["reason"],
    )


async def add(session: AsyncSession, county_code: str, warning: DepartmentWarning) -> None:
    """Write a warning."""
    await database.execute(
        session,
        """INSERT INTO department_warning (county_code, warning_id, kind, risk, institution_id,
               person_id, department, area_codes, industries, project_ids, advice, channels,
               starts_on, ends_on, received_on, version)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)""",
        county_code,
        warning.warning_id,
        warning.kind,
        warning.risk,
        warning.institution_id,
        warning.person_id,
        warning.department,
        "\n".join(warning.area_codes),
        "\n".join(warning.industries),
        "\n".join(warning.project_ids),
        warning.advice,
        "\n".join(warning.channels),
        warning.starts_on,
        warning.ends_on,
        warning.received_on,
        warning.version,
    )


async def lock(
    session: AsyncSession, county_code: str, warning_id: UUID
) -> DepartmentWarning | None:
    """One warning, held."""
    rows = await database.fetch(
        session,
        """SELECT * FROM department_warning WHERE county_code = $1 AND warning_id = $2
           FOR UPDATE""",
        county_code,
        warning_id,
    )
    return _warning(rows[0]) if rows else None


async def save(session: AsyncSession, county_code: str, warning: DepartmentWarning) -> None:
    """Write what changed of a warning that is held."""
    await database.execute(
        session,
        """UPDATE department_warning SET after_loan_id = $3, loans = $4, households = $5,
               spread = $6, withdrawn_on = $7, reason = $8, version = $9
           WHERE county_code = $1 AND warning_id = $2""",
        county_code,
        warning.warning_id,
        warning.after_loan_id,
        warning.loans,
        warning.households,
        warning.spread,
        warning.withdrawn_on,
        warning.reason,
        warning.version,
    )


async def spreading(session: AsyncSession, county_code: str) -> list[UUID]:
    """Warnings that have not reached all their loans yet."""
    rows = await database.fetch(
        session,
        """SELECT warning_id FROM department_warning
           WHERE county_code = $1 AND NOT spread AND withdrawn_on IS NULL ORDER BY warning_id""",
        county_code,
    )
    return [row["warning_id"] for row in rows]


async def concerned(
    session: AsyncSession, county_code: str, warning: DepartmentWarning, limit: int
) -> list[Loan]:
    """The next approved or owed loans in the areas, of the industries and projects."""
    rows = await database.fetch(
        session,
        """SELECT l.* FROM loan AS l
           WHERE l.county_code = $1 AND l.state IN ('approved', 'active')
             AND EXISTS (SELECT FROM unnest($2::text[]) AS a (code)
                         WHERE starts_with(l.area_code, a.code)
                            OR starts_with(l.used_in_area, a.code))
             AND (cardinality($3::text[]) = 0 OR l.purpose = ANY($3::text[]))
             AND (cardinality($4::text[]) = 0
                  OR (SELECT ap.stated::jsonb #>> '{project,project_id}' FROM application AS ap
                      WHERE ap.county_code = l.county_code AND ap.loan_id = l.loan_id)
                     = ANY($4::text[]))
             AND ($5::uuid IS NULL OR l.loan_id > $5)
           ORDER BY l.loan_id LIMIT $6""",
        county_code,
        list(warning.area_codes),
        list(warning.industries),
        list(warning.project_ids),
        warning.after_loan_id,
        limit,
    )
    return [store.loan_of(row) for row in rows]


async def add_loans(
    session: AsyncSession, county_code: str, warning_id: UUID, loans: Sequence[Loan]
) -> set[UUID]:
    """Write which loans a warning reached; the households that are new among them."""
    values = [(loan.loan_id, loan.household_id, loan.lender_id) for loan in loans]
    rows = await database.fetch(
        session,
        """WITH known AS (
               SELECT DISTINCT household_id FROM warning_loan
               WHERE county_code = $1 AND warning_id = $2 AND household_id = ANY($4::uuid[])),
           added AS (
               INSERT INTO warning_loan (county_code, warning_id, loan_id, household_id, lender_id)
               SELECT $1, $2, * FROM unnest($3::uuid[], $4::uuid[], $5::text[])
               ON CONFLICT DO NOTHING RETURNING household_id)
           SELECT DISTINCT household_id FROM added
           WHERE household_id NOT IN (SELECT household_id FROM known)""",
        county_code,
        warning_id,
        *database.columns(values, 3),
    )
    return {row["household_id"] for row in rows}


async def withdraw_notices(
    session: AsyncSession, county_code: str, warning: DepartmentWarning, reason: str
) -> None:
    """Take back what was not sent of a warning."""
    await database.execute(
        session,
        """UPDATE notice SET state = 'withdrawn', reason = $4, leased_until = NULL
           WHERE county_code = $1 AND state IN ('queued', 'taken') AND kind = $3
             AND (cause_id = $2 OR starts_with(cause_id, $2 || ':'))""",
        county_code,
        str(warning.warning_id),
        warning.kind,
        reason,
    )


async def listed(
    session: AsyncSession, county_code: str, *, lender_id: str, after: UUID | None, limit: int
) -> list[DepartmentWarning]:
    """Warnings in id order; of a lender those that reached its loans."""
    rows = await database.fetch(
        session,
        """SELECT * FROM department_warning AS w WHERE county_code = $1
             AND ($2 = '' OR EXISTS (SELECT FROM warning_loan AS l
                                     WHERE l.county_code = $1 AND l.lender_id = $2
                                       AND l.warning_id = w.warning_id))
             AND ($3::uuid IS NULL OR warning_id > $3)
           ORDER BY warning_id LIMIT $4""",
        county_code,
        lender_id,
        after,
        limit,
    )
    return [_warning(row) for row in rows]
