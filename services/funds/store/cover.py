"""Funds: SQL of cover, and of what is known of covered loans."""

from collections.abc import Iterable, Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import (
    Amounts,
    Arrears,
    Cover,
    CoverState,
    Key,
    LoanPayment,
    Statement,
)
from services.funds.store.shared import split
from services.kernel import database
from services.kernel.money import Fen


def _cover(row: asyncpg.Record) -> Cover:
    return Cover(
        county_code=row["county_code"],
        loan_id=row["loan_id"],
        lender_id=row["lender_id"],
        borrower_class=row["borrower_class"],
        area_code=row["area_code"],
        programme=row["programme"],
        principal_fen=Fen(row["principal_fen"]),
        model_id=row["model_id"],
        fund_id=row["fund_id"],
        state=CoverState(row["state"]),
        disbursed=row["disbursed"],
        version=row["version"],
    )


async def lock_covers(session: AsyncSession, keys: Iterable[Key]) -> dict[Key, Cover]:
    """The covers of some loans, held in id order; a loan without one is left out."""
    rows = await database.fetch(
        session,
        """SELECT c.* FROM cover AS c
           JOIN unnest($1::text[], $2::uuid[]) AS k (county_code, loan_id)
             USING (county_code, loan_id)
           ORDER BY c.county_code, c.loan_id FOR UPDATE OF c""",
        *split(keys),
    )
    return {(row["county_code"], row["loan_id"]): _cover(row) for row in rows}


async def lock_unused_covers(
    session: AsyncSession, county_code: str, *, area_prefix: str, lender_id: str
) -> dict[Key, Cover]:
    """Reserved cover of loans that were not paid out yet, in an area or of a lender."""
    rows = await database.fetch(
        session,
        """SELECT * FROM cover
           WHERE county_code = $1 AND state = 'reserved' AND NOT disbursed
             AND starts_with(area_code, $2) AND ($3 = '' OR lender_id = $3)
           ORDER BY county_code, loan_id FOR UPDATE""",
        county_code,
        area_prefix,
        lender_id,
    )
    return {(row["county_code"], row["loan_id"]): _cover(row) for row in rows}


async def save_covers(session: AsyncSession, covers: Sequence[Cover]) -> None:
    """Write covers, new ones and those that were locked."""
    if not covers:
        return
    rows = [
        (
            cover.county_code,
            cover.loan_id,
            cover.lender_id,
            cover.borrower_class,
            cover.area_code,
            cover.programme,
            cover.principal_fen,
            cover.model_id,
            cover.fund_id,
            cover.state.value,
            cover.disbursed,
            cover.version,
        )
        for cover in covers
    ]
    await database.execute(
        session,
        """INSERT INTO cover (county_code, loan_id, lender_id, borrower_class, area_code,
                              programme, principal_fen, model_id, fund_id, state, disbursed,
                              version)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[],
                                $6::text[], $7::bigint[], $8::text[], $9::uuid[], $10::text[],
                                $11::boolean[], $12::bigint[])
           ON CONFLICT (county_code, loan_id) DO UPDATE
           SET lender_id = excluded.lender_id, borrower_class = excluded.borrower_class,
               area_code = excluded.area_code, programme = excluded.programme,
               principal_fen = excluded.principal_fen, model_id = excluded.model_id,
               fund_id = excluded.fund_id, state = excluded.state,
               disbursed = excluded.disbursed, version = excluded.version""",
        *database.columns(rows, 12),
    )


async def save_statements(session: AsyncSession, statements: Sequence[Statement]) -> None:
    """Keep the latest word on each covered loan; at most one statement a loan."""
    if not statements:
        return
    rows = [
        (
            each.county_code,
            each.loan_id,
            each.loan_sequence,
            each.stated_on,
            each.overdue_days,
            each.non_performing,
            each.owed.principal_fen,
            each.owed.interest_fen,
        )
        for each in statements
    ]
    await database.execute(
        session,
        """INSERT INTO loan_statement AS s (county_code, loan_id, loan_sequence, stated_on,
                                            overdue_days, non_performing, principal_fen,
                                            interest_fen)
           SELECT n.* FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::date[], $5::int[],
                                  $6::boolean[], $7::bigint[], $8::bigint[])
                AS n (county_code, loan_id, loan_sequence, stated_on, overdue_days,
                      non_performing, principal_fen, interest_fen)
           JOIN cover USING (county_code, loan_id)
           ON CONFLICT (county_code, loan_id) DO UPDATE
           SET loan_sequence = excluded.loan_sequence, stated_on = excluded.stated_on,
               overdue_days = excluded.overdue_days, non_performing = excluded.non_performing,
               principal_fen = excluded.principal_fen, interest_fen = excluded.interest_fen
           WHERE s.loan_sequence < excluded.loan_sequence""",
        *database.columns(rows, 8),
    )


async def add_payments(session: AsyncSession, payments: Sequence[LoanPayment]) -> None:
    """Keep what was paid on covered loans."""
    if not payments:
        return
    rows = [
        (
            each.county_code,
            each.loan_id,
            each.event_id,
            each.payout_id,
            each.business_date,
            each.paid.principal_fen,
            each.paid.interest_fen,
        )
        for each in payments
    ]
    await database.execute(
        session,
        """INSERT INTO loan_payment (county_code, loan_id, event_id, payout_id, business_date,
                                     principal_fen, interest_fen)
           SELECT n.* FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::date[],
                                  $6::bigint[], $7::bigint[])
                AS n (county_code, loan_id, event_id, payout_id, business_date, principal_fen,
                      interest_fen)
           JOIN cover USING (county_code, loan_id)""",
        *database.columns(rows, 7),
    )


async def undo_payout(
    session: AsyncSession, county_code: str, payout_id: str, *, event_id: UUID, on: date
) -> None:
    """Mirror what a payout had paid, on the day it was undone."""
    await database.execute(
        session,
        """INSERT INTO loan_payment (county_code, loan_id, event_id, payout_id, business_date,
                                     principal_fen, interest_fen)
           SELECT county_code, loan_id, $3, payout_id, $4, -sum(principal_fen)::bigint,
                  -sum(interest_fen)::bigint
           FROM loan_payment WHERE county_code = $1 AND payout_id = $2
           GROUP BY county_code, loan_id, payout_id""",
        county_code,
        payout_id,
        event_id,
        on,
    )


async def arrears_of(session: AsyncSession, keys: Iterable[Key]) -> dict[Key, Arrears]:
    """The last statement on each loan and what was paid after its day."""
    rows = await database.fetch(
        session,
        """SELECT s.*, p.principal_paid_fen, p.interest_paid_fen
           FROM unnest($1::text[], $2::uuid[]) AS k (county_code, loan_id)
           JOIN loan_statement AS s USING (county_code, loan_id)
           CROSS JOIN LATERAL (
               SELECT coalesce(sum(principal_fen), 0)::bigint AS principal_paid_fen,
                      coalesce(sum(interest_fen), 0)::bigint AS interest_paid_fen
               FROM loan_payment AS l
               WHERE l.county_code = s.county_code AND l.loan_id = s.loan_id
                 AND l.business_date > s.stated_on
           ) AS p""",
        *split(keys),
    )
    return {
        (row["county_code"], row["loan_id"]): Arrears(
            stated_on=row["stated_on"],
            overdue_days=row["overdue_days"],
            non_performing=row["non_performing"],
            stated=Amounts(Fen(row["principal_fen"]), Fen(row["interest_fen"])),
            paid_since=Amounts(Fen(row["principal_paid_fen"]), Fen(row["interest_paid_fen"])),
        )
        for row in rows
    }
