"""Tie store: which institution has to do with which household, and what households consent to."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database


@dataclass(frozen=True, slots=True)
class Tie:
    """A household has applied to an institution, owes it, is insured by it or claims from it."""

    kind: str
    """`application`, `debt`, `cover` or `claim`."""
    object_id: UUID
    institution_id: str
    county_code: str
    household_id: UUID


@dataclass(frozen=True, slots=True)
class HeldConsent:
    """A household lets an institution know some kinds of data for a purpose."""

    consent_id: UUID
    county_code: str
    household_id: UUID
    receiver_id: str
    purpose: str
    categories: tuple[str, ...]
    valid_from: date
    valid_to: date


@dataclass(frozen=True, slots=True)
class Standing:
    """How an institution stands to a household today, for a purpose."""

    kinds: frozenset[str] = frozenset()
    """Of live ties."""
    categories: frozenset[str] = frozenset()
    """Of live consents."""


NOTHING = Standing()


def id_of(text: str) -> UUID | None:
    """A household's id as it stands in a message; None where no id stands there."""
    try:
        return UUID(text)
    except ValueError:
        return None


async def tie(session: AsyncSession, ties: Sequence[Tie]) -> None:
    """Note ties as live; an application that became a debt is the debt alone."""
    rows = [(t.kind, t.object_id, t.institution_id, t.county_code, t.household_id) for t in ties]
    await database.write(
        session,
        """INSERT INTO household_tie (kind, object_id, institution_id, county_code, household_id,
                                      live)
           SELECT DISTINCT ON (object_id, kind, institution_id) t.*, true
           FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::uuid[])
                AS t (kind, object_id, institution_id, county_code, household_id)
           ON CONFLICT (object_id, kind, institution_id) DO UPDATE SET live = true""",
        *database.columns(rows, 5),
    )


async def end(session: AsyncSession, kinds: Collection[str], object_ids: Sequence[UUID]) -> None:
    """End the ties that rest on objects."""
    await database.write(
        session,
        """UPDATE household_tie SET live = false
           WHERE object_id = ANY($1::uuid[]) AND kind = ANY($2::text[]) AND live""",
        list(object_ids),
        sorted(kinds),
    )


async def reopen(session: AsyncSession, kind: str, object_ids: Sequence[UUID]) -> None:
    """Let ties live again that rest on objects."""
    await database.execute(
        session,
        "UPDATE household_tie SET live = true WHERE object_id = ANY($1::uuid[]) AND kind = $2",
        list(object_ids),
        kind,
    )


async def paid_by(session: AsyncSession, pairs: Sequence[tuple[UUID, UUID]]) -> None:
    """Note by which payouts claims are paid: claim and payout."""
    await database.write(
        session,
        """UPDATE household_tie SET payout_id = p.payout_id
           FROM unnest($1::uuid[], $2::uuid[]) AS p (claim_id, payout_id)
           WHERE object_id = p.claim_id AND kind = 'claim'""",
        *database.columns(pairs, 2),
    )


async def end_paid(session: AsyncSession, payout_ids: Sequence[UUID]) -> None:
    """End the claims whose payouts are settled."""
    await database.execute(
        session,
        "UPDATE household_tie SET live = false WHERE payout_id = ANY($1::uuid[]) AND live",
        list(payout_ids),
    )


async def merge(session: AsyncSession, pairs: Sequence[tuple[UUID, UUID]]) -> None:
    """Note that households live on in others: alias and survivor."""
    await database.execute(
        session,
        """INSERT INTO household_alias (alias_id, survivor_id)
           SELECT * FROM unnest($1::uuid[], $2::uuid[])
           ON CONFLICT (alias_id) DO UPDATE SET survivor_id = excluded.survivor_id""",
        *database.columns(pairs, 2),
    )


async def unmerge(session: AsyncSession, alias_ids: Sequence[UUID]) -> None:
    """Note that households stand for themselves again."""
    await database.execute(
        session, "DELETE FROM household_alias WHERE alias_id = ANY($1::uuid[])", list(alias_ids)
    )


async def hold(session: AsyncSession, consents: Sequence[HeldConsent]) -> None:
    """Note consents."""
    for held in consents:
        await database.execute(
            session,
            """INSERT INTO household_consent (consent_id, county_code, household_id, receiver_id,
                                              purpose, categories, valid_from, valid_to)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING""",
            held.consent_id,
            held.county_code,
            held.household_id,
            held.receiver_id,
            held.purpose,
            list(held.categories),
            held.valid_from,
            held.valid_to,
        )


async def withdraw(session: AsyncSession, consent_ids: Sequence[UUID]) -> None:
    """Forget consents that were withdrawn."""
    await database.execute(
        session,
        "DELETE FROM household_consent WHERE consent_id = ANY($1::uuid[])",
        list(consent_ids),
    )


async def note_days(session: AsyncSession, days: Sequence[tuple[str, date]]) -> None:
    """Note on which business date counties are: by it consents begin and end."""
    await database.write(
        session,
        """INSERT INTO county_day AS known (county_code, business_date)
           SELECT d.county_code, max(d.business_date)
           FROM unnest($1::text[], $2::date[]) AS d (county_code, business_date)
           GROUP BY d.county_code
           ON CONFLICT (county_code) DO UPDATE SET business_date = excluded.business_date
           WHERE known.business_date < excluded.business_date""",
        *database.columns(days, 2),
    )


async def standings(
    session: AsyncSession, institution_id: str, purpose: str, household_ids: Sequence[UUID]
) -> dict[UUID, Standing]:
    """How an institution stands to those households that it has to do with, for a purpose."""
    rows = await database.fetch(
        session,
        """WITH asked AS (
               SELECT h AS household_id, h AS known_as FROM unnest($1::uuid[]) AS h
               UNION
               SELECT a.survivor_id, a.alias_id FROM household_alias a
               WHERE a.survivor_id = ANY($1::uuid[])
               UNION
               SELECT a.alias_id, a.survivor_id FROM household_alias a
               WHERE a.alias_id = ANY($1::uuid[]))
           SELECT asked.household_id, t.kind AS kind, NULL::text[] AS categories
           FROM asked JOIN household_tie t
             ON t.household_id = asked.known_as AND t.institution_id = $2 AND t.live
           UNION ALL
           SELECT asked.household_id, NULL, c.categories
           FROM asked
           JOIN household_consent c
             ON c.household_id = asked.known_as AND c.receiver_id = $2 AND c.purpose = $3
           JOIN county_day d USING (county_code)
           WHERE d.business_date BETWEEN c.valid_from AND c.valid_to""",
        list(household_ids),
        institution_id,
        purpose,
    )
    found: dict[UUID, Standing] = {}
    for row in rows:
        before = found.get(row["household_id"], NOTHING)
        found[row["household_id"]] = Standing(
            before.kinds | ({row["kind"]} if row["kind"] else set()),
            before.categories | set(row["categories"] or ()),
        )
    return found


async def day_of(session: AsyncSession, county_code: str) -> date | None:
    """The newest business date heard of a county; None before the first event."""
    rows = await database.fetch(
        session, "SELECT business_date FROM county_day WHERE county_code = $1", county_code
    )
    return rows[0]["business_date"] if rows else None
