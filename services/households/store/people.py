"""Households and memberships in time, persons, merges and duplicates: the SQL."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import (
    Duplicate,
    DuplicateState,
    Honour,
    Household,
    Labour,
    Membership,
    Merge,
    MergeKind,
    Provenance,
    RegistrationStatus,
    Relation,
)
from services.households.store import records
from services.kernel import database, ids

_COLUMNS = """county_code, household_id, version, household_number, area_code, status, honour,
    member_count, registered_on, source_id, business_date, recorded_at, survivor_id, changed_by,
    acted_by, evidence"""
_VERSIONS = f"""SELECT * FROM (
    SELECT {_COLUMNS} FROM household WHERE county_code = $1 AND household_id = $2
    UNION ALL
    SELECT {_COLUMNS} FROM household_past WHERE county_code = $1 AND household_id = $2
) AS version"""  # noqa: S608 - own constant
_SEAT = """county_code, person_id, household_id, position, relation, labour, registered_on,
    source_id, evidence, business_date, recorded_at"""

LIKE_MAX = 3
"""Older records kept beside a new one: a common name in a wrong file must not fill the table."""


@dataclass(frozen=True, slots=True)
class PersonRecord:
    """A person with who it is still sealed."""

    person_id: UUID
    identity_key: bytes
    sealed: bytes
    survivor_id: UUID | None


def household_of(row: Any) -> Household:
    """A household, or a past version of one."""
    return Household(
        county_code=row["county_code"],
        household_id=row["household_id"],
        version=row["version"],
        household_number=row["household_number"],
        area_code=row["area_code"],
        status=RegistrationStatus(row["status"]),
        honour=Honour(row["honour"]) if row["honour"] else None,
        member_count=row["member_count"],
        survivor_id=row["survivor_id"],
        registered_on=row["registered_on"],
        provenance=Provenance(
            source_id=row["changed_by"] or row["source_id"],
            acted_by=row["acted_by"],
            evidence=records.evidence_of(row["evidence"]),
            business_date=row["business_date"],
            recorded_at=row["recorded_at"],
        ),
        registrar_id=row["source_id"],
    )


async def household_as_known(
    session: AsyncSession, county_code: str, household_id: UUID, known_by: date
) -> Household | None:
    """A household as known at the end of a business day."""
    rows = await database.fetch(
        session,
        f"{_VERSIONS} WHERE business_date <= $3 ORDER BY version DESC LIMIT 1",
        county_code,
        household_id,
        known_by,
    )
    return household_of(rows[0]) if rows else None


async def first_version(
    session: AsyncSession, county_code: str, household_id: UUID
) -> Household | None:
    """A household as it was registered."""
    rows = await database.fetch(
        session,
        f"{_VERSIONS} ORDER BY version LIMIT 1",
        county_code,
        household_id,
    )
    return household_of(rows[0]) if rows else None


async def lock_households(
    session: AsyncSession, county_code: str, household_ids: Sequence[UUID]
) -> dict[UUID, Household]:
    """Those of the households that there are, held until the transaction ends, in id order."""
    rows = await database.fetch(
        session,
        f"""SELECT {_COLUMNS} FROM household
            WHERE county_code = $1 AND household_id = ANY ($2::uuid[])
            ORDER BY household_id FOR UPDATE""",  # noqa: S608 - own constant
        county_code,
        sorted(set(household_ids)),
    )
    return {row["household_id"]: household_of(row) for row in rows}


async def read_households(
    session: AsyncSession, county_code: str, household_ids: Sequence[UUID]
) -> dict[UUID, Household]:
    """Those of the households that there are."""
    rows = await database.fetch(
        session,
        f"""SELECT {_COLUMNS} FROM household
            WHERE county_code = $1 AND household_id = ANY ($2::uuid[])""",  # noqa: S608 - own constant
        county_code,
        list(household_ids),
    )
    return {row["household_id"]: household_of(row) for row in rows}


async def save_households(
    session: AsyncSession, households: Sequence[Household], provenance: Provenance
) -> None:
    """Write new versions; what the rows said before goes to the past."""
    assert provenance.evidence is not None
    await database.execute(
        session,
        f"""WITH before AS (
                INSERT INTO household_past ({_COLUMNS})
                SELECT {_COLUMNS} FROM household
                WHERE (county_code, household_id) IN
                    (SELECT * FROM unnest($1::text[], $2::uuid[])))
            UPDATE household AS h
            SET version = n.version, area_code = n.area_code, status = n.status,
                honour = n.honour, member_count = n.member_count, survivor_id = n.survivor_id,
                changed_by = $9, acted_by = $10, evidence = $11::jsonb, business_date = $12,
                recorded_at = now()
            FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[],
                        $7::integer[], $8::uuid[])
                AS n (county_code, household_id, version, area_code, status, honour,
                      member_count, survivor_id)
            WHERE h.county_code = n.county_code AND h.household_id = n.household_id""",  # noqa: S608 - own constant
        *database.columns(
            [
                (
                    each.county_code,
                    each.household_id,
                    each.version,
                    each.area_code,
                    each.status.value,
                    each.honour.value if each.honour else "",
                    each.member_count,
                    each.survivor_id,
                )
                for each in households
            ],
            8,
        ),
        provenance.source_id,
        provenance.acted_by,
        json.dumps(records.evidence_json(provenance.evidence)),
        provenance.business_date,
    )


async def insert_household(
    session: AsyncSession, household: Household, provenance: Provenance
) -> None:
    """Write a household that members of another founded."""
    row = {
        "county_code": household.county_code,
        "household_id": household.household_id,
        "version": household.version,
        "household_number": household.household_number,
        "area_code": household.area_code,
        "status": household.status,
        "honour": household.honour or "",
        "member_count": household.member_count,
        "registered_on": household.registered_on,
        "changed_by": provenance.source_id,
        **records.provenance_row(provenance),
    }
    await records.insert(session, "household", [row])


# --- memberships ----------------------------------------------------------------------------------

_HIDDEN = """EXISTS (
    SELECT FROM merge AS g LEFT JOIN merge_undone AS u USING (county_code, merge_id)
    WHERE g.county_code = $1 AND g.kind = '{kind}' AND g.alias_id = {alias}
      AND g.business_date <= $3 AND (u.merge_id IS NULL OR u.business_date > $3))"""
_MEMBERS = f"""
SELECT s.person_id, s.household_id, s.position, s.relation, s.labour, s.registered_on,
       coalesce((SELECT o.sealed FROM person_past AS o
                 WHERE o.county_code = $1 AND o.person_id = s.person_id AND o.business_date > $3
                 ORDER BY o.recorded_at, o.past_id LIMIT 1), p.sealed) AS sealed
FROM (
    SELECT {_SEAT} FROM member
    WHERE county_code = $1 AND household_id = ANY ($2::uuid[]) AND business_date <= $3
    UNION ALL
    SELECT {_SEAT} FROM member_past
    WHERE county_code = $1 AND household_id = ANY ($2::uuid[]) AND business_date <= $3
      AND ended_business_date > $3
) AS s JOIN person AS p ON p.county_code = $1 AND p.person_id = s.person_id
WHERE NOT {_HIDDEN.format(kind="person", alias="s.person_id")}
ORDER BY array_position($2::uuid[], s.household_id), s.relation <> 'head', s.position
"""  # noqa: S608 - own constants
_ALIASES = f"""
SELECT household_id FROM household AS h
WHERE county_code = $1 AND household_id IN (
    SELECT alias_id FROM merge
    WHERE county_code = $1 AND kind = 'household' AND survivor_id = $2)
  AND {_HIDDEN.format(kind="household", alias="h.household_id")}
ORDER BY household_id
"""  # noqa: S608 - own constants


async def members_as_known(
    session: AsyncSession, county_code: str, household_id: UUID, known_by: date
) -> list[Membership]:
    """The people of a household, head first, with those of the records that are aliases of it."""
    aliases = await database.fetch(session, _ALIASES, county_code, household_id, known_by)
    household_ids = [household_id, *(row["household_id"] for row in aliases)]
    rows = await database.fetch(session, _MEMBERS, county_code, household_ids, known_by)
    return [membership_of(row) for row in rows]


def membership_of(row: Any) -> Membership:
    """A person's place, who it is still sealed."""
    return Membership(
        person_id=row["person_id"],
        household_id=row["household_id"],
        position=row["position"],
        relation=Relation(row["relation"]),
        labour=Labour(row["labour"]) if row["labour"] else None,
        joined_on=row["registered_on"],
        sealed=row["sealed"],
    )


async def memberships_of(
    session: AsyncSession, county_code: str, person_ids: Sequence[UUID]
) -> dict[UUID, Membership]:
    """The places that people have now."""
    rows = await database.fetch(
        session,
        """SELECT person_id, household_id, position, relation, labour, registered_on, sealed
           FROM member JOIN person USING (county_code, person_id)
           WHERE county_code = $1 AND person_id = ANY ($2::uuid[])""",
        county_code,
        list(person_ids),
    )
    return {row["person_id"]: membership_of(row) for row in rows}


async def membership_source(
    session: AsyncSession, county_code: str, household_id: UUID, person_id: UUID
) -> str | None:
    """Who recorded that a person is of a household; None for one who is not."""
    rows = await database.fetch(
        session,
        """SELECT source_id FROM member
           WHERE county_code = $1 AND household_id = $2 AND person_id = $3""",
        county_code,
        household_id,
        person_id,
    )
    return rows[0]["source_id"] if rows else None


async def last_position(session: AsyncSession, county_code: str, household_id: UUID) -> int:
    """The highest position that a membership of a household has, aliases' included."""
    rows = await database.fetch(
        session,
        """SELECT coalesce(max(position), 0) AS last FROM member
           WHERE county_code = $1 AND household_id = $2""",
        county_code,
        household_id,
    )
    last: int = rows[0]["last"]
    return last


async def seat(
    session: AsyncSession, county_code: str, seats: Sequence[Membership], provenance: Provenance
) -> None:
    """Give people places."""
    came = records.provenance_row(provenance)
    del came["acted_by"]
    await records.insert(
        session,
        "member",
        [
            {
                "county_code": county_code,
                "person_id": each.person_id,
                "household_id": each.household_id,
                "position": each.position,
                "relation": each.relation,
                "labour": each.labour or "",
                "registered_on": each.joined_on,
                **came,
            }
            for each in seats
        ],
    )


async def end_memberships(
    session: AsyncSession,
    county_code: str,
    person_ids: Sequence[UUID],
    provenance: Provenance,
    *,
    ended_on: date,
    reason: str,
) -> None:
    """Take people's places away; what they were goes to the past."""
    assert provenance.evidence is not None
    await database.execute(
        session,
        f"""WITH gone AS (
                DELETE FROM member WHERE county_code = $1 AND person_id = ANY ($2::uuid[])
                RETURNING {_SEAT})
            INSERT INTO member_past ({_SEAT}, ended_on, end_reason, ended_source_id,
                ended_acted_by, ended_evidence, ended_business_date)
            SELECT {_SEAT}, $3, $4, $5, $6, $7::jsonb, $8 FROM gone""",  # noqa: S608 - own constant
        county_code,
        list(person_ids),
        ended_on,
        reason,
        provenance.source_id,
        provenance.acted_by,
        json.dumps(records.evidence_json(provenance.evidence)),
        provenance.business_date,
    )


# --- persons --------------------------------------------------------------------------------------


async def lock_people(
    session: AsyncSession, county_code: str, person_ids: Sequence[UUID]
) -> dict[UUID, PersonRecord]:
    """Those of the people that there are, held until the transaction ends, in id order."""
    rows = await database.fetch(
        session,
        """SELECT person_id, identity_key, sealed, survivor_id FROM person
           WHERE county_code = $1 AND person_id = ANY ($2::uuid[])
           ORDER BY person_id FOR UPDATE""",
        county_code,
        sorted(set(person_ids)),
    )
    return {row["person_id"]: PersonRecord(**dict(row)) for row in rows}


async def read_people(
    session: AsyncSession, county_code: str, person_ids: Sequence[UUID]
) -> dict[UUID, PersonRecord]:
    """Those of the people that there are."""
    rows = await database.fetch(
        session,
        """SELECT person_id, identity_key, sealed, survivor_id FROM person
           WHERE county_code = $1 AND person_id = ANY ($2::uuid[])""",
        county_code,
        list(person_ids),
    )
    return {row["person_id"]: PersonRecord(**dict(row)) for row in rows}


async def find_people(
    session: AsyncSession, county_code: str, keys: Sequence[bytes]
) -> dict[bytes, set[UUID]]:
    """
    All the people behind keyed hashes, an alias as its survivor.

    A key is of a number, of a former number, or of a name with a birth date.
    """
    rows = await database.fetch(
        session,
        """SELECT identity_key AS key, coalesce(survivor_id, person_id) AS person_id FROM person
           WHERE county_code = $1 AND identity_key = ANY ($2::bytea[])
           UNION
           SELECT o.identity_key, coalesce(p.survivor_id, p.person_id)
           FROM person_past AS o JOIN person AS p USING (county_code, person_id)
           WHERE county_code = $1 AND o.identity_key = ANY ($2::bytea[])
           UNION
           SELECT likeness_key, coalesce(survivor_id, person_id) FROM person
           WHERE county_code = $1 AND likeness_key = ANY ($2::bytea[])""",
        county_code,
        list(keys),
    )
    found: dict[bytes, set[UUID]] = {}
    for row in rows:
        found.setdefault(row["key"], set()).add(row["person_id"])
    return found


async def save_person(
    session: AsyncSession,
    county_code: str,
    before: PersonRecord,
    *,
    identity_key: bytes,
    sealed: bytes,
    likeness_key: bytes,
    provenance: Provenance,
) -> None:
    """Write who a person is; what the record said before goes to the past."""
    await records.insert(
        session,
        "person_past",
        [
            {
                "county_code": county_code,
                "past_id": ids.new_id(),
                "person_id": before.person_id,
                "identity_key": before.identity_key,
                "sealed": before.sealed,
                **records.provenance_row(provenance),
            }
        ],
    )
    await database.execute(
        session,
        """UPDATE person SET identity_key = $3, sealed = $4, likeness_key = $5
           WHERE county_code = $1 AND person_id = $2""",
        county_code,
        before.person_id,
        identity_key,
        sealed,
        likeness_key,
    )


async def note_death(
    session: AsyncSession, county_code: str, person_id: UUID, died_on: date
) -> None:
    """Write on which day a person died."""
    await database.execute(
        session,
        "UPDATE person SET died_on = $3 WHERE county_code = $1 AND person_id = $2",
        county_code,
        person_id,
        died_on,
    )


async def dead(session: AsyncSession, county_code: str, person_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the people who died."""
    rows = await database.fetch(
        session,
        """SELECT person_id FROM person WHERE county_code = $1
             AND person_id = ANY ($2::uuid[]) AND died_on IS NOT NULL""",
        county_code,
        list(person_ids),
    )
    return {row["person_id"] for row in rows}


# --- duplicates and merges ------------------------------------------------------------------------


async def note_duplicates(
    session: AsyncSession,
    county_code: str,
    people: Sequence[tuple[UUID, bytes]],
    business_date: date,
    *,
    with_newer: bool = False,
) -> int:
    """
    Keep the pairs that people (id, likeness) make with the newest before them; how many.

    People of one batch pair once, so new ones look at older ones only.
    """
    pairs = await database.fetch(
        session,
        """SELECT n.person_id, o.person_id AS other_id
           FROM unnest($2::uuid[], $3::bytea[]) AS n (person_id, likeness_key)
           CROSS JOIN LATERAL (
               SELECT person_id FROM person
               WHERE county_code = $1 AND likeness_key = n.likeness_key
                 AND (person_id < n.person_id OR $5 AND person_id <> n.person_id)
                 AND survivor_id IS NULL
               ORDER BY person_id DESC LIMIT $4) AS o""",
        county_code,
        *database.columns(people, 2),
        LIKE_MAX,
        with_newer,
    )
    await keep_duplicates(session, county_code, pairs, business_date)
    return len(pairs)


async def keep_duplicates(
    session: AsyncSession, county_code: str, pairs: Sequence[Any], business_date: date
) -> None:
    """Keep pairs of people who may be one; a pair that is known stays as it is."""
    await records.insert(
        session,
        "duplicate",
        [
            {
                "county_code": county_code,
                "duplicate_id": ids.new_id(),
                "person_id": pair["person_id"],
                "other_id": pair["other_id"],
                "ground": "same_name_and_birth",
                "state": DuplicateState.OPEN,
                "business_date": business_date,
            }
            for pair in pairs
        ],
        again=True,
    )


def _duplicate(row: Any) -> Duplicate:
    return Duplicate(
        duplicate_id=row["duplicate_id"],
        person_id=row["person_id"],
        other_id=row["other_id"],
        ground=row["ground"],
        state=DuplicateState(row["state"]),
        found_on=row["business_date"],
    )


async def list_duplicates(
    session: AsyncSession, county_code: str, *, decided: bool, after: UUID, limit: int
) -> list[Duplicate]:
    """Suspected duplicates, oldest first."""
    rows = await database.fetch(
        session,
        """SELECT * FROM duplicate
           WHERE county_code = $1 AND (state = 'open' OR $2) AND duplicate_id > $3
           ORDER BY duplicate_id LIMIT $4""",
        county_code,
        decided,
        after,
        limit,
    )
    return [_duplicate(row) for row in rows]


async def lock_duplicate(
    session: AsyncSession, county_code: str, duplicate_id: UUID
) -> Duplicate | None:
    """One suspected duplicate, held until the transaction ends."""
    rows = await database.fetch(
        session,
        "SELECT * FROM duplicate WHERE county_code = $1 AND duplicate_id = $2 FOR UPDATE",
        county_code,
        duplicate_id,
    )
    return _duplicate(rows[0]) if rows else None


async def decide_duplicates(
    session: AsyncSession,
    county_code: str,
    pair: tuple[UUID, UUID],
    state: DuplicateState,
    provenance: Provenance,
) -> None:
    """Write what a person said of a pair, whichever of the two came first."""
    assert provenance.evidence is not None
    await database.execute(
        session,
        """UPDATE duplicate SET state = $3, decided_source_id = $4, decided_by = $5,
               decided_evidence = $6::jsonb, decided_at = now()
           WHERE county_code = $1 AND person_id = ANY ($2::uuid[]) AND other_id = ANY ($2::uuid[])
        """,
        county_code,
        list(pair),
        state.value,
        provenance.source_id,
        provenance.acted_by,
        json.dumps(records.evidence_json(provenance.evidence)),
    )


async def insert_merge(
    session: AsyncSession, county_code: str, merge: Merge, reason: str, provenance: Provenance
) -> None:
    """Keep that one record is an alias of another."""
    await records.insert(
        session,
        "merge",
        [
            {
                "county_code": county_code,
                "merge_id": merge.merge_id,
                "kind": merge.kind,
                "alias_id": merge.alias_id,
                "survivor_id": merge.survivor_id,
                "reason": reason,
                **records.provenance_row(provenance),
            }
        ],
    )


async def insert_undoing(
    session: AsyncSession, county_code: str, merge_id: UUID, reason: str, provenance: Provenance
) -> None:
    """Keep that a merge was undone."""
    row = {
        "county_code": county_code,
        "merge_id": merge_id,
        "reason": reason,
        **records.provenance_row(provenance),
    }
    await records.insert(session, "merge_undone", [row])


async def load_merge(session: AsyncSession, county_code: str, merge_id: UUID) -> Merge | None:
    """A merge, and whether it was undone."""
    rows = await database.fetch(
        session,
        """SELECT g.merge_id, g.kind, g.alias_id, g.survivor_id, u.merge_id IS NOT NULL AS undone
           FROM merge AS g LEFT JOIN merge_undone AS u USING (county_code, merge_id)
           WHERE county_code = $1 AND g.merge_id = $2""",
        county_code,
        merge_id,
    )
    if not rows:
        return None
    row = rows[0]
    kind = MergeKind(row["kind"])
    return Merge(row["merge_id"], kind, row["alias_id"], row["survivor_id"], row["undone"])


async def has_aliases(session: AsyncSession, county_code: str, record_id: UUID) -> bool:
    """Whether a household or person is what others are aliases of."""
    rows = await database.fetch(
        session,
        """SELECT EXISTS (SELECT FROM household WHERE county_code = $1 AND survivor_id = $2)
               OR EXISTS (SELECT FROM person WHERE county_code = $1 AND survivor_id = $2) AS has""",
        county_code,
        record_id,
    )
    return bool(rows[0]["has"])


async def alias_person(
    session: AsyncSession, county_code: str, alias_id: UUID, survivor_id: UUID | None
) -> None:
    """Make a person's record an alias of another, or stand alone again."""
    await database.execute(
        session,
        "UPDATE person SET survivor_id = $3 WHERE county_code = $1 AND person_id = $2",
        county_code,
        alias_id,
        survivor_id,
    )
