"""Loans: SQL of projects that use the loans of many, and of all that was said of them."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.money import Fen
from services.loans.rules.chain import Actor
from services.loans.rules.projects import (
    AtLevel,
    DutyDone,
    Evaluation,
    Level,
    Listed,
    LoanProject,
    Said,
    Standing,
    Used,
    WindDown,
    WindDownCause,
)

REGISTER_MAX: Final = 2_000
"""Projects of one county: the register is read whole."""


async def alone(session: AsyncSession, county_code: str) -> None:
    """One at a time changes the register of a county."""
    await database.execute(
        session,
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
        f"loans.projects:{county_code}",
    )


def _said(row: asyncpg.Record) -> Said:
    actor = Actor(row["institution_id"], "", row["person_id"])
    return Said(actor, row["said_on"], row["reason"], row["evidence"])


def _project(row: asyncpg.Record) -> LoanProject:
    return LoanProject(
        county_code=row["county_code"],
        project_id=row["project_id"],
        name=row["name"],
        enterprise_id=row["enterprise_id"],
        enterprise_name=row["enterprise_name"],
        sector=row["sector"],
        area_code=row["area_code"],
        programme=row["programme"],
        product_id=row["product_id"],
        legacy_id=row["legacy_id"],
        forbidden=row["forbidden"],
        registered=Said(
            Actor(row["registered_by"], "", row["registered_person"]), row["registered_on"]
        ),
    )


async def add_project(session: AsyncSession, project: LoanProject) -> None:
    """Enter a project."""
    await database.execute(
        session,
        """INSERT INTO project (county_code, project_id, name, enterprise_id, enterprise_name,
                                sector, area_code, programme, product_id, legacy_id, forbidden,
                                registered_by, registered_person, registered_on)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)""",
        project.county_code,
        project.project_id,
        project.name,
        project.enterprise_id,
        project.enterprise_name,
        project.sector,
        project.area_code,
        project.programme,
        project.product_id,
        project.legacy_id,
        project.forbidden,
        project.registered.by.institution_id,
        project.registered.by.person_id,
        project.registered.on,
    )


_PROJECTS: Final = """
SELECT * FROM project
WHERE county_code = $1 AND ($2::uuid[] IS NULL OR project_id = ANY($2::uuid[]))
ORDER BY project_id
"""
_LISTINGS: Final = """
SELECT * FROM (
    SELECT DISTINCT ON (project_id, list, level) * FROM project_listing
    WHERE county_code = $1 AND ($2::uuid[] IS NULL OR project_id = ANY($2::uuid[]))
    ORDER BY project_id, list, level, number DESC
) AS last WHERE listed
"""
_EVALUATIONS: Final = """
SELECT * FROM project_evaluation
WHERE county_code = $1 AND ($2::uuid[] IS NULL OR project_id = ANY($2::uuid[]))
ORDER BY project_id, month DESC
"""
_WATCHES: Final = """
SELECT DISTINCT ON (project_id) * FROM project_watch
WHERE county_code = $1 AND ($2::uuid[] IS NULL OR project_id = ANY($2::uuid[]))
ORDER BY project_id, number DESC
"""
_WIND_DOWNS: Final = """
SELECT * FROM project_wind_down
WHERE county_code = $1 AND ($2::uuid[] IS NULL OR project_id = ANY($2::uuid[]))
"""
_DUTIES: Final = """
SELECT * FROM project_duty
WHERE county_code = $1 AND ($2::uuid[] IS NULL OR project_id = ANY($2::uuid[]))
ORDER BY project_id, number
"""


async def register(
    session: AsyncSession, county_code: str, project_ids: Collection[UUID] | None = None
) -> list[Standing]:
    """Projects with all that was said of them, in order: the county's, or some of them."""
    wanted = None if project_ids is None else list(project_ids)

    async def by_project(sql: str) -> dict[UUID, list[asyncpg.Record]]:
        found: dict[UUID, list[asyncpg.Record]] = defaultdict(list)
        for row in await database.fetch(session, sql, county_code, wanted):
            found[row["project_id"]].append(row)
        return found

    projects = await by_project(_PROJECTS)
    if not projects:
        return []
    listings, evaluations = await by_project(_LISTINGS), await by_project(_EVALUATIONS)
    watches, ends = await by_project(_WATCHES), await by_project(_WIND_DOWNS)
    duties, used = await by_project(_DUTIES), await by_project(_USED)
    return [
        Standing(
            project=_project(row),
            listings=[_listing(each) for each in listings[key]],
            evaluations=[_evaluation(each) for each in evaluations[key]],
            watch=next((_said(each) for each in watches[key] if each["watched"]), None),
            wind_down=next((_wind_down(each) for each in ends[key]), None),
            duties=[_duty(each) for each in duties[key]],
            used=next((_used(each) for each in used[key]), Used()),
        )
        for key, (row,) in projects.items()
    ]


_USED: Final = """
SELECT p.project_id, count(*) AS loans,
       coalesce(sum(l.principal_fen - l.undrawn_fen) FILTER (WHERE l.disbursed_on IS NOT NULL),
                0)::bigint AS disbursed_fen,
       sum(l.outstanding_fen)::bigint AS outstanding_fen,
       coalesce(sum(l.outstanding_fen) FILTER (WHERE l.non_performing_on IS NOT NULL),
                0)::bigint AS non_performing_fen
FROM project_loan AS p JOIN loan AS l USING (county_code, loan_id)
WHERE p.county_code = $1 AND ($2::uuid[] IS NULL OR p.project_id = ANY($2::uuid[]))
  AND l.state <> 'refused'
GROUP BY p.project_id
"""


def _listing(row: asyncpg.Record) -> AtLevel:
    return AtLevel(Listed(row["list"]), Level(row["level"]), _said(row))


def _evaluation(row: asyncpg.Record) -> Evaluation:
    return Evaluation(row["month"], row["grade"], row["at_risk"], _said(row))


def _wind_down(row: asyncpg.Record) -> WindDown:
    return WindDown(WindDownCause(row["cause"]), Fen(row["outstanding_fen"]), _said(row))


def _duty(row: asyncpg.Record) -> DutyDone:
    return DutyDone(row["duty"], row["loan_id"], row["officer_id"], _said(row))


def _used(row: asyncpg.Record) -> Used:
    return Used(
        row["loans"],
        Fen(row["disbursed_fen"]),
        Fen(row["outstanding_fen"]),
        Fen(row["non_performing_fen"]),
    )


# --- what is said of one --------------------------------------------------------------------------


async def _add(
    session: AsyncSession, table: str, project: LoanProject, said: Said, **values: object
) -> None:
    """One row of an insert-only table; names are our own constants."""
    row = {
        "county_code": project.county_code,
        "project_id": project.project_id,
        "reason": said.reason,
        "evidence": said.evidence,
        "institution_id": said.by.institution_id,
        "person_id": said.by.person_id,
        "said_on": said.on,
        **values,
    }
    places = ", ".join(f"${place}" for place in range(1, len(row) + 1))
    await database.execute(
        session,
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})",  # noqa: S608 - own names
        *row.values(),
    )


async def add_listing(
    session: AsyncSession, project: LoanProject, wanted: AtLevel, *, listed: bool
) -> None:
    """Enter a project on a level's list, or strike it off."""
    place = {"list": wanted.listed_in, "level": wanted.level, "listed": listed}
    await _add(session, "project_listing", project, wanted.said, **place)


async def add_evaluation(session: AsyncSession, project: LoanProject, made: Evaluation) -> None:
    """Keep a month's grade."""
    grade = {"month": made.month, "grade": made.grade, "at_risk": made.at_risk}
    await _add(session, "project_evaluation", project, made.said, **grade)


async def add_watch(
    session: AsyncSession, project: LoanProject, said: Said, *, watched: bool
) -> None:
    """Put a project on the watch list or take it off."""
    await _add(session, "project_watch", project, said, watched=watched)


async def add_wind_down(session: AsyncSession, project: LoanProject, end: WindDown) -> None:
    """Keep that a project ends."""
    what = {"cause": end.cause, "outstanding_fen": end.outstanding_fen}
    await _add(session, "project_wind_down", project, end.said, **what)


async def add_duty(session: AsyncSession, project: LoanProject, done: DutyDone) -> None:
    """Keep that a duty is done."""
    what = {"duty": done.duty, "loan_id": done.loan_id, "officer_id": done.officer_id}
    await _add(session, "project_duty", project, done.said, **what)


# --- loans of projects ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UsedLoan:
    """A loan that a project uses."""

    loan_id: UUID
    household_id: UUID
    lender_id: str
    principal_fen: Fen
    outstanding_fen: Fen
    overdue_days: int


async def projects_of(
    session: AsyncSession, county_code: str, loan_ids: Collection[UUID]
) -> dict[UUID, UUID]:
    """The project of each loan that is in one."""
    rows = await database.fetch(
        session,
        """SELECT loan_id, project_id FROM project_loan
           WHERE county_code = $1 AND loan_id = ANY($2::uuid[])""",
        county_code,
        list(loan_ids),
    )
    return {row["loan_id"]: row["project_id"] for row in rows}


async def add_loans(
    session: AsyncSession,
    county_code: str,
    rows: Sequence[tuple[UUID, UUID]],
    *,
    by: Actor,
    on: date,
) -> None:
    """Say whose loans projects use: loan and project."""
    if not rows:
        return
    await database.execute(
        session,
        """INSERT INTO project_loan (county_code, added_by, added_person, added_on, loan_id,
                                     project_id)
           SELECT $1, $2, $3, $4, n.loan_id, n.project_id
           FROM unnest($5::uuid[], $6::uuid[]) AS n (loan_id, project_id)""",
        county_code,
        by.institution_id,
        by.person_id,
        on,
        *database.columns(rows, 2),
    )


async def loan_ids_of(
    session: AsyncSession, county_code: str, project_ids: Collection[UUID]
) -> dict[UUID, set[UUID]]:
    """The loans of each of some projects."""
    rows = await database.fetch(
        session,
        """SELECT project_id, loan_id FROM project_loan
           WHERE county_code = $1 AND project_id = ANY($2::uuid[])""",
        county_code,
        list(project_ids),
    )
    found: dict[UUID, set[UUID]] = {project_id: set() for project_id in project_ids}
    for row in rows:
        found[row["project_id"]].add(row["loan_id"])
    return found


async def loans_of(
    session: AsyncSession,
    county_code: str,
    project_id: UUID,
    lender_id: str,
    *,
    after: UUID,
    limit: int,
) -> list[UsedLoan]:
    """The loans that a project uses, of a lender unless that is empty, from an id on."""
    rows = await database.fetch(
        session,
        """SELECT loan_id, household_id, lender_id, principal_fen, outstanding_fen, overdue_days
           FROM project_loan JOIN loan USING (county_code, loan_id)
           WHERE county_code = $1 AND project_id = $2 AND ($3 = '' OR lender_id = $3)
             AND loan_id > $4
           ORDER BY loan_id LIMIT $5""",
        county_code,
        project_id,
        lender_id,
        after,
        limit,
    )
    return [UsedLoan(**row) for row in rows]
