"""Funds: SQL of what lenders have lent, covered or not: the weights of pools and fees."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import Key
from services.funds.store.shared import split
from services.kernel import database
from services.kernel.money import Fen


@dataclass(frozen=True, slots=True)
class LoanFacts:
    """What an event told of a loan; what it did not say is empty."""

    county_code: str
    loan_id: UUID
    programme_id: str
    lender_id: str
    household_id: str = ""
    area_code: str = ""
    product_id: str = ""


@dataclass(frozen=True, slots=True)
class Lent:
    """A sum that was paid out on a loan."""

    county_code: str
    event_id: UUID
    loan_id: UUID
    programme_id: str
    lender_id: str
    amount_fen: int
    lent_on: date


async def note_loans(session: AsyncSession, loans: Iterable[LoanFacts]) -> None:
    """Keep what is known of loans; what an event left out stays as it was."""
    rows = {
        (each.county_code, each.loan_id): (
            each.county_code,
            each.loan_id,
            each.programme_id,
            each.lender_id,
            each.household_id,
            each.area_code,
            each.product_id,
        )
        for each in loans
    }
    if not rows:
        return
    await database.execute(
        session,
        """INSERT INTO lent_loan AS l (county_code, loan_id, programme_id, lender_id, household_id,
                                       area_code, product_id, outstanding_fen)
           SELECT n.*, 0 FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[],
                                     $6::text[], $7::text[]) AS n
           ON CONFLICT (county_code, loan_id) DO UPDATE
           SET programme_id = coalesce(nullif(excluded.programme_id, ''), l.programme_id),
               lender_id = coalesce(nullif(excluded.lender_id, ''), l.lender_id),
               household_id = coalesce(nullif(excluded.household_id, ''), l.household_id),
               area_code = coalesce(nullif(excluded.area_code, ''), l.area_code),
               product_id = coalesce(nullif(excluded.product_id, ''), l.product_id)""",
        *database.columns([rows[key] for key in sorted(rows)], 7),
    )


async def add_lent(session: AsyncSession, lent: Sequence[Lent]) -> None:
    """Keep sums that were paid out, each event once."""
    rows = [
        (
            each.county_code,
            each.event_id,
            each.loan_id,
            each.programme_id,
            each.lender_id,
            each.amount_fen,
            each.lent_on,
        )
        for each in lent
        if each.amount_fen > 0
    ]
    if not rows:
        return
    await database.execute(
        session,
        """INSERT INTO lent_amount (county_code, event_id, loan_id, programme_id, lender_id,
                                    amount_fen, lent_on)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[],
                                $6::bigint[], $7::date[])
           ON CONFLICT DO NOTHING""",
        *database.columns(rows, 7),
    )


async def change_outstanding(session: AsyncSession, changes: Iterable[tuple[Key, int]]) -> None:
    """Raise or lower what loans owe; several changes of one loan count together."""
    by_loan: dict[Key, int] = {}
    for key, amount in changes:
        by_loan[key] = by_loan.get(key, 0) + amount
    rows = [(*key, by_loan[key]) for key in sorted(by_loan) if by_loan[key]]
    if not rows:
        return
    await database.write(
        session,
        """UPDATE lent_loan AS l SET outstanding_fen = greatest(0, l.outstanding_fen + n.change)
           FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS n (county_code, loan_id, change)
           WHERE l.county_code = n.county_code AND l.loan_id = n.loan_id""",
        *database.columns(rows, 3),
    )


async def set_outstanding(session: AsyncSession, owed: Iterable[tuple[Key, int]]) -> None:
    """Take over what loans owe, as it was said last."""
    latest = dict(owed)
    rows = [(*key, latest[key]) for key in sorted(latest)]
    if not rows:
        return
    await database.write(
        session,
        """UPDATE lent_loan AS l SET outstanding_fen = n.owed
           FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS n (county_code, loan_id, owed)
           WHERE l.county_code = n.county_code AND l.loan_id = n.loan_id""",
        *database.columns(rows, 3),
    )


async def renew(
    session: AsyncSession, county_code: str, pairs: Sequence[tuple[UUID, UUID, int]]
) -> None:
    """A loan carries on another's principal: new loan, old loan, principal carried."""
    if not pairs:
        return
    await database.execute(
        session,
        """INSERT INTO lent_loan AS l (county_code, loan_id, programme_id, lender_id, household_id,
                                       area_code, product_id, outstanding_fen)
           SELECT o.county_code, n.new_id, o.programme_id, o.lender_id, o.household_id,
                  o.area_code, o.product_id, n.amount
           FROM unnest($2::uuid[], $3::uuid[], $4::bigint[]) AS n (new_id, old_id, amount)
           JOIN lent_loan AS o ON o.county_code = $1 AND o.loan_id = n.old_id
           ON CONFLICT (county_code, loan_id) DO UPDATE
           SET outstanding_fen = excluded.outstanding_fen""",
        county_code,
        *database.columns(pairs, 3),
    )


async def paid_by_payout(
    session: AsyncSession, county_code: str, payout_id: str
) -> list[tuple[UUID, int]]:
    """The principal that a payout took off each loan."""
    rows = await database.fetch(
        session,
        """SELECT loan_id, sum(principal_fen)::bigint AS principal_fen FROM loan_payment
           WHERE county_code = $1 AND payout_id = $2 AND principal_fen > 0 GROUP BY loan_id""",
        county_code,
        payout_id,
    )
    return [(row["loan_id"], row["principal_fen"]) for row in rows]


async def borrowers_of(session: AsyncSession, loans: Iterable[Key]) -> dict[UUID, str]:
    """By loan, the household or enterprise that borrowed."""
    rows = await database.fetch(
        session,
        """SELECT l.loan_id, l.household_id FROM lent_loan AS l
           JOIN unnest($1::text[], $2::uuid[]) AS k (county_code, loan_id)
             USING (county_code, loan_id)""",
        *split(loans),
    )
    return {row["loan_id"]: row["household_id"] for row in rows}


async def outstanding_by_lender(
    session: AsyncSession, county_code: str, programme_id: str
) -> dict[str, int]:
    """What each lender's loans of a programme still owe."""
    rows = await database.fetch(
        session,
        """SELECT lender_id, sum(outstanding_fen)::bigint AS owed FROM lent_loan
           WHERE county_code = $1 AND programme_id = $2 AND outstanding_fen > 0
           GROUP BY lender_id""",
        county_code,
        programme_id,
    )
    return {row["lender_id"]: row["owed"] for row in rows}


async def outstanding(
    session: AsyncSession, county_code: str, programme_id: str, *, area_code: str = ""
) -> Fen:
    """What the loans of a programme owe, in an area where one is named."""
    rows = await database.fetch(
        session,
        """SELECT coalesce(sum(outstanding_fen), 0)::bigint AS owed FROM lent_loan
           WHERE county_code = $1 AND programme_id = $2 AND starts_with(area_code, $3)""",
        county_code,
        programme_id,
        area_code,
    )
    return Fen(rows[0]["owed"])


async def outstanding_of_products(
    session: AsyncSession,
    county_code: str,
    programme_id: str,
    products: Sequence[str],
    models: Sequence[str],
) -> Fen:
    """What loans of some products owe, but for those whose cover is shared in another way."""
    rows = await database.fetch(
        session,
        """SELECT coalesce(sum(l.outstanding_fen), 0)::bigint AS owed FROM lent_loan AS l
           LEFT JOIN cover AS c ON c.county_code = l.county_code AND c.loan_id = l.loan_id
             AND c.model_id <> ''
           WHERE l.county_code = $1 AND l.programme_id = $2
             AND CASE WHEN c.model_id IS NULL THEN l.product_id = ANY($3::text[])
                      ELSE c.model_id = ANY($4::text[]) END""",
        county_code,
        programme_id,
        list(products),
        list(models),
    )
    return Fen(rows[0]["owed"])


async def lent_in(
    session: AsyncSession,
    county_code: str,
    programme_id: str,
    lender_id: str,
    *,
    from_date: date,
    until_date: date,
) -> Fen:
    """What a lender paid out under a programme in a period."""
    rows = await database.fetch(
        session,
        """SELECT coalesce(sum(amount_fen), 0)::bigint AS lent FROM lent_amount
           WHERE county_code = $1 AND programme_id = $2 AND lender_id = $3
             AND lent_on BETWEEN $4 AND $5""",
        county_code,
        programme_id,
        lender_id,
        from_date,
        until_date,
    )
    return Fen(rows[0]["lent"])


async def covered_by_model(session: AsyncSession, county_code: str) -> list[tuple[str, str, int]]:
    """Programme ref, model and the principal that is covered now."""
    rows = await database.fetch(
        session,
        """SELECT programme, model_id, sum(principal_fen)::bigint AS covered FROM cover
           WHERE county_code = $1 AND state = 'reserved' GROUP BY 1, 2 ORDER BY 1, 2""",
        county_code,
    )
    return [(row["programme"], row["model_id"], row["covered"]) for row in rows]


async def owed_by_party(session: AsyncSession, county_code: str) -> list[tuple[str, str, int]]:
    """Programme, party and what it still owes on cases."""
    rows = await database.fetch(
        session,
        """SELECT split_part(c.programme, '@', 1) AS programme_id, p.party,
                  sum(p.amount_fen - p.paid_fen)::bigint AS owed
           FROM case_part AS p JOIN compensation_case AS c USING (county_code, case_id)
           WHERE p.county_code = $1 AND p.fund_id IS NULL AND NOT p.own_loss
           GROUP BY 1, 2 ORDER BY 1, 2""",
        county_code,
    )
    return [(row["programme_id"], row["party"], row["owed"]) for row in rows]
