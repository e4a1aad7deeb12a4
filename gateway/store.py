"""Gateway: the SQL of institutions and persons. Rows in, values out, and back."""

from collections.abc import Iterable, Sequence

from sqlmodel.ext.asyncio.session import AsyncSession

from gateway.identity import Institution
from services.kernel import database
from services.programmes.schema import deployment

_ENTER_INSTITUTIONS = """
INSERT INTO institution AS known (institution_id, name, name_zh, role, county_code, areas)
SELECT i.id, i.name, i.name_zh, i.role, i.county, string_to_array(i.areas, ' ')
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
     AS i (id, name, name_zh, role, county, areas)
ORDER BY i.id
ON CONFLICT (institution_id) DO UPDATE
SET name = excluded.name, name_zh = excluded.name_zh, role = excluded.role,
    county_code = excluded.county_code, areas = excluded.areas, version = known.version + 1
WHERE (known.name, known.name_zh, known.role, known.county_code, known.areas)
      IS DISTINCT FROM
      (excluded.name, excluded.name_zh, excluded.role, excluded.county_code, excluded.areas)
RETURNING institution_id
"""

_ENTER_PERSONS = """
INSERT INTO person AS known (institution_id, person_id, title, title_zh, duty)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
ON CONFLICT (institution_id, person_id) DO UPDATE
SET title = excluded.title, title_zh = excluded.title_zh, duty = excluded.duty
WHERE (known.title, known.title_zh, known.duty)
      IS DISTINCT FROM (excluded.title, excluded.title_zh, excluded.duty)
"""

_FORGET_PERSONS = """
DELETE FROM person WHERE institution_id = ANY($1::text[]) AND NOT EXISTS (
    SELECT FROM unnest($2::text[], $3::text[]) AS kept (institution_id, person_id)
    WHERE kept.institution_id = person.institution_id AND kept.person_id = person.person_id)
"""

_READ = """
SELECT institution_id, name, name_zh, role, county_code, areas, active, version,
       ARRAY(SELECT person_id FROM person AS p WHERE p.institution_id = i.institution_id) AS persons
FROM institution AS i
"""


async def directory_version(session: AsyncSession) -> int:
    """Which state of the directory the database holds."""
    rows = await database.fetch(session, "SELECT version FROM directory_state")
    version: int = rows[0]["version"]
    return version


async def read_institutions(
    session: AsyncSession, institution_ids: Sequence[str] | None = None
) -> dict[str, Institution]:
    """All institutions with their persons, or only those named."""
    if institution_ids is None:
        rows = await database.fetch(session, _READ)
    else:
        named = f"{_READ} WHERE institution_id = ANY($1::text[]) ORDER BY institution_id"
        rows = await database.fetch(session, named, list(institution_ids))
    return {
        row["institution_id"]: Institution(
            institution_id=row["institution_id"],
            name=row["name"],
            name_zh=row["name_zh"],
            role=row["role"],
            county_code=row["county_code"],
            areas=tuple(row["areas"]),
            active=row["active"],
            version=row["version"],
            persons=frozenset(row["persons"]),
        )
        for row in rows
    }


async def enter_institutions(
    session: AsyncSession, institutions: Iterable[deployment.Institution]
) -> list[Institution]:
    """Write institutions with exactly these persons; those that were added or changed."""
    given = list(institutions)
    # Processes that start together take turns.
    await database.fetch(session, "SELECT version FROM directory_state FOR UPDATE")
    changed = await database.fetch(
        session,
        _ENTER_INSTITUTIONS,
        [i.institution_id for i in given],
        [i.name.en for i in given],
        [i.name.zh for i in given],
        [i.role.value for i in given],
        [i.county_code for i in given],
        [" ".join(i.areas) for i in given],
    )
    posts = [(i.institution_id, p) for i in given for p in i.persons]
    entered = await database.execute(
        session,
        _ENTER_PERSONS,
        [institution_id for institution_id, _ in posts],
        [p.person_id for _, p in posts],
        [p.title.en for _, p in posts],
        [p.title.zh for _, p in posts],
        [p.duty for _, p in posts],
    )
    forgotten = await database.execute(
        session,
        _FORGET_PERSONS,
        [i.institution_id for i in given],
        [institution_id for institution_id, _ in posts],
        [p.person_id for _, p in posts],
    )
    if changed or entered or forgotten:
        await _raise_version(session)
    ids = [row["institution_id"] for row in changed]
    return list((await read_institutions(session, ids)).values())


async def set_active(
    session: AsyncSession, institution_id: str, *, active: bool
) -> list[Institution]:
    """Suspend an institution or let it call again; empty when it is so already."""
    rows = await database.execute(
        session,
        """UPDATE institution SET active = $2, version = version + 1
           WHERE institution_id = $1 AND active <> $2""",
        institution_id,
        active,
    )
    if not rows:
        return []
    await _raise_version(session)
    return list((await read_institutions(session, [institution_id])).values())


async def _raise_version(session: AsyncSession) -> None:
    await database.execute(session, "UPDATE directory_state SET version = version + 1")
