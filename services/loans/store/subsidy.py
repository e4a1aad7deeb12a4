"""Loans: SQL of the interest subsidy: months used, budgets, claims of the treasury."""

from collections.abc import Collection, Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.money import Fen
from services.loans import store
from services.loans.model import Loan, SubsidyClaim, SubsidyClaimLine


async def lock_uncounted(session: AsyncSession, county_code: str, limit: int) -> list[Loan]:
    """Subsidised loans whose months of subsidy are not counted yet, held."""
    rows = await database.fetch(
        session,
        """SELECT * FROM loan WHERE county_code = $1 AND state = 'active' AND subsidised
             AND subsidy_ends_on IS NULL ORDER BY loan_id LIMIT $2 FOR UPDATE""",
        county_code,
        limit,
    )
    return [store.loan_of(row) for row in rows]


async def lock_ending(session: AsyncSession, county_code: str, day: date, limit: int) -> list[Loan]:
    """Loans whose months of subsidy are used up by a day, held."""
    rows = await database.fetch(
        session,
        """SELECT * FROM loan WHERE county_code = $1 AND state = 'active' AND subsidised
             AND subsidy_ended_on IS NULL AND subsidy_ends_on <= $2
           ORDER BY loan_id LIMIT $3 FOR UPDATE""",
        county_code,
        day,
        limit,
    )
    return [store.loan_of(row) for row in rows]


async def subsidised_spells(
    session: AsyncSession, county_code: str, household_ids: Collection[UUID]
) -> dict[UUID, list[tuple[UUID, date, date]]]:
    """By household: each loan that was ever subsidised, from which day until which (S29)."""
    rows = await database.fetch(
        session,
        """SELECT household_id, loan_id, disbursed_on,
                  coalesce(subsidy_ended_on,
                           CASE WHEN state = 'active' THEN subsidy_ends_on ELSE accrued_through END,
                           disbursed_on) AS until
           FROM loan WHERE county_code = $1 AND household_id = ANY($2::uuid[]) AND subsidised
             AND disbursed_on IS NOT NULL
           ORDER BY disbursed_on, loan_id""",
        county_code,
        list(household_ids),
    )
    found: dict[UUID, list[tuple[UUID, date, date]]] = {each: [] for each in household_ids}
    for row in rows:
        found[row["household_id"]].append((row["loan_id"], row["disbursed_on"], row["until"]))
    return found


async def lock_subsidised(
    session: AsyncSession,
    county_code: str,
    *,
    lender_id: str,
    programme_id: str,
    limit: int,
    after: UUID | None,
) -> list[Loan]:
    """A lender's loans of a programme that the treasury bears or bore, in id order, held."""
    rows = await database.fetch(
        session,
        """SELECT * FROM loan WHERE county_code = $1 AND lender_id = $2 AND subsidised
             AND split_part(programme, '@', 1) = $3 AND disbursed_on IS NOT NULL
             AND ($5::uuid IS NULL OR loan_id > $5)
           ORDER BY loan_id LIMIT $4 FOR UPDATE""",
        county_code,
        lender_id,
        programme_id,
        limit,
        after,
    )
    return [store.loan_of(row) for row in rows]


async def claimed(
    session: AsyncSession, county_code: str, loan_ids: Collection[UUID]
) -> dict[UUID, int]:
    """What was claimed of each loan so far."""
    rows = await database.fetch(
        session,
        """SELECT loan_id, sum(amount_fen)::bigint AS amount_fen FROM subsidy_claim_line
           WHERE county_code = $1 AND loan_id = ANY($2::uuid[]) GROUP BY loan_id""",
        county_code,
        list(loan_ids),
    )
    return {row["loan_id"]: int(row["amount_fen"]) for row in rows}


def _claim(row: asyncpg.Record) -> SubsidyClaim:
    return SubsidyClaim(
        row["claim_id"],
        row["lender_id"],
        row["programme_id"],
        row["year"],
        row["quarter"],
        Fen(row["amount_fen"]),
        row["loans"],
        row["claimed_on"],
        row["claimed_by"],
        row["paid_on"],
    )


async def later_claim(
    session: AsyncSession, county_code: str, claim: SubsidyClaim
) -> SubsidyClaim | None:
    """The claim of the same quarter or a later one, if there is one; claimants take turns."""
    await database.fetch(
        session,
        "SELECT pg_advisory_xact_lock(hashtext('subsidy-claim'), hashtext($1))",
        f"{county_code}:{claim.lender_id}:{claim.programme_id}",
    )
    rows = await database.fetch(
        session,
        """SELECT * FROM subsidy_claim WHERE county_code = $1 AND lender_id = $2
             AND programme_id = $3 AND (year, quarter) >= ($4, $5)
           ORDER BY year, quarter LIMIT 1""",
        county_code,
        claim.lender_id,
        claim.programme_id,
        claim.year,
        claim.quarter,
    )
    return _claim(rows[0]) if rows else None


async def insert_claim(
    session: AsyncSession,
    county_code: str,
    claim: SubsidyClaim,
    lines: Sequence[SubsidyClaimLine],
) -> None:
    """Write a claim and its lines."""
    await database.execute(
        session,
        """INSERT INTO subsidy_claim (county_code, claim_id, lender_id, programme_id, year,
                                      quarter, amount_fen, loans, claimed_on, claimed_by)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)""",
        county_code,
        claim.claim_id,
        claim.lender_id,
        claim.programme_id,
        claim.year,
        claim.quarter,
        claim.amount_fen,
        claim.loans,
        claim.claimed_on,
        claim.claimed_by,
    )
    values = [
        (county_code, claim.claim_id, e.loan_id, e.household_id, e.amount_fen, e.borne_fen)
        for e in lines
    ]
    await database.execute(
        session,
        """INSERT INTO subsidy_claim_line (county_code, claim_id, loan_id, household_id,
                                           amount_fen, borne_fen)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[],
                                $6::bigint[])""",
        *database.columns(values, 6),
    )


_FIND_CLAIM = "SELECT * FROM subsidy_claim WHERE county_code = $1 AND claim_id = $2"
_HOLD_CLAIM = "SELECT * FROM subsidy_claim WHERE county_code = $1 AND claim_id = $2 FOR UPDATE"


async def find_claim(
    session: AsyncSession, county_code: str, claim_id: UUID, *, hold: bool = False
) -> SubsidyClaim | None:
    """One claim."""
    rows = await database.fetch(
        session,
        _HOLD_CLAIM if hold else _FIND_CLAIM,
        county_code,
        claim_id,
    )
    return _claim(rows[0]) if rows else None


async def pay_claim(
    session: AsyncSession,
    county_code: str,
    claim_id: UUID,
    *,
    on: date,
    person_id: str,
    reference: str,
) -> None:
    """Note that a claim was paid."""
    await database.execute(
        session,
        """UPDATE subsidy_claim SET paid_on = $3, paid_by = $4, reference = $5
           WHERE county_code = $1 AND claim_id = $2""",
        county_code,
        claim_id,
        on,
        person_id,
        reference,
    )


async def list_claims(
    session: AsyncSession, county_code: str, *, lender_id: str, after: UUID | None, limit: int
) -> list[SubsidyClaim]:
    """Claims of one lender or all, in id order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM subsidy_claim WHERE county_code = $1 AND ($2 = '' OR lender_id = $2)
             AND ($3::uuid IS NULL OR claim_id > $3) ORDER BY claim_id LIMIT $4""",
        county_code,
        lender_id,
        after,
        limit,
    )
    return [_claim(row) for row in rows]


async def claim_lines(
    session: AsyncSession, county_code: str, claim_id: UUID, *, after: UUID | None, limit: int
) -> list[SubsidyClaimLine]:
    """Lines of a claim, in loan order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM subsidy_claim_line WHERE county_code = $1 AND claim_id = $2
             AND ($3::uuid IS NULL OR loan_id > $3) ORDER BY loan_id LIMIT $4""",
        county_code,
        claim_id,
        after,
        limit,
    )
    return [
        SubsidyClaimLine(
            row["loan_id"], row["household_id"], Fen(row["amount_fen"]), Fen(row["borne_fen"])
        )
        for row in rows
    ]


async def budget(
    session: AsyncSession, county_code: str, programme_id: str, year: int
) -> tuple[int, int, int]:
    """What is set aside for a year, claimed for its quarters, and paid of it."""
    # Whoever changes any of the three waits for the others.
    await database.fetch(
        session,
        "SELECT pg_advisory_xact_lock(hashtext('subsidy-budget'), hashtext($1))",
        f"{county_code}:{programme_id}:{year}",
    )
    rows = await database.fetch(
        session,
        """SELECT coalesce((SELECT budget_fen FROM subsidy_budget WHERE county_code = $1
                            AND programme_id = $2 AND year = $3), 0)::bigint AS budget,
                  coalesce(sum(amount_fen), 0)::bigint AS claimed,
                  coalesce(sum(amount_fen) FILTER (WHERE paid_on IS NOT NULL), 0)::bigint AS paid
           FROM subsidy_claim WHERE county_code = $1 AND programme_id = $2 AND year = $3""",
        county_code,
        programme_id,
        year,
    )
    return int(rows[0]["budget"]), int(rows[0]["claimed"]), int(rows[0]["paid"])


async def save_budget(
    session: AsyncSession,
    county_code: str,
    programme_id: str,
    year: int,
    *,
    budget_fen: Fen,
    person_id: str,
) -> None:
    """Set a year's budget."""
    await database.execute(
        session,
        """INSERT INTO subsidy_budget (county_code, programme_id, year, budget_fen, person_id)
           VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (county_code, programme_id, year) DO UPDATE SET
             budget_fen = excluded.budget_fen, person_id = excluded.person_id""",
        county_code,
        programme_id,
        year,
        budget_fen,
        person_id,
    )
