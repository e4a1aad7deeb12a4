"""Household files, in and out, a chunk at a time: the SQL."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import Household, Labour, Leaver, Membership, Provenance, Relation
from services.households.store import people, records
from services.kernel import database, ids


async def insert_households(
    session: AsyncSession, households: Sequence[Household], provenance: Provenance
) -> None:
    """Write new households of one county."""
    if not households:
        return
    await database.copy_staged(
        session,
        "household",
        (
            *("household_id", "version", "household_number", "area_code", "status", "honour"),
            *("member_count", "registered_on"),
        ),
        [
            (
                household.household_id,
                household.version,
                household.household_number,
                household.area_code,
                household.status,
                household.honour or "",
                household.member_count,
                household.registered_on,
            )
            for household in households
        ],
        {
            "county_code": ("text", households[0].county_code),
            **_origin(provenance),
            "acted_by": ("text", provenance.acted_by),
        },
    )


async def insert_people(
    session: AsyncSession,
    county_code: str,
    rows: Sequence[tuple[UUID, bytes, bytes, bytes]],
    business_date: date,
) -> None:
    """
    Write new people, and the pairs that they make with those before them.

    Each is an id, the key of the identity number, the sealed record and the key of the likeness.
    """
    if not rows:
        return
    columns = ("person_id", "identity_key", "sealed", "likeness_key")
    staged = await database.copy_staged(
        session, "person", columns, rows, {"county_code": ("text", county_code)}
    )
    # Ids were given before the lock, so that somebody who is here already may have a later one.
    # Each look is a range of an index: a name that a whole file has must not cost its square. One
    # look tells that nobody is alike, as nearly nobody is.
    alike = """SELECT person_id FROM person
               WHERE county_code = $1 AND likeness_key = n.likeness_key AND survivor_id IS NULL"""
    pairs = await database.fetch(
        session,
        f"""SELECT n.person_id, o.person_id AS other_id
            FROM (SELECT person_id, likeness_key FROM {staged} AS new
                  WHERE (SELECT person_id FROM person
                         WHERE county_code = $1 AND likeness_key = new.likeness_key
                           AND person_id <> new.person_id
                         ORDER BY person_id LIMIT 1) IS NOT NULL OFFSET 0) AS n
            CROSS JOIN LATERAL (
                ({alike} AND person_id > $3 ORDER BY person_id DESC LIMIT $2)
                UNION ALL
                ({alike} AND person_id < n.person_id ORDER BY person_id DESC LIMIT $2)
                LIMIT $2) AS o""",  # noqa: S608 - own names
        county_code,
        people.LIKE_MAX,
        max(row[0] for row in rows),
    )
    await people.keep_duplicates(session, county_code, pairs, business_date)


async def insert_members(
    session: AsyncSession,
    county_code: str,
    rows: Sequence[tuple[UUID, UUID, int, Relation, Labour | str, date]],
    provenance: Provenance,
) -> None:
    """Write people's places: person, household, position, relation, labour, since when."""
    if not rows:
        return
    columns = ("person_id", "household_id", "position", "relation", "labour", "registered_on")
    fixed = {"county_code": ("text", county_code), **_origin(provenance)}
    await database.copy_staged(session, "member", columns, rows, fixed)


def _origin(provenance: Provenance) -> dict[str, tuple[str, object]]:
    """The columns that say where all rows of a chunk came from."""
    evidence = provenance.evidence
    return {
        "source_id": ("text", provenance.source_id),
        "business_date": ("date", provenance.business_date),
        "evidence": (
            "jsonb",
            json.dumps(records.evidence_json(evidence)) if evidence else None,
        ),
    }


# --- what is there --------------------------------------------------------------------------------


async def members_of(
    session: AsyncSession, county_code: str, household_ids: Sequence[UUID]
) -> Mapping[UUID, list[tuple[Membership, bool]]]:
    """
    The people of households now, head first, and whether a person's record is an alias.

    By the household that stands: with those of the records that are aliases of it.
    """
    rows = await database.fetch(
        session,
        """WITH record AS (
               SELECT asked.household_id AS stands, asked.household_id, false AS of_alias
               FROM unnest($2::uuid[]) AS asked (household_id)
               UNION ALL
               SELECT survivor_id, household_id, true FROM household
               WHERE county_code = $1 AND survivor_id = ANY ($2::uuid[]))
           SELECT r.stands, m.*, p.sealed, p.survivor_id IS NOT NULL AS hidden
           FROM record AS r
           CROSS JOIN LATERAL (
               SELECT person_id, household_id, position, relation, labour, registered_on
               FROM member
               WHERE county_code = $1 AND household_id = r.household_id OFFSET 0) AS m
           JOIN person AS p ON p.county_code = $1 AND p.person_id = m.person_id
           ORDER BY r.stands, r.of_alias, r.household_id, m.relation <> 'head', m.position""",
        county_code,
        list(household_ids),
    )
    found: dict[UUID, list[tuple[Membership, bool]]] = {each: [] for each in household_ids}
    for row in rows:
        found[row["stands"]].append((people.membership_of(row), row["hidden"]))
    return found


async def list_standing(
    session: AsyncSession, county_code: str, *, prefixes: Sequence[str], after: UUID, limit: int
) -> list[Household]:
    """Households of the areas (disjoint prefixes) that are no aliases, in id order."""
    rows = await database.fetch(
        session,
        """SELECT household.* FROM household
           WHERE county_code = $1 AND household_id > $2 AND survivor_id IS NULL
             AND EXISTS (SELECT FROM unnest($4::text[]) AS seen (prefix)
                         WHERE starts_with(area_code, prefix))
           ORDER BY household_id LIMIT $3""",
        county_code,
        after,
        limit,
        list(prefixes),
    )
    return [people.household_of(row) for row in rows]


# --- what becomes of it ---------------------------------------------------------------------------


async def correct_people(
    session: AsyncSession,
    county_code: str,
    rows: Sequence[tuple[UUID, bytes, bytes]],
    provenance: Provenance,
) -> None:
    """Write who people are (id, sealed record, key of the likeness); what was goes to the past."""
    assert provenance.evidence is not None
    if not rows:
        return
    past_ids = ids.new_ids(len(rows))
    await database.execute(
        session,
        """WITH n AS (
               SELECT * FROM unnest($2::uuid[], $3::uuid[], $4::bytea[], $5::bytea[])
                   AS n (past_id, person_id, sealed, likeness_key)),
           past AS (
               INSERT INTO person_past (county_code, past_id, person_id, identity_key, sealed,
                                        source_id, acted_by, evidence, business_date)
               SELECT $1, n.past_id, n.person_id, p.identity_key, p.sealed, $6, $7, $8::jsonb, $9
               FROM n JOIN person AS p ON p.county_code = $1 AND p.person_id = n.person_id)
           UPDATE person SET sealed = n.sealed, likeness_key = n.likeness_key
           FROM n WHERE person.county_code = $1 AND person.person_id = n.person_id""",
        county_code,
        past_ids,
        *database.columns(rows, 3),
        provenance.source_id,
        provenance.acted_by,
        json.dumps(records.evidence_json(provenance.evidence)),
        provenance.business_date,
    )


async def end_places(
    session: AsyncSession,
    county_code: str,
    leavers: Sequence[Leaver],
    provenance: Provenance,
) -> None:
    """Take people's places away, a statement for each day and reason; note who died."""
    groups: dict[tuple[date, str], list[UUID]] = {}
    for leaver in leavers:
        assert leaver.seat.person_id is not None
        key = (leaver.left_on, leaver.reason.value)
        groups.setdefault(key, []).append(leaver.seat.person_id)
    for (ended_on, reason), person_ids in sorted(groups.items()):
        await people.end_memberships(
            session, county_code, person_ids, provenance, ended_on=ended_on, reason=reason
        )
    dead: list[tuple[Any, date]] = [
        (leaver.seat.person_id, leaver.left_on) for leaver in leavers if leaver.reason == "died"
    ]
    if dead:
        await database.execute(
            session,
            """UPDATE person SET died_on = n.died_on
               FROM unnest($2::uuid[], $3::date[]) AS n (person_id, died_on)
               WHERE county_code = $1 AND person.person_id = n.person_id""",
            county_code,
            *database.columns(dead, 2),
        )
