"""Claims: SQL of what was taken over, and of what it is held against."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import ApprovedLoan, InsuredEntry
from services.claims.rules.opening import Total
from services.claims.store.insured import entry_of
from services.kernel import database
from services.kernel.money import Fen

POLICY: Final = "policy"
INSURED: Final = "insured"
ASSIGNMENT: Final = "assignment"
CLAIM: Final = "claim"

OpeningKey = tuple[str, str, str]
"""Insurer, kind and the insurer's reference."""

Seat = tuple[UUID, UUID | None, str, UUID]
"""Who is on a list: household, loan, cover and policy."""


@dataclass(frozen=True, slots=True)
class OpeningRow:
    """What was taken over, as it is kept."""

    key: OpeningKey
    record_id: UUID
    sum_insured_fen: int = 0
    premium_fen: int = 0
    premium_owed_fen: int = 0
    claimed_fen: int = 0


@dataclass(frozen=True, slots=True)
class KnownLoan:
    """A loan with where its household is now, and whether it is open."""

    loan: ApprovedLoan
    area_code: str
    open: bool


async def taken_over(
    session: AsyncSession, county_code: str, keys: Collection[OpeningKey]
) -> dict[OpeningKey, UUID]:
    """Of some references those that came in before, each with what it became."""
    rows = await database.fetch(
        session,
        """SELECT insurer_id, kind, reference, record_id FROM policy_opening
           JOIN unnest($2::text[], $3::text[], $4::text[]) AS asked (insurer_id, kind, reference)
                USING (insurer_id, kind, reference)
           WHERE county_code = $1""",
        county_code,
        *database.columns(sorted(set(keys)), 3),
    )
    return {(row["insurer_id"], row["kind"], row["reference"]): row["record_id"] for row in rows}


async def totals_by_insurer(session: AsyncSession, county_code: str) -> dict[str, Total]:
    """What all openings of a county come to."""
    rows = await database.fetch(
        session,
        """SELECT insurer_id, count(*) FILTER (WHERE kind = 'policy') AS policies,
                  count(*) FILTER (WHERE kind = 'insured') AS insured,
                  sum(sum_insured_fen)::bigint AS sum_insured_fen,
                  sum(premium_fen)::bigint AS premium_fen,
                  sum(premium_owed_fen)::bigint AS premium_owed_fen,
                  count(*) FILTER (WHERE kind = 'assignment') AS assignments,
                  count(*) FILTER (WHERE kind = 'claim') AS claims,
                  sum(claimed_fen)::bigint AS claimed_fen
           FROM policy_opening WHERE county_code = $1 GROUP BY insurer_id""",
        county_code,
    )
    names = tuple(Total.__dataclass_fields__)
    return {row["insurer_id"]: Total(**{name: row[name] for name in names}) for row in rows}


async def policies_around(
    session: AsyncSession, county_code: str, *, from_date: date, until_date: date
) -> list[UUID]:
    """Policies that have a day in common with some days."""
    rows = await database.fetch(
        session,
        """SELECT policy_id FROM master_policy
           WHERE county_code = $1 AND from_date <= $3 AND until_date >= $2""",
        county_code,
        from_date,
        until_date,
    )
    return [row["policy_id"] for row in rows]


async def entries_of(
    session: AsyncSession, county_code: str, insured_ids: Collection[UUID]
) -> dict[UUID, InsuredEntry]:
    """Entries of insured lists by id."""
    rows = await database.fetch(
        session,
        "SELECT * FROM insured WHERE county_code = $1 AND insured_id = ANY($2::uuid[])",
        county_code,
        list(insured_ids),
    )
    return {row["insured_id"]: entry_of(row) for row in rows}


async def loans_of(
    session: AsyncSession, county_code: str, loan_ids: Collection[UUID]
) -> dict[UUID, KnownLoan]:
    """Loans by id, with their households' places."""
    rows = await database.fetch(
        session,
        """SELECT l.*, coalesce(h.area_code, l.area_code) AS place
           FROM loan AS l LEFT JOIN household AS h USING (county_code, household_id)
           WHERE l.county_code = $1 AND l.loan_id = ANY($2::uuid[])""",
        county_code,
        list(loan_ids),
    )
    return {
        row["loan_id"]: KnownLoan(
            loan=ApprovedLoan(
                county_code=county_code,
                loan_id=row["loan_id"],
                household_id=row["household_id"],
                area_code=row["area_code"],
                lender_id=row["lender_id"],
                principal_fen=Fen(row["principal_fen"]),
                programme=row["programme"],
                assignment_evidence=row["assignment_evidence"],
                required_covers=tuple(row["required_covers"]),
                approved_on=row["approved_on"],
            ),
            area_code=row["place"],
            open=row["state"] == "approved",
        )
        for row in rows
    }


async def on_lists(
    session: AsyncSession, county_code: str, households: Collection[UUID]
) -> set[Seat]:
    """Household, loan, cover and policy of every standing entry of some households."""
    rows = await database.fetch(
        session,
        """SELECT household_id, loan_id, cover_id, policy_id FROM insured
           WHERE county_code = $1 AND household_id = ANY($2::uuid[])
             AND state <> 'cancelled' AND until_date = term_until""",
        county_code,
        list(households),
    )
    return {(r["household_id"], r["loan_id"], r["cover_id"], r["policy_id"]) for r in rows}


async def assigned_covers(
    session: AsyncSession, county_code: str, loan_ids: Collection[UUID]
) -> set[tuple[UUID, str]]:
    """Loan and cover of every assignment that stands for some loans."""
    rows = await database.fetch(
        session,
        """SELECT loan_id, cover_id FROM assignment
           WHERE county_code = $1 AND loan_id = ANY($2::uuid[]) AND revoked_from IS NULL""",
        county_code,
        list(loan_ids),
    )
    return {(row["loan_id"], row["cover_id"]) for row in rows}


Loss = tuple[UUID, str, date]
"""Household, cover and day of a loss: one claim each."""


async def claimed_losses(
    session: AsyncSession, county_code: str, households: Collection[UUID]
) -> set[Loss]:
    """The losses of some households that have a claim."""
    rows = await database.fetch(
        session,
        """SELECT household_id, cover_id, loss_date FROM claim
           WHERE county_code = $1 AND household_id = ANY($2::uuid[]) AND taken_in""",
        county_code,
        list(households),
    )
    return {(row["household_id"], row["cover_id"], row["loss_date"]) for row in rows}


async def await_no_more(
    session: AsyncSession, county_code: str, covers: Sequence[tuple[UUID, str]]
) -> None:
    """Loans wait for covers no more that they have now."""
    await database.execute(
        session,
        """DELETE FROM awaited_cover AS a
           USING unnest($2::uuid[], $3::text[]) AS had (loan_id, cover_id)
           WHERE a.county_code = $1 AND a.loan_id = had.loan_id AND a.cover_id = had.cover_id""",
        county_code,
        *database.columns(covers, 2),
    )


async def save(
    session: AsyncSession,
    county_code: str,
    openings: Sequence[OpeningRow],
    *,
    opening_on: date,
    person_id: str,
) -> None:
    """Write what came in."""
    rows = [
        (
            county_code,
            *each.key,
            each.record_id,
            opening_on,
            each.sum_insured_fen,
            each.premium_fen,
            each.premium_owed_fen,
            each.claimed_fen,
            person_id,
        )
        for each in openings
    ]
    await database.execute(
        session,
        """INSERT INTO policy_opening (county_code, insurer_id, kind, reference, record_id,
                                       opening_on, sum_insured_fen, premium_fen, premium_owed_fen,
                                       claimed_fen, person_id)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::uuid[],
                                $6::date[], $7::bigint[], $8::bigint[], $9::bigint[],
                                $10::bigint[], $11::text[])""",
        *database.columns(rows, 11),
    )
