"""Areas, households and their people as registered: the SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import (
    Area,
    AreaLevel,
    Honour,
    Household,
    RegistrationStatus,
)
from services.kernel import database

ID_ZERO = UUID(int=0)
KEY_BYTES = 32
"""Of a keyed hash."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the registry has of the codes, numbers and keyed hashes that were asked for."""

    areas: frozenset[str]
    household_ids: Mapping[str, UUID]
    """By the household's number."""
    identity_keys: frozenset[bytes]
    """Of people in some household."""
    dead_keys: frozenset[bytes]
    idle: Mapping[bytes, UUID]
    """People who are in no household now, by their key."""


async def lock_registry(session: AsyncSession, county_code: str) -> None:
    """
    Let registrations of one county take turns until the transaction ends.

    So what `find` says stays true, and two files cannot both claim a person.
    """
    await database.fetch(
        session,
        "SELECT pg_advisory_xact_lock(hashtext('liandong-registry'), hashtext($1))",
        county_code,
    )


async def find(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    household_numbers: Sequence[str],
    identity_keys: Sequence[bytes],
) -> Found:
    """Look up everything that a chunk names, in one statement."""
    rows = await database.fetch(
        session,
        """SELECT 'a' AS kind, area_code AS code, NULL::bytea AS key, NULL::uuid AS id,
                  false AS seated, false AS dead
           FROM area
           WHERE county_code = $1 AND area_code = ANY ($2::text[])
             AND level IN ('village', 'villager_group')
           UNION ALL
           -- One descent of an index for each, however large the table: OFFSET keeps it lateral.
           SELECT 'h', asked.number, NULL, h.household_id, false, false
           FROM unnest($3::text[]) AS asked (number)
           CROSS JOIN LATERAL (
               SELECT household_id FROM household
               WHERE county_code = $1 AND household_number = asked.number OFFSET 0) AS h
           UNION ALL
           SELECT 'p', NULL, asked.key, p.person_id, p.seated, p.dead
           -- Keys come in one piece: of an array the driver would look at every element.
           FROM generate_series(0, length($4::bytea) / $5 - 1) AS place
           CROSS JOIN LATERAL (
               SELECT substring($4::bytea FROM 1 + $5 * place FOR $5) AS key OFFSET 0) AS asked
           CROSS JOIN LATERAL (
               SELECT person_id, died_on IS NOT NULL AS dead,
                      EXISTS (SELECT FROM member AS m WHERE m.county_code = $1
                              AND m.person_id = person.person_id) AS seated
               FROM person WHERE county_code = $1 AND identity_key = asked.key OFFSET 0) AS p""",
        county_code,
        areas,
        household_numbers,
        b"".join(identity_keys),
        KEY_BYTES,
    )
    return Found(
        areas=frozenset(row["code"] for row in rows if row["kind"] == "a"),
        household_ids={row["code"]: row["id"] for row in rows if row["kind"] == "h"},
        identity_keys=frozenset(row["key"] for row in rows if row["seated"]),
        dead_keys=frozenset(row["key"] for row in rows if row["dead"]),
        idle={
            row["key"]: row["id"]
            for row in rows
            if row["kind"] == "p" and not row["seated"] and not row["dead"]
        },
    )


# --- areas ----------------------------------------------------------------------------------------


async def known_areas(
    session: AsyncSession, county_code: str, codes: Sequence[str]
) -> frozenset[str]:
    """Those of the codes that are registered."""
    rows = await database.fetch(
        session,
        "SELECT area_code FROM area WHERE county_code = $1 AND area_code = ANY ($2::text[])",
        county_code,
        codes,
    )
    return frozenset(row["area_code"] for row in rows)


async def save_areas(session: AsyncSession, county_code: str, areas: Sequence[Area]) -> int:
    """Enter or rename areas; how many were new."""
    ordered = sorted(areas, key=lambda area: area.area_code)
    rows = await database.fetch(
        session,
        """INSERT INTO area (county_code, area_code, name, level)
           SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[])
           ON CONFLICT (county_code, area_code) DO UPDATE SET name = excluded.name
           RETURNING xmax = 0 AS created""",
        county_code,
        [area.area_code for area in ordered],
        [area.name for area in ordered],
        [area.level.value for area in ordered],
    )
    return sum(row["created"] for row in rows)


async def load_area(session: AsyncSession, county_code: str, area_code: str) -> Area | None:
    """One area, or None."""
    rows = await database.fetch(
        session,
        "SELECT area_code, name, level FROM area WHERE county_code = $1 AND area_code = $2",
        county_code,
        area_code,
    )
    if not rows:
        return None
    return Area(rows[0]["area_code"], rows[0]["name"], AreaLevel(rows[0]["level"]))


async def list_areas(
    session: AsyncSession, county_code: str, *, within: str, after: str, limit: int
) -> list[Area]:
    """Areas within one (empty: all), in code order."""
    rows = await database.fetch(
        session,
        """SELECT area_code, name, level FROM area
           WHERE county_code = $1 AND area_code >= $2 AND area_code < $2 || ':' AND area_code > $3
           ORDER BY area_code LIMIT $4""",
        county_code,
        within,
        after,
        limit,
    )
    return [Area(row["area_code"], row["name"], AreaLevel(row["level"])) for row in rows]


# --- households -----------------------------------------------------------------------------------

_COLUMNS = """household.county_code, household_id, version, household_number, area_code, status,
              honour, member_count"""


def _household(row: Any) -> Household:
    return Household(
        county_code=row["county_code"],
        household_id=row["household_id"],
        version=row["version"],
        household_number=row["household_number"],
        area_code=row["area_code"],
        status=RegistrationStatus(row["status"]),
        honour=Honour(row["honour"]) if row["honour"] else None,
        member_count=row["member_count"],
    )


# All of a county is read along the primary key; a part of it along the areas.
_LIST_ALL = f"""
SELECT {_COLUMNS} FROM household
WHERE county_code = $1 AND household_id > $2 ORDER BY household_id LIMIT $3
"""  # noqa: S608 - own constant
_LIST_WITHIN = f"""
SELECT {_COLUMNS} FROM unnest($4::text[]) AS seen (prefix)
JOIN household ON county_code = $1 AND area_code >= prefix COLLATE "C"
     AND area_code < (prefix || ':') COLLATE "C"
WHERE household_id > $2 ORDER BY household_id LIMIT $3
"""  # noqa: S608 - own constant


async def list_households(
    session: AsyncSession, county_code: str, *, prefixes: Sequence[str], after: UUID, limit: int
) -> list[Household]:
    """Households of the areas (disjoint prefixes), in id order."""
    if county_code in prefixes:
        rows = await database.fetch(session, _LIST_ALL, county_code, after, limit)
    else:
        rows = await database.fetch(session, _LIST_WITHIN, county_code, after, limit, prefixes)
    return [_household(row) for row in rows]


async def totals(session: AsyncSession, county_code: str) -> tuple[int, int]:
    """Households and people of a county."""
    rows = await database.fetch(
        session,
        """SELECT (SELECT count(*) FROM household WHERE county_code = $1) AS households,
                  (SELECT count(*) FROM member WHERE county_code = $1)
                  - (SELECT count(*) FROM member JOIN person USING (county_code, person_id)
                     WHERE county_code = $1 AND survivor_id IS NOT NULL) AS people""",
        county_code,
    )
    return rows[0]["households"], rows[0]["people"]
