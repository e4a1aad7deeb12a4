"""Loans: SQL of how loans stand: judgements, class changes, steps taken, reviews, warnings."""

from collections.abc import Collection, Sequence
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.loans import store
from services.loans.model import Action, ClassChange, Judgement, Loan, Review, Warned


async def judgements_of(
    session: AsyncSession, county_code: str, loan_ids: Collection[UUID]
) -> dict[UUID, Judgement]:
    """What persons said of loans, of those of which they did."""
    rows = await database.fetch(
        session,
        "SELECT * FROM judgement WHERE county_code = $1 AND loan_id = ANY($2::uuid[])",
        county_code,
        list(loan_ids),
    )
    return {
        row["loan_id"]: Judgement(row["judged_class"], row["kept_non_performing"]) for row in rows
    }


async def save_judgement(
    session: AsyncSession, county_code: str, loan_id: UUID, judgement: Judgement
) -> None:
    """Write what a person said of a loan."""
    await database.execute(
        session,
        """INSERT INTO judgement (county_code, loan_id, judged_class, kept_non_performing)
           VALUES ($1, $2, $3, $4)
           ON CONFLICT (county_code, loan_id) DO UPDATE SET
             judged_class = excluded.judged_class,
             kept_non_performing = excluded.kept_non_performing""",
        county_code,
        loan_id,
        judgement.judged_class,
        judgement.kept_non_performing,
    )


async def add_class_changes(
    session: AsyncSession, county_code: str, changes: Sequence[ClassChange]
) -> None:
    """Write changes of classes."""
    if not changes:
        return
    values = [
        (
            county_code,
            each.loan_id,
            each.changed_on,
            each.was,
            each.now,
            each.overdue_days,
            each.rule_version,
            each.person_id,
            each.reason,
        )
        for each in changes
    ]
    await database.execute(
        session,
        """INSERT INTO class_change (county_code, loan_id, changed_on, was, now_is, overdue_days,
                                     rule_version, person_id, reason)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::date[], $4::text[], $5::text[],
                                $6::int[], $7::text[], $8::text[], $9::text[])""",
        *database.columns(values, 9),
    )


async def class_changes(
    session: AsyncSession, county_code: str, loan_id: UUID
) -> list[ClassChange]:
    """Every change of a loan's class, in order."""
    rows = await database.fetch(
        session,
        "SELECT * FROM class_change WHERE county_code = $1 AND loan_id = $2 ORDER BY change_id",
        county_code,
        loan_id,
    )
    return [
        ClassChange(
            row["loan_id"],
            row["changed_on"],
            row["was"],
            row["now_is"],
            row["overdue_days"],
            row["rule_version"],
            row["person_id"],
            row["reason"],
        )
        for row in rows
    ]


async def add_actions(
    session: AsyncSession, county_code: str, actions: Sequence[Action]
) -> set[tuple[UUID, str, date, int]]:
    """Write steps that were taken; the keys of those that are new."""
    if not actions:
        return set()
    values = [
        (county_code, a.loan_id, a.cause, a.since, a.place, a.action, a.taken_on) for a in actions
    ]
    rows = await database.fetch(
        session,
        """INSERT INTO loan_action (county_code, loan_id, cause, since, place, action, taken_on)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::date[], $5::int[],
                                $6::text[], $7::date[])
           ON CONFLICT DO NOTHING RETURNING loan_id, cause, since, place""",
        *database.columns(values, 7),
    )
    return {(row["loan_id"], row["cause"], row["since"], row["place"]) for row in rows}


async def actions_of(session: AsyncSession, county_code: str, loan_id: UUID) -> list[Action]:
    """Every step taken on a loan, in order."""
    rows = await database.fetch(
        session,
        """SELECT * FROM loan_action WHERE county_code = $1 AND loan_id = $2
           ORDER BY taken_on, cause DESC, place""",
        county_code,
        loan_id,
    )
    return [
        Action(
            row["loan_id"],
            row["cause"],
            row["since"],
            row["place"],
            row["action"],
            row["taken_on"],
        )
        for row in rows
    ]


async def cured_ids(
    session: AsyncSession,
    county_code: str,
    day: date,
    limit: int,
    *,
    after: UUID | None,
    until: UUID | None,
) -> list[UUID]:
    """
    Active loans that nothing is overdue on, yet are marked as if it were, not held.

    None behind `until`: where all loans are marked, each chunk would look through the whole county.
    """
    rows = await database.fetch(
        session,
        """SELECT loan_id FROM loan WHERE county_code = $1 AND state = 'active'
             AND next_due_on >= $2
             AND (five_tier_class <> 'normal' OR non_performing_on IS NOT NULL)
             AND loan_id > $4 AND loan_id <= $5
           ORDER BY loan_id LIMIT $3""",
        county_code,
        day,
        limit,
        after or store.FIRST_ID,
        until or store.LAST_ID,
    )
    return [row["loan_id"] for row in rows]


async def lock_open_of(
    session: AsyncSession, county_code: str, household_ids: Collection[UUID]
) -> list[Loan]:
    """Loans of households that are decided, approved or owed, in id order, held."""
    rows = await database.fetch(
        session,
        """SELECT * FROM loan WHERE county_code = $1 AND household_id = ANY($2::uuid[])
             AND state IN ('in_review', 'awaiting_cover', 'approved', 'active')
           ORDER BY loan_id FOR UPDATE""",
        county_code,
        list(household_ids),
    )
    return [store.loan_of(row) for row in rows]


def _review(row: asyncpg.Record) -> Review:
    return Review(
        row["review_id"],
        row["loan_id"],
        row["cause"],
        row["opened_on"],
        row["closed_on"],
        row["outcome"],
        row["reason"],
    )


async def open_reviews(
    session: AsyncSession, county_code: str, reviews: Sequence[Review], person_id: str = ""
) -> set[UUID]:
    """Open reviews; the loans of those that had none open. A loan has one at a time."""
    values = [
        (county_code, r.review_id, r.loan_id, r.cause, r.opened_on, person_id) for r in reviews
    ]
    rows = await database.fetch(
        session,
        """INSERT INTO loan_review (county_code, review_id, loan_id, cause, opened_on, person_id)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::date[],
                                $6::text[])
           ON CONFLICT (county_code, loan_id) WHERE closed_on IS NULL DO NOTHING
           RETURNING loan_id""",
        *database.columns(values, 6),
    )
    return {row["loan_id"] for row in rows}


async def lock_review(session: AsyncSession, county_code: str, review_id: UUID) -> Review | None:
    """One review, held."""
    rows = await database.fetch(
        session,
        "SELECT * FROM loan_review WHERE county_code = $1 AND review_id = $2 FOR UPDATE",
        county_code,
        review_id,
    )
    return _review(rows[0]) if rows else None


async def close_review(
    session: AsyncSession, county_code: str, review: Review, person_id: str
) -> None:
    """Write how a review ended."""
    await database.execute(
        session,
        """UPDATE loan_review SET closed_on = $3, outcome = $4, reason = $5, person_id = $6
           WHERE county_code = $1 AND review_id = $2""",
        county_code,
        review.review_id,
        review.closed_on,
        review.outcome,
        review.reason,
        person_id,
    )


async def frozen(
    session: AsyncSession, county_code: str, loan_ids: Collection[UUID]
) -> dict[UUID, str]:
    """Of some loans those that are frozen, each with the cause."""
    rows = await database.fetch(
        session,
        """SELECT loan_id, cause FROM loan_review
           WHERE county_code = $1 AND loan_id = ANY($2::uuid[]) AND closed_on IS NULL""",
        county_code,
        list(loan_ids),
    )
    return {row["loan_id"]: row["cause"] for row in rows}


# Which rows a caller sees is decided by the loan that they are about.
_SEEN = """JOIN loan AS l ON l.county_code = t.county_code AND l.loan_id = t.loan_id
           WHERE t.county_code = $1
             AND EXISTS (SELECT FROM unnest($2::text[]) AS a (code)
                         WHERE starts_with(l.area_code, a.code))
             AND ($3 = '' OR l.lender_id = $3)
             AND ($4::uuid IS NULL OR t.loan_id = $4)"""


async def list_reviews(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    lender_id: str,
    loan_id: UUID | None,
    open_only: bool,
    start: int,
    limit: int,
) -> list[Review]:
    """Reviews of loans within areas, of one lender or all, in order of opening."""
    rows = await database.fetch(
        session,
        f"""SELECT t.* FROM loan_review AS t {_SEEN} AND ($5 IS FALSE OR t.closed_on IS NULL)
            ORDER BY t.opened_on, t.review_id OFFSET $6 LIMIT $7""",  # noqa: S608
        county_code,
        list(areas),
        lender_id,
        loan_id,
        open_only,
        start,
        limit,
    )
    return [_review(row) for row in rows]


async def add_warnings(
    session: AsyncSession, county_code: str, warnings: Sequence[Warned]
) -> set[tuple[UUID, str, str]]:
    """Write early warnings; the keys of those that are new."""
    if not warnings:
        return set()
    values = [(county_code, w.loan_id, w.kind, w.raised_on, w.cause_id) for w in warnings]
    rows = await database.fetch(
        session,
        """INSERT INTO early_warning (county_code, loan_id, kind, raised_on, cause_id)
           SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::date[], $5::text[])
           ON CONFLICT DO NOTHING RETURNING loan_id, kind, cause_id""",
        *database.columns(values, 5),
    )
    return {(row["loan_id"], row["kind"], row["cause_id"]) for row in rows}


async def list_warnings(
    session: AsyncSession,
    county_code: str,
    *,
    areas: Sequence[str],
    lender_id: str,
    loan_id: UUID | None,
    start: int,
    limit: int,
) -> list[Warned]:
    """Early warnings on loans within areas, of one lender or all, the oldest first."""
    rows = await database.fetch(
        session,
        f"""SELECT t.* FROM early_warning AS t {_SEEN}
            ORDER BY t.raised_on, t.loan_id, t.kind, t.cause_id
            OFFSET $5 LIMIT $6""",  # noqa: S608
        county_code,
        list(areas),
        lender_id,
        loan_id,
        start,
        limit,
    )
    return [Warned(row["loan_id"], row["kind"], row["raised_on"], row["cause_id"]) for row in rows]


async def unconfirmed_payouts(
    session: AsyncSession, county_code: str, before: date
) -> list[tuple[UUID, UUID]]:
    """Loans and payouts that were allocated up to a day, unconfirmed and not warned of."""
    rows = await database.fetch(
        session,
        """SELECT p.loan_id, p.payout_id
           FROM allocation AS a JOIN allocation_part AS p USING (county_code, payout_id)
           WHERE county_code = $1 AND a.value_date BETWEEN $2::date - 30 AND $2::date
             AND NOT EXISTS (SELECT FROM payout_confirmed AS c
                             WHERE c.county_code = $1 AND c.payout_id = a.payout_id)
             AND NOT EXISTS (SELECT FROM early_warning AS w
                             WHERE w.county_code = $1 AND w.loan_id = p.loan_id
                               AND w.kind = 'payout_unconfirmed'
                               AND w.cause_id = a.payout_id::text)
           ORDER BY p.loan_id LIMIT 5000""",
        county_code,
        before,
    )
    return [(row["loan_id"], row["payout_id"]) for row in rows]


async def confirm_payouts(session: AsyncSession, rows: Sequence[tuple[str, UUID]]) -> None:
    """Note that all who receive parts of payouts have confirmed them."""
    await database.execute(
        session,
        """INSERT INTO payout_confirmed (county_code, payout_id)
           SELECT * FROM unnest($1::text[], $2::uuid[]) ON CONFLICT DO NOTHING""",
        *database.columns(rows, 2),
    )
