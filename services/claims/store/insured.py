"""Claims: SQL of insured lists, of the loans an entry stands behind, and of endorsements."""

from collections.abc import Mapping, Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import (
    Actor,
    Endorsement,
    EntryState,
    Household,
    InsuredEntry,
    Standing,
)
from services.kernel import database
from services.kernel.money import Fen


def entry_of(row: asyncpg.Record) -> InsuredEntry:
    """An entry of a list as its row has it."""
    return InsuredEntry(
        county_code=row["county_code"],
        insured_id=row["insured_id"],
        policy_id=row["policy_id"],
        household_id=row["household_id"],
        member_id=row["member_id"],
        loan_id=row["loan_id"],
        cover_id=row["cover_id"],
        sum_insured_fen=Fen(row["sum_insured_fen"]),
        premium_fen=Fen(row["premium_fen"]),
        premium_payer_id=row["premium_payer_id"],
        from_date=row["from_date"],
        until_date=row["until_date"],
        term_until=row["term_until"],
        state=EntryState(row["state"]),
        version=row["version"],
    )


async def add_insured(session: AsyncSession, entries: Sequence[InsuredEntry]) -> set[UUID]:
    """Put entries on their policies' lists; the ids of those that were not on it already."""
    rows = [
        (
            entry.county_code,
            entry.insured_id,
            entry.policy_id,
            entry.household_id,
            entry.member_id,
            entry.loan_id,
            entry.cover_id,
            entry.sum_insured_fen,
            entry.premium_fen,
            entry.premium_payer_id,
            entry.from_date,
            entry.until_date,
            entry.term_until,
            entry.state.value,
            entry.version,
        )
        for entry in entries
    ]
    if not rows:
        return set()
    added = await database.fetch(
        session,
        """INSERT INTO insured (county_code, insured_id, policy_id, household_id, member_id,
                                loan_id, cover_id, sum_insured_fen, premium_fen,
                                premium_payer_id, from_date, until_date, term_until, state,
                                version)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[],
                                $6::uuid[], $7::text[], $8::bigint[], $9::bigint[], $10::text[],
                                $11::date[], $12::date[], $13::date[], $14::text[], $15::bigint[])
           ON CONFLICT DO NOTHING RETURNING insured_id""",
        *database.columns(rows, 15),
    )
    return {row["insured_id"] for row in added}


async def on_list(
    session: AsyncSession,
    county_code: str,
    policy_id: UUID,
    asked: Sequence[tuple[UUID, str]],
) -> set[tuple[UUID, UUID | None, UUID | None, str]]:
    """Who of these is on a policy's list: household, member, loan and cover."""
    rows = await database.fetch(
        session,
        """SELECT i.household_id, i.member_id, i.loan_id, i.cover_id
           FROM unnest($3::uuid[], $4::text[]) AS asked (household_id, cover_id)
           JOIN insured AS i ON i.county_code = $1 AND i.household_id = asked.household_id
                            AND i.cover_id = asked.cover_id
           WHERE i.policy_id = $2 AND i.state <> 'cancelled' AND i.until_date = i.term_until""",
        county_code,
        policy_id,
        *database.columns(sorted(set(asked)), 2),
    )
    return {(r["household_id"], r["member_id"], r["loan_id"], r["cover_id"]) for r in rows}


async def lock_entries(
    session: AsyncSession, county_code: str, policy_id: UUID, insured_ids: Sequence[UUID]
) -> dict[UUID, InsuredEntry]:
    """Entries of a policy, held in id order until the transaction ends."""
    rows = await database.fetch(
        session,
        """SELECT * FROM insured
           WHERE county_code = $1 AND policy_id = $2 AND insured_id = ANY($3::uuid[])
           ORDER BY insured_id FOR UPDATE""",
        county_code,
        policy_id,
        list(set(insured_ids)),
    )
    return {row["insured_id"]: entry_of(row) for row in rows}


async def lock_open_entries(
    session: AsyncSession,
    county_code: str,
    policy_id: UUID,
    *,
    last_day: date,
    after: UUID,
    limit: int,
) -> list[InsuredEntry]:
    """Entries of a policy that would go on after a day, in id order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM insured
           WHERE county_code = $1 AND policy_id = $2 AND state IN ('waiting', 'in_force')
             AND until_date > $3 AND insured_id > $4
           ORDER BY insured_id LIMIT $5 FOR UPDATE""",
        county_code,
        policy_id,
        last_day,
        after,
        limit,
    )
    return [entry_of(row) for row in rows]


async def save_entries(session: AsyncSession, entries: Sequence[InsuredEntry]) -> None:
    """Write what endorsements made of entries."""
    rows = [
        (
            entry.county_code,
            entry.insured_id,
            entry.sum_insured_fen,
            entry.premium_fen,
            entry.until_date,
            entry.state.value,
        )
        for entry in entries
    ]
    if rows:
        await database.execute(
            session,
            """UPDATE insured AS i
               SET sum_insured_fen = s.sum_fen, premium_fen = s.premium_fen,
                   until_date = s.until_date, state = s.state
               FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[], $5::date[],
                           $6::text[])
                    AS s (county_code, insured_id, sum_fen, premium_fen, until_date, state)
               WHERE i.county_code = s.county_code AND i.insured_id = s.insured_id""",
            *database.columns(rows, 6),
        )


async def begin(
    session: AsyncSession,
    county_code: str,
    *,
    upto: date,
    unpaid_waits: Sequence[UUID],
    rows_max: int,
) -> list[InsuredEntry]:
    """
    Waiting entries that begin by a day come into force.

    Under the policies of `unpaid_waits` only those whose payers owe the policy nothing.
    """
    rows = await database.fetch(
        session,
        """WITH due AS (
               SELECT county_code, insured_id FROM insured AS i
               WHERE county_code = $1 AND state = 'waiting' AND from_date <= $2
                 AND until_date >= from_date
                 AND (i.policy_id <> ALL($3::uuid[]) OR NOT EXISTS (
                     SELECT FROM premium_charge AS c
                     WHERE c.county_code = $1 AND c.insured_id = i.insured_id
                       AND (SELECT sum(all_of.amount_fen) FROM premium_charge AS all_of
                            WHERE all_of.county_code = $1 AND all_of.policy_id = c.policy_id
                              AND all_of.payer_id = c.payer_id)
                         > coalesce((SELECT sum(p.amount_fen) FROM premium_payment AS p
                                     WHERE p.county_code = $1 AND p.policy_id = c.policy_id
                                       AND p.payer_id = c.payer_id), 0)))
               ORDER BY insured_id LIMIT $4 FOR UPDATE OF i
           )
           UPDATE insured AS i SET state = 'in_force' FROM due
           WHERE i.county_code = due.county_code AND i.insured_id = due.insured_id
           RETURNING i.*""",
        county_code,
        upto,
        list(unpaid_waits),
        rows_max,
    )
    return [entry_of(row) for row in rows]


async def policies_waiting(session: AsyncSession, county_code: str, upto: date) -> list[UUID]:
    """Policies with entries that would begin by a day."""
    rows = await database.fetch(
        session,
        """SELECT DISTINCT policy_id FROM insured
           WHERE county_code = $1 AND state = 'waiting' AND from_date <= $2""",
        county_code,
        upto,
    )
    return [row["policy_id"] for row in rows]


async def end_due(
    session: AsyncSession, county_code: str, *, upto: date, rows_max: int
) -> list[tuple[InsuredEntry, EntryState]]:
    """Entries whose last day has come are over; each with the state it was in."""
    rows = await database.fetch(
        session,
        """WITH due AS (
               SELECT county_code, insured_id, state FROM insured
               WHERE county_code = $1 AND state IN ('waiting', 'in_force') AND until_date <= $2
               ORDER BY insured_id LIMIT $3 FOR UPDATE
           )
           UPDATE insured AS i SET state = 'over' FROM due
           WHERE i.county_code = due.county_code AND i.insured_id = due.insured_id
           RETURNING i.*, due.state AS was""",
        county_code,
        upto,
        rows_max,
    )
    return [(entry_of(row), EntryState(row["was"])) for row in rows]


async def raise_versions(
    session: AsyncSession, county_code: str, counts: Mapping[UUID, int]
) -> dict[UUID, int]:
    """Count events of entries; the number of the last one of each."""
    rows = await database.fetch(
        session,
        """UPDATE insured AS i SET version = i.version + s.more
           FROM unnest($2::uuid[], $3::bigint[]) AS s (insured_id, more)
           WHERE i.county_code = $1 AND i.insured_id = s.insured_id
           RETURNING i.insured_id, i.version""",
        county_code,
        *database.columns(sorted(counts.items()), 2),
    )
    return {row["insured_id"]: row["version"] for row in rows}


async def household_entries(
    session: AsyncSession, asked: Sequence[tuple[str, UUID, str, date]]
) -> dict[tuple[str, UUID, str, date], InsuredEntry]:
    """Entries without a loan that are in force: by county, household, cover and day."""
    rows = await database.fetch(
        session,
        """SELECT DISTINCT ON (asked.county_code, asked.household_id, asked.cover_id, asked.on_date)
                  i.*, asked.on_date
           FROM unnest($1::text[], $2::uuid[], $3::text[], $4::date[])
                AS asked (county_code, household_id, cover_id, on_date)
           JOIN insured AS i USING (county_code, household_id, cover_id)
           WHERE i.loan_id IS NULL AND i.state = 'in_force'
             AND asked.on_date BETWEEN i.from_date AND i.until_date
           ORDER BY asked.county_code, asked.household_id, asked.cover_id, asked.on_date,
                    i.insured_id""",
        *database.columns(sorted(set(asked)), 4),
    )
    return {
        (row["county_code"], row["household_id"], row["cover_id"], row["on_date"]): entry_of(row)
        for row in rows
    }


async def add_covered(
    session: AsyncSession, county_code: str, covered: Sequence[tuple[UUID, str, UUID]]
) -> set[tuple[UUID, UUID]]:
    """Let entries stand behind loans (loan, cover, entry); entry and loan of those that are new."""
    rows = await database.fetch(
        session,
        """INSERT INTO covered_loan (county_code, loan_id, cover_id, insured_id)
           SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::uuid[])
           ON CONFLICT DO NOTHING RETURNING insured_id, loan_id""",
        county_code,
        *database.columns(covered, 3),
    )
    return {(row["insured_id"], row["loan_id"]) for row in rows}


async def uncovered_loans(
    session: AsyncSession, county_code: str, insured_ids: Sequence[UUID], next_day: date
) -> list[tuple[UUID, UUID, str, bool]]:
    """
    Loans that entries stood behind and that no other entry covers on the next day.

    Entry, loan, programme, and whether the loan is open.
    """
    rows = await database.fetch(
        session,
        """WITH behind AS (
               SELECT insured_id, loan_id, cover_id FROM insured
               WHERE county_code = $1 AND insured_id = ANY($2::uuid[]) AND loan_id IS NOT NULL
               UNION
               SELECT insured_id, loan_id, cover_id FROM covered_loan
               WHERE county_code = $1 AND insured_id = ANY($2::uuid[])
           )
           SELECT b.insured_id, b.loan_id, l.programme_id, l.state = 'approved' AS is_open
           FROM behind AS b JOIN loan AS l ON l.county_code = $1 AND l.loan_id = b.loan_id
           WHERE NOT EXISTS (
               SELECT FROM insured AS o
               WHERE o.county_code = $1 AND o.household_id = l.household_id
                 AND o.cover_id = b.cover_id AND o.insured_id <> b.insured_id
                 AND (o.loan_id = b.loan_id OR EXISTS (
                     SELECT FROM covered_loan AS c WHERE c.county_code = $1
                       AND c.insured_id = o.insured_id AND c.loan_id = b.loan_id))
                 AND o.state = 'in_force' AND $3 BETWEEN o.from_date AND o.until_date)
           ORDER BY b.insured_id, b.loan_id""",
        county_code,
        list(insured_ids),
        next_day,
    )
    return [(r["insured_id"], r["loan_id"], r["programme_id"], r["is_open"]) for r in rows]


async def covered_loans(
    session: AsyncSession, county_code: str, insured_ids: Sequence[UUID]
) -> list[tuple[UUID, UUID]]:
    """Entry and loan of the loans that entries of households stand behind."""
    rows = await database.fetch(
        session,
        """SELECT insured_id, loan_id FROM covered_loan
           WHERE county_code = $1 AND insured_id = ANY($2::uuid[]) ORDER BY insured_id, loan_id""",
        county_code,
        list(insured_ids),
    )
    return [(row["insured_id"], row["loan_id"]) for row in rows]


async def await_again(
    session: AsyncSession, county_code: str, awaited: Sequence[tuple[UUID, str, str]]
) -> None:
    """Open loans wait for a cover (loan, programme, cover) that they had until now."""
    if awaited:
        await database.execute(
            session,
            """INSERT INTO awaited_cover (county_code, loan_id, programme_id, cover_id)
               SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::text[])
               ON CONFLICT DO NOTHING""",
            county_code,
            *database.columns(awaited, 3),
        )


async def successors(
    session: AsyncSession,
    county_code: str,
    old_policy_id: UUID,
    new_policy_id: UUID,
    *,
    limit: int,
) -> list[InsuredEntry]:
    """Entries that stood to the end of the old policy and are not on the new one's list yet."""
    rows = await database.fetch(
        session,
        """SELECT i.* FROM insured AS i
           JOIN policy_cover AS c ON c.county_code = $1 AND c.policy_id = $3
                                 AND c.cover_id = i.cover_id
           LEFT JOIN loan AS l ON l.county_code = $1 AND l.loan_id = i.loan_id
           WHERE i.county_code = $1 AND i.policy_id = $2 AND i.state <> 'cancelled'
             AND i.until_date = i.term_until AND (i.loan_id IS NULL OR l.state = 'approved')
             AND NOT EXISTS (
                 SELECT FROM insured AS n
                 WHERE n.county_code = $1 AND n.policy_id = $3 AND n.cover_id = i.cover_id
                   AND n.household_id = i.household_id
                   AND n.loan_id IS NOT DISTINCT FROM i.loan_id
                   AND n.member_id IS NOT DISTINCT FROM i.member_id)
           ORDER BY i.insured_id LIMIT $4""",
        county_code,
        old_policy_id,
        new_policy_id,
        limit,
    )
    return [entry_of(row) for row in rows]


async def find_households(
    session: AsyncSession, county_code: str, household_ids: Sequence[UUID]
) -> dict[UUID, Household]:
    """Households that are known here."""
    rows = await database.fetch(
        session,
        """SELECT * FROM household WHERE county_code = $1 AND household_id = ANY($2::uuid[])""",
        county_code,
        list(set(household_ids)),
    )
    return {
        row["household_id"]: Household(
            row["county_code"], row["household_id"], row["area_code"], row["status"]
        )
        for row in rows
    }


async def add_endorsements(
    session: AsyncSession, endorsements: Sequence[Endorsement], *, actor: Actor, on: date
) -> None:
    """Keep what changed on lists, and by whom."""
    rows = [
        (
            e.county_code,
            e.endorsement_id,
            e.policy_id,
            e.insured_id,
            e.kind,
            e.effective_on,
            e.sum_before_fen,
            e.sum_after_fen,
            e.premium_fen,
            e.reason,
        )
        for e in endorsements
    ]
    if rows:
        await database.execute(
            session,
            """INSERT INTO endorsement (county_code, endorsement_id, policy_id, insured_id, kind,
                                        effective_on, sum_before_fen, sum_after_fen, premium_fen,
                                        reason, institution_id, person_id, business_date)
               SELECT *, $11, $12, $13
               FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::date[],
                           $7::bigint[], $8::bigint[], $9::bigint[], $10::text[])""",
            *database.columns(rows, 10),
            actor.institution_id,
            actor.person_id,
            on,
        )


_IN_AREAS = """(${0}::text[] = '{{}}' OR EXISTS (
    SELECT FROM household AS h
    WHERE h.county_code = i.county_code AND h.household_id = i.household_id
      AND EXISTS (SELECT FROM unnest(${0}::text[]) AS area
                  WHERE starts_with(h.area_code, area))))"""
"""Whether an entry `i` is of a household in the areas of a parameter; any where there are none."""


async def list_endorsements(
    session: AsyncSession,
    county_code: str,
    policy_id: UUID,
    *,
    areas: Sequence[str],
    after: UUID,
    limit: int,
) -> list[Endorsement]:
    """What changed on a policy's list, in id order; with areas only of their households."""
    rows = await database.fetch(
        session,
        f"""SELECT e.* FROM endorsement AS e
            JOIN insured AS i ON i.county_code = e.county_code AND i.insured_id = e.insured_id
            WHERE e.county_code = $1 AND e.policy_id = $2 AND e.endorsement_id > $3
              AND {_IN_AREAS.format(5)}
            ORDER BY e.endorsement_id LIMIT $4""",  # noqa: S608 - a text of ours
        county_code,
        policy_id,
        after,
        limit,
        list(areas),
    )
    return [
        Endorsement(
            county_code=row["county_code"],
            endorsement_id=row["endorsement_id"],
            policy_id=row["policy_id"],
            insured_id=row["insured_id"],
            kind=row["kind"],
            effective_on=row["effective_on"],
            sum_before_fen=Fen(row["sum_before_fen"]),
            sum_after_fen=Fen(row["sum_after_fen"]),
            premium_fen=Fen(row["premium_fen"]),
            reason=row["reason"],
            institution_id=row["institution_id"],
        )
        for row in rows
    ]


async def list_insured(
    session: AsyncSession,
    county_code: str,
    policy_id: UUID,
    *,
    household_id: UUID | None,
    areas: Sequence[str] = (),
    after: UUID,
    limit: int,
) -> list[InsuredEntry]:
    """Entries of a policy in id order, with areas only those of their households."""
    rows = await database.fetch(
        session,
        f"""SELECT i.* FROM insured AS i
            WHERE i.county_code = $1 AND i.policy_id = $2
              AND ($3::uuid IS NULL OR i.household_id = $3) AND i.insured_id > $4
              AND {_IN_AREAS.format(6)}
            ORDER BY i.insured_id LIMIT $5""",  # noqa: S608 - a text of ours
        county_code,
        policy_id,
        household_id,
        after,
        limit,
        list(areas),
    )
    return [entry_of(row) for row in rows]


async def entries_of_household(
    session: AsyncSession, county_code: str, household_id: UUID, on: date
) -> list[InsuredEntry]:
    """What a household is insured for on a day, or will be once it has paid."""
    rows = await database.fetch(
        session,
        """SELECT * FROM insured
           WHERE county_code = $1 AND household_id = $2 AND $3 BETWEEN from_date AND until_date
             AND state <> 'cancelled' ORDER BY insured_id""",
        county_code,
        household_id,
        on,
    )
    return [entry_of(row) for row in rows]


async def counts(
    session: AsyncSession, county_code: str, programme_id: str, insurer_id: str, on: date
) -> tuple[int, int, int, Fen]:
    """Certificates, policies, households and sum insured in force on a day."""
    rows = await database.fetch(
        session,
        """SELECT count(*) AS entries, count(DISTINCT i.policy_id) AS policies,
                  count(DISTINCT i.household_id) AS households,
                  coalesce(sum(i.sum_insured_fen), 0)::bigint AS sum_fen
           FROM insured AS i JOIN master_policy AS p USING (county_code, policy_id)
           WHERE i.county_code = $1 AND ($2 = '' OR p.programme_id = $2)
             AND ($3 = '' OR p.insurer_id = $3)
             AND $4 BETWEEN i.from_date AND i.until_date AND i.state <> 'cancelled'""",
        county_code,
        programme_id,
        insurer_id,
        on,
    )
    row = rows[0]
    return row["entries"], row["policies"], row["households"], Fen(row["sum_fen"])


async def policy_counts(
    session: AsyncSession, county_code: str, policy_ids: Sequence[UUID]
) -> dict[UUID, tuple[int, int]]:
    """Entries in force and households of policies."""
    rows = await database.fetch(
        session,
        """SELECT policy_id, count(*) FILTER (WHERE state = 'in_force') AS entries,
                  count(DISTINCT household_id) FILTER (WHERE state <> 'cancelled') AS households
           FROM insured WHERE county_code = $1 AND policy_id = ANY($2::uuid[])
           GROUP BY policy_id""",
        county_code,
        list(policy_ids),
    )
    return {row["policy_id"]: (row["entries"], row["households"]) for row in rows}


CoverOf = tuple[UUID, str]
"""A household and a cover."""


async def standings(
    session: AsyncSession, county_code: str, asked: Sequence[CoverOf]
) -> dict[CoverOf, list[Standing]]:
    """Every insured entry of households under covers, with what stands around it."""
    rows = await database.fetch(
        session,
        """SELECT i.*, p.insurer_id, p.programme, coalesce(l.lender_id, '') AS lender_id,
                  l.approved_on, coalesce(l.state = 'approved', false) AS loan_open,
                  coalesce(h.area_code, l.area_code) AS area_code
           FROM unnest($2::uuid[], $3::text[]) AS asked (household_id, cover_id)
           JOIN insured AS i ON i.county_code = $1 AND i.household_id = asked.household_id
                            AND i.cover_id = asked.cover_id
           JOIN master_policy AS p ON p.county_code = $1 AND p.policy_id = i.policy_id
           LEFT JOIN loan AS l ON l.county_code = $1 AND l.loan_id = i.loan_id
           LEFT JOIN household AS h ON h.county_code = $1 AND h.household_id = i.household_id
           WHERE i.state <> 'cancelled'""",
        county_code,
        *database.columns(sorted(set(asked)), 2),
    )
    found: dict[CoverOf, list[Standing]] = {}
    for row in rows:
        standing = Standing(
            entry=entry_of(row),
            insurer_id=row["insurer_id"],
            programme=row["programme"],
            lender_id=row["lender_id"],
            area_code=row["area_code"],
            loan_open=row["loan_open"],
            loan_approved_on=row["approved_on"],
        )
        found.setdefault((row["household_id"], row["cover_id"]), []).append(standing)
    return found
