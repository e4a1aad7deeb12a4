"""Funds: SQL of cover, and of what is known of covered loans."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import (
    Amounts,
    Arrears,
    Cover,
    CoverState,
    Insured,
    Key,
    LoanPayment,
    Statement,
)
from services.funds.store.shared import split
from services.kernel import database, ids
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
        borrower_id=row["borrower_id"],
        product_id=row["product_id"],
        renews_loan_id=row["renews_loan_id"],
        until_on=row["until_on"],
        reserved_on=row["reserved_on"],
        opening=row["opening"],
        outlet_code=row["outlet_code"],
    )


def covers_from(rows: Sequence[asyncpg.Record]) -> list[Cover]:
    """Rows of covers read."""
    return [_cover(row) for row in rows]


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
    session: AsyncSession,
    county_code: str,
    *,
    area_prefix: str = "",
    lender_id: str = "",
    programme_id: str = "",
    product_id: str = "",
    outlet_code: str | None = None,
) -> dict[Key, Cover]:
    """Reserved cover of loans that were not paid out yet, in an area, of a lender and so on."""
    rows = await database.fetch(
        session,
        """SELECT * FROM cover
           WHERE county_code = $1 AND state = 'reserved' AND NOT disbursed
             AND starts_with(area_code, $2) AND ($3 = '' OR lender_id = $3)
             AND ($4 = '' OR split_part(programme, '@', 1) = $4) AND ($5 = '' OR product_id = $5)
             AND ($6::text IS NULL OR outlet_code = $6)
           ORDER BY county_code, loan_id FOR UPDATE""",
        county_code,
        area_prefix,
        lender_id,
        programme_id,
        product_id,
        outlet_code,
    )
    return {(row["county_code"], row["loan_id"]): _cover(row) for row in rows}


_COLUMNS: Mapping[str, str] = {
    "county_code": "text",
    "loan_id": "uuid",
    "lender_id": "text",
    "borrower_class": "text",
    "area_code": "text",
    "programme": "text",
    "principal_fen": "bigint",
    "model_id": "text",
    "fund_id": "uuid",
    "state": "text",
    "disbursed": "boolean",
    "version": "bigint",
    "borrower_id": "uuid",
    "product_id": "text",
    "renews_loan_id": "uuid",
    "until_on": "date",
    "reserved_on": "date",
    "opening": "boolean",
    "outlet_code": "text",
}
_CHANGED = ", ".join(
    f"{name} = excluded.{name}" for name in _COLUMNS if name not in ("county_code", "loan_id")
)
_UNNEST = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(_COLUMNS.values(), 1))
_SAVE = f"""INSERT INTO cover ({", ".join(_COLUMNS)}) SELECT * FROM unnest({_UNNEST})
    ON CONFLICT (county_code, loan_id) DO UPDATE SET {_CHANGED}"""  # noqa: S608 - our own names


async def save_covers(session: AsyncSession, covers: Sequence[Cover]) -> None:
    """Write covers, new ones and those that were locked."""
    if not covers:
        return
    rows = [
        tuple(cover.state.value if name == "state" else getattr(cover, name) for name in _COLUMNS)
        for cover in covers
    ]
    await database.write(session, _SAVE, *database.columns(rows, len(_COLUMNS)))


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
    await database.write(
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
    await database.write(
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
        """SELECT s.*, p.principal_paid_fen, p.interest_paid_fen, c.five_tier_class,
                  c.non_performing AS stands_non_performing
           FROM unnest($1::text[], $2::uuid[]) AS k (county_code, loan_id)
           JOIN loan_statement AS s USING (county_code, loan_id)
           JOIN cover AS c USING (county_code, loan_id)
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
            non_performing=row["non_performing"] or row["stands_non_performing"],
            stated=Amounts(Fen(row["principal_fen"]), Fen(row["interest_fen"])),
            paid_since=Amounts(Fen(row["principal_paid_fen"]), Fen(row["interest_paid_fen"])),
            five_tier_class=row["five_tier_class"],
        )
        for row in rows
    }


async def lock_expired_covers(
    session: AsyncSession,
    county_code: str,
    *,
    programme_id: str,
    undisbursed_before: date | None,
    matured_before: date | None,
    limit: int,
) -> dict[Key, Cover]:
    """Reserved cover that was not used in time, or whose loan was due long ago without a case."""
    rows = await database.fetch(
        session,
        """SELECT * FROM cover AS c
           WHERE county_code = $1 AND state = 'reserved' AND split_part(programme, '@', 1) = $2
             AND ((NOT disbursed AND reserved_on < $3) OR (disbursed AND until_on < $4))
             AND NOT EXISTS (SELECT FROM compensation_case AS k
                 WHERE k.county_code = c.county_code AND k.loan_id = c.loan_id
                   AND k.state <> 'denied')
           ORDER BY county_code, loan_id LIMIT $5 FOR UPDATE""",
        county_code,
        programme_id,
        undisbursed_before,
        matured_before,
        limit,
    )
    return {(row["county_code"], row["loan_id"]): _cover(row) for row in rows}


async def refused_openings(session: AsyncSession, county_code: str, *, limit: int) -> list[Key]:
    """Loans taken over at cut-over before their programme had a fund, once it has one."""
    rows = await database.fetch(
        session,
        """SELECT loan_id FROM cover AS c
           WHERE county_code = $1 AND opening AND state = 'refused'
             AND EXISTS (SELECT FROM fund AS f WHERE f.county_code = c.county_code
                 AND f.programme_id = split_part(c.programme, '@', 1) AND f.state <> 'closed')
           ORDER BY loan_id LIMIT $2""",
        county_code,
        limit,
    )
    return [(county_code, row["loan_id"]) for row in rows]


async def save_standing(
    session: AsyncSession, rows: Sequence[tuple[str, UUID, bool | None, str | None, date | None]]
) -> None:
    """How covered loans stand; None leaves what is known. One row a loan."""
    if not rows:
        return
    await database.execute(
        session,
        """UPDATE cover AS c SET non_performing = coalesce(n.non_performing, c.non_performing),
                  five_tier_class = coalesce(n.five_tier_class, c.five_tier_class),
                  written_off_on = coalesce(n.written_off_on, c.written_off_on)
           FROM unnest($1::text[], $2::uuid[], $3::boolean[], $4::text[], $5::date[])
                AS n (county_code, loan_id, non_performing, five_tier_class, written_off_on)
           WHERE c.county_code = n.county_code AND c.loan_id = n.loan_id""",
        *database.columns(rows, 5),
    )


async def save_insured(session: AsyncSession, insured: Sequence[Insured]) -> None:
    """The last word on what insurers of loans bear; one row a loan and cover."""
    if not insured:
        return
    rows = [
        (
            each.county_code,
            each.loan_id,
            each.cover_id,
            each.insurer_id,
            each.sum_insured_fen,
            each.from_on,
            each.until_on,
        )
        for each in insured
    ]
    await database.execute(
        session,
        """INSERT INTO loan_insurance (county_code, loan_id, cover_id, insurer_id,
                                       sum_insured_fen, from_on, until_on)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::bigint[],
                                $6::date[], $7::date[])
           ON CONFLICT (county_code, loan_id, cover_id) DO UPDATE
           SET insurer_id = excluded.insurer_id, sum_insured_fen = excluded.sum_insured_fen,
               from_on = excluded.from_on, until_on = excluded.until_on""",
        *database.columns(rows, 7),
    )


async def insured_of(session: AsyncSession, keys: Iterable[Key]) -> dict[Key, list[Insured]]:
    """What insurers of these loans bear."""
    rows = await database.fetch(
        session,
        """SELECT i.* FROM loan_insurance AS i
           JOIN unnest($1::text[], $2::uuid[]) AS k (county_code, loan_id)
             USING (county_code, loan_id)
           ORDER BY i.loan_id, i.cover_id""",
        *split(keys),
    )
    found: dict[Key, list[Insured]] = {}
    for row in rows:
        made = Insured(
            county_code=row["county_code"],
            loan_id=row["loan_id"],
            cover_id=row["cover_id"],
            insurer_id=row["insurer_id"],
            sum_insured_fen=Fen(row["sum_insured_fen"]),
            from_on=row["from_on"],
            until_on=row["until_on"],
        )
        found.setdefault((made.county_code, made.loan_id), []).append(made)
    return found


async def end_insured(
    session: AsyncSession, rows: Sequence[tuple[str, UUID, str, date | None]]
) -> None:
    """An insurer's cover of a loan ended with a day."""
    await database.execute(
        session,
        """UPDATE loan_insurance AS i SET until_on = least(i.until_on, n.last_day)
           FROM unnest($1::text[], $2::uuid[], $3::text[], $4::date[])
                AS n (county_code, loan_id, cover_id, last_day)
           WHERE i.county_code = n.county_code AND i.loan_id = n.loan_id
             AND i.cover_id = n.cover_id""",
        *database.columns(rows, 4),
    )


Choices = Mapping[tuple[str, str], str]
"""A county's chosen sharing model by programme and product."""


async def choices_of(session: AsyncSession, counties: Iterable[str]) -> dict[str, Choices]:
    """The last choice of each programme's product, by county."""
    rows = await database.fetch(
        session,
        """SELECT DISTINCT ON (county_code, programme_id, product_id) *
           FROM sharing_choice WHERE county_code = ANY($1::text[])
           ORDER BY county_code, programme_id, product_id, choice_id DESC""",
        sorted(set(counties)),
    )
    found: dict[str, dict[tuple[str, str], str]] = {}
    for row in rows:
        chosen = found.setdefault(row["county_code"], {})
        chosen[row["programme_id"], row["product_id"]] = row["model_id"]
    return dict(found)


async def add_choice(
    session: AsyncSession,
    county_code: str,
    *,
    programme_id: str,
    product_id: str,
    model_id: str,
    reason: str,
    person_id: str,
    on: date,
) -> None:
    """Write a county's choice."""
    await database.execute(
        session,
        """INSERT INTO sharing_choice (county_code, choice_id, programme_id, product_id, model_id,
                                       reason, chosen_by, business_date)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)""",
        county_code,
        ids.new_id(),
        programme_id,
        product_id,
        model_id,
        reason,
        person_id,
        on,
    )


async def get_cover(
    session: AsyncSession, county_code: str, loan_id: UUID, *, seen_by: str
) -> Cover | None:
    """One cover; a lender named sees its own."""
    rows = await database.fetch(
        session,
        """SELECT * FROM cover
           WHERE county_code = $1 AND loan_id = $2 AND ($3 = '' OR lender_id = $3)""",
        county_code,
        loan_id,
        seen_by,
    )
    return _cover(rows[0]) if rows else None


async def list_covers(
    session: AsyncSession, county_code: str, *, state: str, seen_by: str, after: UUID, limit: int
) -> list[Cover]:
    """A page of a county's covers; a lender named sees its own."""
    rows = await database.fetch(
        session,
        """SELECT * FROM cover
           WHERE county_code = $1 AND loan_id > $2 AND ($3 = '' OR state = $3)
             AND ($4 = '' OR lender_id = $4)
           ORDER BY loan_id LIMIT $5""",
        county_code,
        after,
        state,
        seen_by,
        limit,
    )
    return [_cover(row) for row in rows]
