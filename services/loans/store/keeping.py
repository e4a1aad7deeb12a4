"""Loans: who keeps a lender's book, what core systems posted, where our books differ."""

from collections.abc import Collection, Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.money import Fen
from services.loans.rules.keeping import (
    Cause,
    CoreEntry,
    CoreKind,
    Difference,
    Keeper,
    LenderBook,
)


async def decide_book(session: AsyncSession, county_code: str, decided: LenderBook) -> None:
    """Write a decision; those before it stay."""
    await database.execute(
        session,
        """INSERT INTO lender_book (county_code, lender_id, keeper, from_day, decided_on,
                                    decided_by)
           VALUES ($1, $2, $3, $4, $5, $6)""",
        county_code,
        decided.lender_id,
        decided.keeper,
        decided.from_day,
        decided.decided_on,
        decided.decided_by,
    )


async def keeper(session: AsyncSession, county_code: str, lender_id: str, on: date) -> Keeper:
    """Who keeps a lender's book on a day; Liandong where nothing was decided."""
    rows = await database.fetch(
        session,
        """SELECT keeper FROM lender_book
           WHERE county_code = $1 AND lender_id = $2 AND from_day <= $3
           ORDER BY from_day DESC, number DESC LIMIT 1""",
        county_code,
        lender_id,
        on,
    )
    return Keeper(rows[0]["keeper"]) if rows else Keeper.LIANDONG


async def lender_books(
    session: AsyncSession, county_code: str, *, start: int, limit: int
) -> list[LenderBook]:
    """Decisions of a county, the latest first."""
    rows = await database.fetch(
        session,
        """SELECT * FROM lender_book WHERE county_code = $1
           ORDER BY number DESC OFFSET $2 LIMIT $3""",
        county_code,
        start,
        limit,
    )
    return [
        LenderBook(
            lender_id=row["lender_id"],
            keeper=Keeper(row["keeper"]),
            from_day=row["from_day"],
            decided_on=row["decided_on"],
            decided_by=row["decided_by"],
        )
        for row in rows
    ]


async def alone(session: AsyncSession, county_code: str, lender_id: str) -> None:
    """One at a time posts or takes over for a lender: two must not take the same reference."""
    await database.execute(
        session,
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
        f"loans.references:{county_code}:{lender_id}",
    )


def _entry(row: asyncpg.Record) -> CoreEntry:
    outstanding = row["outstanding_fen"]
    return CoreEntry(
        reference=row["reference"],
        loan_id=row["loan_id"],
        kind=CoreKind(row["kind"]),
        value_date=row["value_date"],
        amount_fen=Fen(row["amount_fen"]),
        principal_fen=Fen(row["principal_fen"]),
        interest_fen=Fen(row["interest_fen"]),
        outstanding_fen=None if outstanding is None else Fen(outstanding),
        five_tier_class=row["five_tier_class"],
        undoes=row["undoes"],
    )


async def core_entries(
    session: AsyncSession, county_code: str, lender_id: str, references: Collection[str]
) -> dict[str, tuple[CoreEntry, int | None]]:
    """Entries that were taken before, each with the posting it made, by reference."""
    rows = await database.fetch(
        session,
        """SELECT * FROM core_entry
           WHERE county_code = $1 AND lender_id = $2 AND reference = ANY($3::text[])""",
        county_code,
        lender_id,
        list(references),
    )
    return {row["reference"]: (_entry(row), row["posting"]) for row in rows}


async def interest_entries(
    session: AsyncSession, county_code: str, loan_ids: Collection[UUID]
) -> dict[UUID, list[tuple[date, int]]]:
    """Interest that core systems charged, by loan: day and amount."""
    found: dict[UUID, list[tuple[date, int]]] = {loan_id: [] for loan_id in loan_ids}
    rows = await database.fetch(
        session,
        """SELECT loan_id, value_date, interest_fen FROM core_entry
           WHERE county_code = $1 AND loan_id = ANY($2::uuid[]) AND kind = 'interest'""",
        county_code,
        list(loan_ids),
    )
    for row in rows:
        found[row["loan_id"]].append((row["value_date"], row["interest_fen"]))
    return found


async def save_core_entries(
    session: AsyncSession,
    county_code: str,
    lender_id: str,
    rows: Sequence[tuple[CoreEntry, int | None]],
    booked_on: date,
) -> None:
    """Write entries, each with the posting it made."""
    values = [
        (
            county_code,
            lender_id,
            entry.reference,
            entry.loan_id,
            entry.kind,
            entry.value_date,
            entry.amount_fen,
            entry.principal_fen,
            entry.interest_fen,
            entry.outstanding_fen,
            entry.five_tier_class,
            entry.undoes,
            posting,
            booked_on,
        )
        for entry, posting in rows
    ]
    await database.execute(
        session,
        """INSERT INTO core_entry (county_code, lender_id, reference, loan_id, kind, value_date,
                                   amount_fen, principal_fen, interest_fen, outstanding_fen,
                                   five_tier_class, undoes, posting, booked_on)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::text[],
                                $6::date[], $7::bigint[], $8::bigint[], $9::bigint[],
                                $10::bigint[], $11::text[], $12::text[], $13::int[],
                                $14::date[])""",
        *database.columns(values, 14),
    )


async def save_differences(
    session: AsyncSession, county_code: str, found: Sequence[Difference], found_on: date
) -> None:
    """Write differences, in order."""
    values = [
        (
            county_code,
            each.lender_id,
            each.entry.reference,
            each.entry.loan_id,
            each.cause,
            each.theirs_fen,
            each.ours_fen,
            each.detail,
            each.entry.value_date,
            found_on,
        )
        for each in found
    ]
    await database.execute(
        session,
        """INSERT INTO book_difference (county_code, lender_id, reference, loan_id, cause,
                                        theirs_fen, ours_fen, detail, value_date, found_on)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::text[],
                                $6::bigint[], $7::bigint[], $8::text[], $9::date[],
                                $10::date[])""",
        *database.columns(values, 10),
    )


async def list_differences(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    lender_id: str,
    loan_id: UUID | None,
    cause: Cause | None,
    after: int,
    limit: int,
) -> list[asyncpg.Record]:
    """Differences of loans within any of some areas, the oldest first, from a number on."""
    return await database.fetch(
        session,
        """SELECT d.* FROM book_difference AS d JOIN loan USING (county_code, loan_id)
           WHERE d.county_code = $1 AND d.number > $2
             AND EXISTS (SELECT FROM unnest($3::text[]) AS a (code)
                         WHERE starts_with(loan.area_code, a.code))
             AND ($4 = '' OR d.lender_id = $4)
             AND ($5::uuid IS NULL OR d.loan_id = $5)
             AND ($6::text IS NULL OR d.cause = $6)
           ORDER BY d.number LIMIT $7""",
        county_code,
        after,
        list(areas),
        lender_id,
        loan_id,
        cause,
        limit,
    )
