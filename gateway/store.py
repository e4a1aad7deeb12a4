"""Gateway: the SQL of institutions and persons. Rows in, values out, and back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
from joserfc.util import urlsafe_b64decode
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway.identity import (
    Certificate,
    Institution,
    OwnLimit,
    Period,
    Post,
    Registered,
    day_begins,
    day_ends,
)
from gateway.person_tokens import key_id
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
INSERT INTO person AS known (institution_id, person_id, title, title_zh, duty, post, deputy_id,
                             valid_from, valid_to)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                     $7::text[], $8::date[], $9::date[])
ON CONFLICT (institution_id, person_id) DO UPDATE
SET title = excluded.title, title_zh = excluded.title_zh, duty = excluded.duty,
    post = excluded.post, deputy_id = excluded.deputy_id,
    valid_from = excluded.valid_from, valid_to = excluded.valid_to
WHERE (known.title, known.title_zh, known.duty, known.post, known.deputy_id, known.valid_from,
       known.valid_to)
      IS DISTINCT FROM (excluded.title, excluded.title_zh, excluded.duty, excluded.post,
                        excluded.deputy_id, excluded.valid_from, excluded.valid_to)
"""

_ENTER_CONTRACTS = """
INSERT INTO contract AS known (institution_id, contract_id, valid_from, valid_to)
SELECT * FROM unnest($1::text[], $2::text[], $3::date[], $4::date[])
ON CONFLICT (institution_id, contract_id) DO UPDATE
SET valid_from = excluded.valid_from, valid_to = excluded.valid_to
WHERE (known.valid_from, known.valid_to)
      IS DISTINCT FROM (excluded.valid_from, excluded.valid_to)
"""

_FORGET_CONTRACTS = """
DELETE FROM contract WHERE institution_id = ANY($1::text[]) AND NOT EXISTS (
    SELECT FROM unnest($2::text[], $3::text[]) AS kept (institution_id, contract_id)
    WHERE kept.institution_id = contract.institution_id
      AND kept.contract_id = contract.contract_id)
"""

_FORGET_PERSONS = """
DELETE FROM person WHERE institution_id = ANY($1::text[]) AND NOT EXISTS (
    SELECT FROM unnest($2::text[], $3::text[]) AS kept (institution_id, person_id)
    WHERE kept.institution_id = person.institution_id AND kept.person_id = person.person_id)
"""

_READ = """
SELECT institution_id, name, name_zh, role, county_code, areas, active, version
FROM institution
"""
_READ_PERSONS = """
SELECT institution_id, person_id, duty, post, coalesce(deputy_id, '') AS deputy_id, valid_from,
       valid_to
FROM person
"""
_READ_CONTRACTS = "SELECT institution_id, valid_from, valid_to FROM contract"
_READ_CERTIFICATES = """
SELECT institution_id, fingerprint, revoked_at IS NOT NULL AS revoked,
       least(valid_until, not_after) AS ends
FROM certificate
"""
_READ_KEYS = """
SELECT institution_id, key_id, public_key, revoked_at IS NOT NULL AS revoked, valid_until AS ends
FROM person_key
"""
_READ_LIMITS = """
SELECT institution_id, scope, calls_per_second, burst, calls_per_day, running_max FROM own_limit
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
    where = "" if institution_ids is None else " WHERE institution_id = ANY($1::text[])"
    args = [] if institution_ids is None else [list(institution_ids)]

    async def of_each(sql: str) -> dict[str, list[asyncpg.Record]]:
        found: dict[str, list[asyncpg.Record]] = {}
        for row in await database.fetch(session, sql + where, *args):
            found.setdefault(row["institution_id"], []).append(row)
        return found

    rows = await database.fetch(session, f"{_READ}{where} ORDER BY institution_id", *args)
    persons = await of_each(_READ_PERSONS)
    contracts = await of_each(_READ_CONTRACTS)
    certificates = await of_each(_READ_CERTIFICATES)
    keys = await of_each(_READ_KEYS)
    limits = await of_each(_READ_LIMITS)
    return {
        one: Institution(
            institution_id=one,
            name=row["name"],
            name_zh=row["name_zh"],
            role=row["role"],
            county_code=row["county_code"],
            areas=tuple(row["areas"]),
            active=row["active"],
            version=row["version"],
            persons={each["person_id"]: _post(each) for each in persons.get(one, ())},
            contracts=tuple(_days(each) for each in contracts.get(one, ())),
            certificates={
                each["fingerprint"]: Registered(_until(each), each["revoked"])
                for each in certificates.get(one, ())
            },
            person_keys={
                each["key_id"]: Registered(_until(each), each["revoked"], each["public_key"])
                for each in keys.get(one, ())
            },
            limits={each["scope"]: _limit(each) for each in limits.get(one, ())},
        )
        for row in rows
        for one in (row["institution_id"],)
    }


def _days(row: asyncpg.Record) -> Period:
    return Period(day_begins(row["valid_from"]), day_ends(row["valid_to"]))


def _until(row: asyncpg.Record) -> Period:
    ends = row["ends"]
    return Period() if ends is None else Period(ends=ends.timestamp())


def _post(row: asyncpg.Record) -> Post:
    return Post(_days(row), row["duty"], row["post"], row["deputy_id"])


def _limit(row: asyncpg.Record) -> OwnLimit:
    return OwnLimit(row["calls_per_second"], row["burst"], row["calls_per_day"], row["running_max"])


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
        [p.post for _, p in posts],
        [p.deputy_id for _, p in posts],
        [p.valid_from for _, p in posts],
        [p.valid_to for _, p in posts],
    )
    forgotten = await database.execute(
        session,
        _FORGET_PERSONS,
        [i.institution_id for i in given],
        [institution_id for institution_id, _ in posts],
        [p.person_id for _, p in posts],
    )
    contracted = await _enter_contracts(session, given)
    opened = await _enter_credentials(session, given)
    if changed or entered or forgotten or contracted or opened:
        await raise_version(session)
    ids = [row["institution_id"] for row in changed]
    return list((await read_institutions(session, ids)).values())


async def _enter_contracts(session: AsyncSession, given: Sequence[deployment.Institution]) -> bool:
    """Write the contracts of those that name any; whether something changed."""
    named = [i for i in given if i.contracts]
    contracts = [(i.institution_id, c) for i in named for c in i.contracts]
    ids = [institution_id for institution_id, _ in contracts]
    numbers = [c.contract_id for _, c in contracts]
    entered = await database.execute(
        session,
        _ENTER_CONTRACTS,
        ids,
        numbers,
        [c.valid_from for _, c in contracts],
        [c.valid_to for _, c in contracts],
    )
    forgotten = await database.execute(
        session, _FORGET_CONTRACTS, [i.institution_id for i in named], ids, numbers
    )
    return bool(entered or forgotten)


async def _enter_credentials(
    session: AsyncSession, given: Sequence[deployment.Institution]
) -> bool:
    """Register what institutions begin with; what was revoked stays so."""
    certificates = [(c, i.institution_id) for i in given for c in i.certificates]
    keys = [
        (i.institution_id, key_id(raw), raw)
        for i in given
        for x in i.person_keys
        for raw in (urlsafe_b64decode(x.encode()),)
    ]
    entered = await database.execute(
        session,
        """INSERT INTO certificate (fingerprint, institution_id, serial, registered_by)
           SELECT c.fingerprint, c.institution_id, '', 'deployment'
           FROM unnest($1::text[], $2::text[]) AS c (fingerprint, institution_id)
           ON CONFLICT DO NOTHING""",
        *database.columns(certificates, 2),
    )
    opened = await database.execute(
        session,
        """INSERT INTO person_key (institution_id, key_id, public_key, registered_by)
           SELECT k.institution_id, k.key_id, k.public_key, 'deployment'
           FROM unnest($1::text[], $2::text[], $3::bytea[])
                AS k (institution_id, key_id, public_key)
           ON CONFLICT DO NOTHING""",
        *database.columns(keys, 3),
    )
    return bool(entered or opened)


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
    await raise_version(session)
    return list((await read_institutions(session, [institution_id])).values())


async def raise_version(session: AsyncSession) -> None:
    """Have every gateway read the directory again."""
    await database.execute(session, "UPDATE directory_state SET version = version + 1")


@dataclass(frozen=True, slots=True)
class CertificateRecord:
    """A registered or revoked certificate."""

    institution_id: str
    fingerprint: str
    serial: str
    not_after: datetime | None
    valid_until: datetime | None
    revoked_reason: str


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A registered or revoked key of persons' tokens."""

    institution_id: str
    key_id: str
    valid_until: datetime | None
    revoked_reason: str


async def register_certificate(
    session: AsyncSession, institution_id: str, certificate: Certificate, person_id: str
) -> bool:
    """Enter a certificate; False where it is known already, to this institution or another."""
    return bool(
        await database.execute(
            session,
            """INSERT INTO certificate (fingerprint, institution_id, serial, not_after,
                                        registered_by)
               VALUES ($1, $2, $3, to_timestamp($4), $5) ON CONFLICT DO NOTHING""",
            certificate.fingerprint,
            institution_id,
            certificate.serial,
            certificate.not_after,
            person_id,
        )
    )


async def end_other_certificates(
    session: AsyncSession, institution_id: str, kept: str, seconds: int
) -> None:
    """Let an institution's other certificates end soon; one that ends sooner stays so."""
    await database.execute(
        session,
        """UPDATE certificate
           SET valid_until = least(valid_until, now() + make_interval(secs => $3))
           WHERE institution_id = $1 AND fingerprint <> $2 AND revoked_at IS NULL""",
        institution_id,
        kept,
        float(seconds),
    )


async def revoke_certificate(
    session: AsyncSession, institution_id: str, fingerprint: str, reason: str, person_id: str
) -> bool:
    """Bar a certificate, known or not; False where it is another institution's."""
    return bool(
        await database.execute(
            session,
            """INSERT INTO certificate AS known (fingerprint, institution_id, serial, revoked_at,
                                                 revoked_reason, registered_by)
               VALUES ($1, $2, '', now(), $3, $4)
               ON CONFLICT (fingerprint) DO UPDATE
               SET revoked_at = coalesce(known.revoked_at, now()),
                   revoked_reason = coalesce(nullif(known.revoked_reason, ''), $3)
               WHERE known.institution_id = $2""",
            fingerprint,
            institution_id,
            reason,
            person_id,
        )
    )


async def register_key(
    session: AsyncSession, institution_id: str, key_id: str, public_key: bytes, person_id: str
) -> bool:
    """Enter a key of persons' tokens; False where it is known already."""
    return bool(
        await database.execute(
            session,
            """INSERT INTO person_key (institution_id, key_id, public_key, registered_by)
               VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING""",
            institution_id,
            key_id,
            public_key,
            person_id,
        )
    )


async def end_other_keys(
    session: AsyncSession, institution_id: str, kept: str, seconds: int
) -> None:
    """Let an institution's other keys end soon; one that ends sooner stays so."""
    await database.execute(
        session,
        """UPDATE person_key
           SET valid_until = least(valid_until, now() + make_interval(secs => $3))
           WHERE institution_id = $1 AND key_id <> $2 AND revoked_at IS NULL""",
        institution_id,
        kept,
        float(seconds),
    )


async def revoke_key(session: AsyncSession, institution_id: str, key_id: str, reason: str) -> bool:
    """Bar a key; False where the institution has none of this id."""
    return bool(
        await database.execute(
            session,
            """UPDATE person_key SET revoked_at = coalesce(revoked_at, now()),
                      revoked_reason = coalesce(nullif(revoked_reason, ''), $3)
               WHERE institution_id = $1 AND key_id = $2""",
            institution_id,
            key_id,
            reason,
        )
    )


async def credentials(
    session: AsyncSession, institution_ids: Sequence[str]
) -> tuple[list[CertificateRecord], list[KeyRecord]]:
    """The certificates and keys of institutions, oldest first."""
    certificates = await database.fetch(
        session,
        """SELECT institution_id, fingerprint, serial, not_after, valid_until, revoked_reason
           FROM certificate WHERE institution_id = ANY($1::text[])
           ORDER BY institution_id, registered_at, fingerprint""",
        list(institution_ids),
    )
    keys = await database.fetch(
        session,
        """SELECT institution_id, key_id, valid_until, revoked_reason
           FROM person_key WHERE institution_id = ANY($1::text[])
           ORDER BY institution_id, registered_at, key_id""",
        list(institution_ids),
    )
    return [CertificateRecord(*row) for row in certificates], [KeyRecord(*row) for row in keys]


async def propose_standing(
    session: AsyncSession,
    order_id: UUID,
    institution_id: str,
    *,
    active: bool,
    reason: str,
    person_id: str,
) -> None:
    """Ask that an institution be suspended or resumed; an order nobody decided gives way."""
    await database.execute(
        session,
        """UPDATE standing_order
           SET decided_by = 'superseded', decided_at = now(), confirmed = false
           WHERE institution_id = $1 AND decided_at IS NULL""",
        institution_id,
    )
    await database.execute(
        session,
        """INSERT INTO standing_order (order_id, institution_id, active, reason, proposed_by)
           VALUES ($1, $2, $3, $4, $5)""",
        order_id,
        institution_id,
        active,
        reason,
        person_id,
    )


async def open_order(
    session: AsyncSession, order_id: UUID, hours_max: int
) -> tuple[str, bool, str] | None:
    """The institution, what is asked and by whom, of an order that may still be decided."""
    rows = await database.fetch(
        session,
        """SELECT institution_id, active, proposed_by FROM standing_order
           WHERE order_id = $1 AND decided_at IS NULL
             AND proposed_at > now() - make_interval(hours => $2) FOR UPDATE""",
        order_id,
        hours_max,
    )
    return (rows[0][0], rows[0][1], rows[0][2]) if rows else None


async def close_order(
    session: AsyncSession, order_id: UUID, person_id: str, *, confirmed: bool
) -> None:
    """Note who decided an order, and how."""
    await database.execute(
        session,
        """UPDATE standing_order SET decided_by = $2, decided_at = now(), confirmed = $3
           WHERE order_id = $1""",
        order_id,
        person_id,
        confirmed,
    )


async def standing_reasons(session: AsyncSession, institution_ids: Sequence[str]) -> dict[str, str]:
    """Why institutions stand as they do: the reason of the last confirmed order."""
    rows = await database.fetch(
        session,
        """SELECT DISTINCT ON (institution_id) institution_id, reason FROM standing_order
           WHERE institution_id = ANY($1::text[]) AND confirmed
           ORDER BY institution_id, decided_at DESC""",
        list(institution_ids),
    )
    return {row["institution_id"]: row["reason"] for row in rows}


async def set_limit(
    session: AsyncSession, institution_id: str, scope: str, limit: OwnLimit | None
) -> None:
    """Give an institution a limit of its own, or take it back."""
    if limit is None:
        await database.execute(
            session,
            "DELETE FROM own_limit WHERE institution_id = $1 AND scope = $2",
            institution_id,
            scope,
        )
        return
    await database.execute(
        session,
        """INSERT INTO own_limit (institution_id, scope, calls_per_second, burst, calls_per_day,
                                  running_max)
           VALUES ($1, $2, $3, $4, $5, $6)
           ON CONFLICT (institution_id, scope) DO UPDATE
           SET calls_per_second = excluded.calls_per_second, burst = excluded.burst,
               calls_per_day = excluded.calls_per_day, running_max = excluded.running_max""",
        institution_id,
        scope,
        limit.calls_per_second,
        limit.burst,
        limit.calls_per_day,
        limit.running_max,
    )
