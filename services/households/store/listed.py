"""What a national system's list is held against: households as known on a day: the SQL."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database


@dataclass(frozen=True, slots=True)
class Listed:
    """A household as known at the end of a business day."""

    household_id: UUID
    household_number: str
    area_code: str
    status: str
    honour: str
    member_count: int
    registered_on: date
    survivor_id: UUID | None


@dataclass(frozen=True, slots=True)
class Seat:
    """A person's place in a household then."""

    household_id: UUID
    person_id: UUID
    identity_key: str
    """In hexadecimal digits."""
    is_head: bool


async def households_on(session: AsyncSession, county_code: str, as_of: date) -> list[Listed]:
    """Every household as known at the end of a day."""
    rows = await database.fetch(
        session,
        """SELECT DISTINCT ON (household_id) household_id, household_number, area_code, status,
                  honour, member_count, registered_on, survivor_id
           FROM (SELECT household_id, household_number, area_code, status, honour, member_count,
                        registered_on, survivor_id, version, business_date
                 FROM household WHERE county_code = $1
                 UNION ALL
                 SELECT household_id, household_number, area_code, status, honour, member_count,
                        registered_on, survivor_id, version, business_date
                 FROM household_past WHERE county_code = $1) AS version
           WHERE business_date <= $2 ORDER BY household_id, version DESC""",
        county_code,
        as_of,
    )
    return [Listed(**row) for row in rows]


async def seats_on(
    session: AsyncSession,
    county_code: str,
    as_of: date,
    *,
    households: Collection[UUID],
    people: Collection[str],
) -> list[Seat]:
    """Who was in some households at the end of a day, and where some people were."""
    rows = await database.fetch(
        session,
        """SELECT seat.household_id, seat.person_id, encode(p.identity_key, 'hex') AS identity_key,
                  seat.relation = 'head' AS is_head
           FROM (SELECT county_code, household_id, person_id, relation, position FROM member
                 WHERE county_code = $1 AND business_date <= $2
                 UNION ALL
                 SELECT county_code, household_id, person_id, relation, position FROM member_past
                 WHERE county_code = $1 AND business_date <= $2 AND ended_business_date > $2
                ) AS seat
           JOIN person AS p USING (county_code, person_id)
           WHERE seat.household_id = ANY($3::uuid[])
              OR encode(p.identity_key, 'hex') = ANY($4::text[])
           ORDER BY seat.household_id, seat.position""",
        county_code,
        as_of,
        list(households),
        list(people),
    )
    return [Seat(**row) for row in rows]
