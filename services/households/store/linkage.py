"""Areas in time, enterprises, linkage contracts, societies, projects: the SQL."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import (
    AreaFlag,
    Enterprise,
    LiaisonOfficer,
    LinkageContract,
    LinkageTerms,
    Project,
    Provenance,
    ServicePoint,
    Society,
    SocietyMember,
    VillageService,
)
from services.households.store import records
from services.kernel import database

_WITHIN = "area_code >= $2 AND area_code < $2 || ':'"


async def lock_county(session: AsyncSession, county_code: str) -> None:
    """Let changes of a county's areas and entities take turns until the transaction ends."""
    await database.fetch(
        session,
        "SELECT pg_advisory_xact_lock(hashtext('liandong-linkage'), hashtext($1))",
        county_code,
    )


# --- areas ----------------------------------------------------------------------------------------


async def area_flags(
    session: AsyncSession, county_code: str, area_code: str, known_by: date = records.NOW
) -> list[AreaFlag]:
    """Each flag ever set for an area, as it stood at the end of a business day."""
    rows = await database.fetch(
        session,
        """SELECT DISTINCT ON (flag) * FROM area_flag
           WHERE county_code = $1 AND area_code = $2 AND business_date <= $3
           ORDER BY flag, version DESC""",
        county_code,
        area_code,
        known_by,
    )
    return [
        AreaFlag(
            row["flag"],
            row["version"],
            row["is_set"],
            row["valid_from"],
            records.provenance_of(row),
        )
        for row in rows
    ]


async def insert_flag(
    session: AsyncSession, county_code: str, area_code: str, flag: AreaFlag
) -> None:
    """Keep that a flag was set or lifted."""
    row = {
        "county_code": county_code,
        "area_code": area_code,
        "flag": flag.flag,
        "version": flag.version,
        "is_set": flag.is_set,
        "valid_from": flag.valid_from,
        **records.provenance_row(flag.provenance),
    }
    await records.insert(session, "area_flag", [row])


async def insert_service(
    session: AsyncSession,
    county_code: str,
    village_code: str,
    service: VillageService,
    provenance: Provenance,
) -> int:
    """Keep who serves a village; the how manieth time it is said."""
    rows = await database.fetch(
        session,
        """SELECT count(*) + 1 AS version FROM village_service
           WHERE county_code = $1 AND village_code = $2""",
        county_code,
        village_code,
    )
    version: int = rows[0]["version"]
    said = asdict(service)
    del said["valid_from"], said["provenance"]
    row = {
        "county_code": county_code,
        "village_code": village_code,
        "version": version,
        "service": said,
        "valid_from": service.valid_from,
        **records.provenance_row(provenance),
    }
    await records.insert(session, "village_service", [row])
    return version


async def village_service(
    session: AsyncSession, county_code: str, village_code: str, known_by: date
) -> VillageService | None:
    """Who serves a village as known at the end of a business day."""
    rows = await database.fetch(
        session,
        """SELECT * FROM village_service
           WHERE county_code = $1 AND village_code = $2 AND business_date <= $3
           ORDER BY version DESC LIMIT 1""",
        county_code,
        village_code,
        known_by,
    )
    if not rows:
        return None
    said = records.parsed(rows[0]["service"])
    return VillageService(
        contracted_bank_id=said["contracted_bank_id"],
        liaison_officers=tuple(LiaisonOfficer(**each) for each in said["liaison_officers"]),
        service_points=tuple(
            ServicePoint(**{**each, "post_ids": tuple(each["post_ids"])})
            for each in said["service_points"]
        ),
        valid_from=rows[0]["valid_from"],
        provenance=records.provenance_of(rows[0]),
    )


# --- enterprises and contracts --------------------------------------------------------------------


async def insert_enterprise(
    session: AsyncSession, county_code: str, made: Enterprise, provenance: Provenance
) -> None:
    """Keep an entity."""
    row = asdict(made)
    del row["provenance"]
    kept = {"county_code": county_code, **row, **records.provenance_row(provenance)}
    await records.insert(session, "enterprise", [kept])


def _enterprise(row: Any) -> Enterprise:
    return Enterprise(
        enterprise_id=row["enterprise_id"],
        credit_code=row["credit_code"],
        name=row["name"],
        kind=row["kind"],
        area_code=row["area_code"],
        paired_unit_id=row["paired_unit_id"],
        lead_radius_km=row["lead_radius_km"],
        provenance=records.provenance_of(row),
    )


async def enterprise_known(
    session: AsyncSession, county_code: str, *, enterprise_id: UUID | None, credit_code: str
) -> bool:
    """Whether an entity is registered, by its id or its code."""
    rows = await database.fetch(
        session,
        """SELECT EXISTS (SELECT FROM enterprise WHERE county_code = $1
             AND (enterprise_id = $2 OR credit_code = $3)) AS known""",
        county_code,
        enterprise_id,
        credit_code,
    )
    return bool(rows[0]["known"])


async def list_enterprises(
    session: AsyncSession, county_code: str, *, within: str, after: UUID, limit: int
) -> list[Enterprise]:
    """Entities of an area, in id order."""
    rows = await database.fetch(
        session,
        f"""SELECT * FROM enterprise WHERE county_code = $1 AND {_WITHIN} AND enterprise_id > $3
            ORDER BY enterprise_id LIMIT $4""",  # noqa: S608 - own constant
        county_code,
        within,
        after,
        limit,
    )
    return [_enterprise(row) for row in rows]


async def insert_contract(
    session: AsyncSession, county_code: str, made: LinkageContract, provenance: Provenance
) -> None:
    """Keep a contract and the households that it helps."""
    row = {
        "county_code": county_code,
        "contract_id": made.contract_id,
        "enterprise_id": made.enterprise_id,
        "terms": asdict(made.terms),
        "valid_from": made.valid_from,
        "valid_to": made.valid_to,
        **records.provenance_row(provenance),
    }
    await records.insert(session, "linkage_contract", [row])
    await records.insert(
        session,
        "linkage_household",
        [
            {
                "county_code": county_code,
                "household_id": household_id,
                "contract_id": made.contract_id,
            }
            for household_id in made.household_ids
        ],
    )


async def insert_end(
    session: AsyncSession,
    county_code: str,
    contract_id: UUID,
    *,
    ended_on: date,
    reason: str,
    provenance: Provenance,
) -> None:
    """Keep that a contract was ended."""
    row = {
        "county_code": county_code,
        "contract_id": contract_id,
        "ended_on": ended_on,
        "reason": reason,
        **records.provenance_row(provenance),
    }
    await records.insert(session, "linkage_end", [row])


async def list_contracts(
    session: AsyncSession,
    county_code: str,
    *,
    contract_id: UUID | None = None,
    enterprise_id: UUID | None = None,
    household_id: UUID | None = None,
    known_by: date = records.NOW,
    after: UUID = records.START,
    limit: int = 1,
) -> list[LinkageContract]:
    """Contracts, of an entity or a household when named, as known on a day, in id order."""
    rows = await database.fetch(
        session,
        """SELECT c.*, e.ended_on, e.reason AS end_reason,
                  ARRAY(SELECT h.household_id FROM linkage_household AS h
                        WHERE h.county_code = $1 AND h.contract_id = c.contract_id
                        ORDER BY h.household_id) AS household_ids
           FROM linkage_contract AS c LEFT JOIN linkage_end AS e
                ON e.county_code = c.county_code AND e.contract_id = c.contract_id
                AND e.business_date <= $2
           WHERE c.county_code = $1 AND c.business_date <= $2
             AND ($3::uuid IS NULL OR c.enterprise_id = $3)
             AND ($4::uuid IS NULL OR EXISTS (
                 SELECT FROM linkage_household AS h WHERE h.county_code = $1
                   AND h.contract_id = c.contract_id AND h.household_id = $4))
             AND ($5::uuid IS NULL OR c.contract_id = $5) AND c.contract_id > $6
           ORDER BY c.contract_id LIMIT $7""",
        county_code,
        known_by,
        enterprise_id,
        household_id,
        contract_id,
        after,
        limit,
    )
    return [_contract(row) for row in rows]


def _contract(row: Any) -> LinkageContract:
    terms = records.parsed(row["terms"])
    return LinkageContract(
        contract_id=row["contract_id"],
        enterprise_id=row["enterprise_id"],
        household_ids=tuple(row["household_ids"]),
        terms=LinkageTerms(**{**terms, "modes": tuple(terms["modes"])}),
        valid_from=row["valid_from"],
        valid_to=row["valid_to"],
        provenance=records.provenance_of(row),
        ended_on=row["ended_on"],
        end_reason=row["end_reason"] or "",
    )


# --- societies ------------------------------------------------------------------------------------


async def insert_society(
    session: AsyncSession, county_code: str, made: Society, provenance: Provenance
) -> None:
    """Keep a society."""
    row = asdict(made)
    del row["provenance"]
    kept = {"county_code": county_code, **row, **records.provenance_row(provenance)}
    await records.insert(session, "society", [kept])


async def list_societies(
    session: AsyncSession,
    county_code: str,
    *,
    within: str = "",
    society_id: UUID | None = None,
    after: UUID = records.START,
    limit: int = 1,
) -> list[Society]:
    """Societies of an area, or one, in id order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM society
           WHERE county_code = $1 AND village_code >= $2 AND village_code < $2 || ':'
             AND ($3::uuid IS NULL OR society_id = $3) AND society_id > $4
           ORDER BY society_id LIMIT $5""",
        county_code,
        within,
        society_id,
        after,
        limit,
    )
    return [
        Society(
            society_id=row["society_id"],
            kind=row["kind"],
            name=row["name"],
            village_code=row["village_code"],
            institution_id=row["institution_id"],
            lead_household_id=row["lead_household_id"],
            provenance=records.provenance_of(row),
        )
        for row in rows
    ]


async def list_society_members(
    session: AsyncSession,
    county_code: str,
    society_id: UUID,
    *,
    known_by: date = records.NOW,
    gone: bool = True,
    after: UUID = records.START,
    limit: int = 100_000,
) -> list[SocietyMember]:
    """The members of a society as known on a day, in the order they joined."""
    rows = await database.fetch(
        session,
        """SELECT m.*, l.left_on FROM society_member AS m LEFT JOIN society_leave AS l
                ON l.county_code = m.county_code AND l.membership_id = m.membership_id
                AND l.business_date <= $3
           WHERE m.county_code = $1 AND m.society_id = $2 AND m.business_date <= $3
             AND ($4 OR l.left_on IS NULL) AND m.membership_id > $5
           ORDER BY m.membership_id LIMIT $6""",
        county_code,
        society_id,
        known_by,
        gone,
        after,
        limit,
    )
    return [
        SocietyMember(
            membership_id=row["membership_id"],
            household_id=row["household_id"],
            share_fen=row["share_fen"],
            joined_on=row["joined_on"],
            left_on=row["left_on"],
        )
        for row in rows
    ]


async def insert_society_members(
    session: AsyncSession,
    county_code: str,
    society_id: UUID,
    members: Sequence[SocietyMember],
    provenance: Provenance,
) -> None:
    """Keep that households joined."""
    await records.insert(
        session,
        "society_member",
        [
            {
                "county_code": county_code,
                "membership_id": each.membership_id,
                "society_id": society_id,
                "household_id": each.household_id,
                "share_fen": each.share_fen,
                "joined_on": each.joined_on,
                **records.provenance_row(provenance),
            }
            for each in members
        ],
    )


async def insert_society_leaves(
    session: AsyncSession,
    county_code: str,
    membership_ids: Sequence[UUID],
    left_on: date,
    provenance: Provenance,
) -> None:
    """Keep that households left."""
    await records.insert(
        session,
        "society_leave",
        [
            {
                "county_code": county_code,
                "membership_id": membership_id,
                "left_on": left_on,
                **records.provenance_row(provenance),
            }
            for membership_id in membership_ids
        ],
    )


# --- projects -------------------------------------------------------------------------------------


async def insert_project(
    session: AsyncSession, county_code: str, made: Project, provenance: Provenance
) -> None:
    """Keep a version of a project."""
    row = asdict(made)
    del row["provenance"]
    kept = {"county_code": county_code, **row, **records.provenance_row(provenance)}
    await records.insert(session, "project", [kept])


async def list_projects(
    session: AsyncSession,
    county_code: str,
    *,
    within: str = "",
    project_id: UUID | None = None,
    closed: bool = True,
    after: UUID = records.START,
    limit: int = 1,
) -> list[Project]:
    """The newest version of each project of an area, in id order."""
    rows = await database.fetch(
        session,
        f"""SELECT * FROM (
                SELECT DISTINCT ON (project_id) * FROM project
                WHERE county_code = $1 AND project_id > $3
                  AND ($4::uuid IS NULL OR project_id = $4)
                ORDER BY project_id, version DESC) AS newest
            WHERE {_WITHIN} AND ($5 OR is_open) ORDER BY project_id LIMIT $6""",  # noqa: S608 - own constant
        county_code,
        within,
        after,
        project_id,
        closed,
        limit,
    )
    return [
        Project(
            project_id=row["project_id"],
            version=row["version"],
            name=row["name"],
            industry=row["industry"],
            area_code=row["area_code"],
            amount_min_fen=row["amount_min_fen"],
            amount_max_fen=row["amount_max_fen"],
            term_months=row["term_months"],
            enterprise_id=row["enterprise_id"],
            is_open=row["is_open"],
            provenance=records.provenance_of(row),
        )
        for row in rows
    ]
