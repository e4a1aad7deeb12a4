"""Loans: SQL of reports: loans as they stood on a day, from the journal; what others stated."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Final
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.money import Fen
from services.loans import store
from services.loans.rules.book import Posting
from services.loans.rules.reports import Moved, Span
from services.loans.rules.schedule import Method, Plan

CHUNK_LOANS = 2_000


@dataclass(frozen=True, slots=True)
class Question:
    """Which loans a report is about, and what its asker may see."""

    county_code: str
    areas: tuple[str, ...]
    """Within any of these."""
    lender_id: str = ""
    programme_id: str = ""
    product_id: str = ""
    household_id: UUID | None = None

    @property
    def is_of_whole_county(self) -> bool:
        """Whether every loan of its county is asked for, as what others state of it is."""
        every_area = any(self.county_code.startswith(area) for area in self.areas)
        return every_area and not (self.lender_id or self.product_id or self.household_id)


# What is known by the end of a day is what was booked by then: a later entry, whatever its value
# date, changes no report about an earlier day. Accounts that are not a loan's own are read by the
# cause of the entry, which begins with the loan.
_MOVED: Final = """
moves AS (
    SELECT debit_id AS loan_id, debit_account AS account, credit_account AS other, kind,
           amount_fen AS amount, business_date >= $3 AND business_date <= $4 AS inside,
           business_date < $3 AS earlier
    FROM journal WHERE county_code = $1 AND business_date <= $2
      AND debit_account IN ('loan_principal', 'loan_interest')
    UNION ALL
    SELECT credit_id, credit_account, debit_account, kind, -amount_fen,
           business_date >= $3 AND business_date <= $4, business_date < $3
    FROM journal WHERE county_code = $1 AND business_date <= $2
      AND credit_account IN ('loan_principal', 'loan_interest')
    UNION ALL
    SELECT split_part(cause_id, ':', 1), debit_account, credit_account, kind, amount_fen, true,
           false
    FROM journal WHERE county_code = $1 AND business_date BETWEEN $3 AND least($2, $4)
      AND (debit_account, credit_account) IN (('treasury_receivable', 'interest_income'),
                                              ('written_off', 'lender_cash'))
    UNION ALL
    SELECT split_part(cause_id, ':', 1), credit_account, debit_account, kind, -amount_fen, true,
           false
    FROM journal WHERE county_code = $1 AND business_date BETWEEN $3 AND least($2, $4)
      AND (credit_account, debit_account) IN (('treasury_receivable', 'interest_income'),
                                              ('written_off', 'lender_cash'))
), sorted AS (
    SELECT loan_id, amount, inside, earlier,
           account = 'loan_principal' AS principal, account = 'loan_interest' AS interest,
           account, other,
           CASE WHEN account = 'loan_principal' AND other = 'lender_cash'
                THEN CASE WHEN kind IN ('disbursement', 'disbursement_reversed')
                          THEN 'paid_out' ELSE 'collected' END
                WHEN account = 'loan_principal' AND other = 'opening_balance' THEN 'taken_over'
                WHEN account = 'loan_principal' AND other = 'carried_principal'
                THEN CASE WHEN kind IN ('carried_in', 'carried_in_reversed')
                          THEN 'carried_in' ELSE 'carried_out' END
                WHEN account = 'loan_principal' THEN 'written_off'
                ELSE '' END AS way
    FROM moves
), sums AS (
    SELECT loan_id,
      coalesce(sum(amount) FILTER (WHERE principal), 0)::bigint AS balance_fen,
      coalesce(sum(amount) FILTER (WHERE interest), 0)::bigint AS interest_owed_fen,
      coalesce(sum(amount) FILTER (WHERE principal AND earlier), 0)::bigint
          AS balance_before_fen,
      coalesce(sum(amount) FILTER (WHERE way IN ('paid_out', 'taken_over', 'carried_in')),
               0)::bigint AS lent_fen,
      coalesce(-sum(amount) FILTER (WHERE way = 'collected'), 0)::bigint AS collected_fen,
      coalesce(-sum(amount) FILTER (WHERE way = 'carried_out'), 0)::bigint AS carried_away_fen,
      coalesce(sum(amount) FILTER (WHERE inside AND way = 'paid_out'), 0)::bigint
          AS disbursed_fen,
      coalesce(sum(amount) FILTER (WHERE inside AND way = 'taken_over'), 0)::bigint
          AS taken_over_fen,
      coalesce(sum(amount) FILTER (WHERE inside AND way = 'carried_in'), 0)::bigint
          AS carried_in_fen,
      coalesce(-sum(amount) FILTER (WHERE inside AND way = 'carried_out'), 0)::bigint
          AS carried_out_fen,
      coalesce(-sum(amount) FILTER (WHERE inside AND way = 'collected'), 0)::bigint
          AS collected_principal_fen,
      coalesce(-sum(amount) FILTER (WHERE inside AND interest AND other = 'lender_cash'),
               0)::bigint AS collected_interest_fen,
      coalesce(-sum(amount) FILTER (WHERE inside AND interest
               AND other IN ('interest_forgiven', 'written_off')), 0)::bigint
          AS forgiven_interest_fen,
      coalesce(-sum(amount) FILTER (WHERE inside AND way = 'written_off'), 0)::bigint
          AS written_off_fen,
      coalesce(-sum(amount) FILTER (WHERE account = 'written_off'), 0)::bigint AS recovered_fen,
      coalesce(sum(amount) FILTER (WHERE inside AND interest AND other = 'interest_income'),
               0)::bigint AS interest_charged_fen,
      coalesce(sum(amount) FILTER (WHERE account = 'treasury_receivable'), 0)::bigint
          AS subsidy_fen
    FROM sorted GROUP BY loan_id
)"""

# The first change after a day says what was before it, where no earlier one does.
_HELD: Final = (
    "WITH "  # noqa: S608 - our own texts; values travel as parameters
    + _MOVED
    + """, class_at AS (
    SELECT DISTINCT ON (loan_id) loan_id, now_is AS class FROM class_change
    WHERE county_code = $1 AND changed_on <= $2 ORDER BY loan_id, change_id DESC
), class_next AS (
    SELECT DISTINCT ON (loan_id) loan_id, was AS class FROM class_change
    WHERE county_code = $1 AND changed_on > $2 ORDER BY loan_id, change_id
), class_before AS (
    SELECT DISTINCT ON (loan_id) loan_id, now_is AS class FROM class_change
    WHERE county_code = $1 AND changed_on < $3 ORDER BY loan_id, change_id DESC
), class_since AS (
    SELECT DISTINCT ON (loan_id) loan_id, was AS class FROM class_change
    WHERE county_code = $1 AND changed_on >= $3 ORDER BY loan_id, change_id
), standing AS (
    SELECT loan_id,
           (array_agg(non_performing ORDER BY change_id DESC)
                FILTER (WHERE changed_on <= $2))[1] AS at_day,
           (array_agg(NOT non_performing ORDER BY change_id)
                FILTER (WHERE changed_on > $2))[1] AS before_next
    FROM performing_change WHERE county_code = $1 GROUP BY loan_id
), plan AS (
    SELECT DISTINCT ON (loan_id) * FROM agreement
    WHERE county_code = $1 AND made_on <= $2 ORDER BY loan_id, agreement_id DESC
), planned AS (
    SELECT DISTINCT loan_id FROM agreement WHERE county_code = $1 AND made_on > $2
), labelled AS (
    SELECT DISTINCT ON (loan_id) loan_id, batch FROM loan_batch
    WHERE county_code = $1 AND stated_on <= $2 ORDER BY loan_id, number DESC
), decider AS (
    SELECT DISTINCT ON (s.loan_id) s.loan_id, s.person_id FROM step_taken AS s
    JOIN loan AS l ON l.county_code = s.county_code AND l.loan_id = s.loan_id
    WHERE s.county_code = $1 AND s.institution_id = l.lender_id
    ORDER BY s.loan_id, s.number DESC
), paid AS (
    SELECT n.loan_id, sum(n.amount_fen)::bigint AS amount_fen
    FROM subsidy_claim AS c JOIN subsidy_claim_line AS n USING (county_code, claim_id)
    WHERE county_code = $1 AND c.paid_on BETWEEN $3 AND least($2, $4) GROUP BY n.loan_id
)
SELECT l.*, s.balance_fen, s.interest_owed_fen AS owed_interest_fen, s.balance_before_fen,
       s.lent_fen, s.collected_fen, s.carried_away_fen, s.disbursed_fen, s.taken_over_fen,
       s.carried_in_fen, s.carried_out_fen, s.collected_principal_fen, s.collected_interest_fen,
       s.forgiven_interest_fen, s.written_off_fen, s.recovered_fen, s.interest_charged_fen,
       s.subsidy_fen, coalesce(paid.amount_fen, 0) AS subsidy_paid_fen,
       coalesce(class_at.class, class_next.class, l.five_tier_class) AS tier,
       coalesce(class_before.class, class_since.class, l.five_tier_class) AS tier_before,
       coalesce(standing.at_day, standing.before_next, l.non_performing_on <= $2, false)
           AS non_performing,
       plan.kind AS plan_kind, plan.made_on AS plan_made_on, plan.starts_on AS plan_starts_on,
       plan.principal_fen AS plan_principal_fen, plan.term_months AS plan_term_months,
       plan.method AS plan_method, plan.rate_ppm AS plan_rate_ppm,
       plan.matures_on AS plan_matures_on, planned.loan_id IS NOT NULL AS agreed_later,
       coalesce(labelled.batch, '') AS batch,
       coalesce(decider.person_id, nullif(taken.person_id, ''), '') AS officer,
       coalesce(a.stated::jsonb ->> 'use_mode', '') AS use_mode,
       coalesce(a.stated::jsonb ->> 'funding', '') AS funding,
       coalesce(b.entity_kind, '') AS entity_kind
FROM loan AS l
JOIN sums AS s ON s.loan_id = l.loan_id::text
LEFT JOIN class_at ON class_at.loan_id = l.loan_id
LEFT JOIN class_next ON class_next.loan_id = l.loan_id
LEFT JOIN class_before ON class_before.loan_id = l.loan_id
LEFT JOIN class_since ON class_since.loan_id = l.loan_id
LEFT JOIN standing ON standing.loan_id = l.loan_id
LEFT JOIN plan ON plan.loan_id = l.loan_id
LEFT JOIN planned ON planned.loan_id = l.loan_id
LEFT JOIN labelled ON labelled.loan_id = l.loan_id
LEFT JOIN decider ON decider.loan_id = l.loan_id
LEFT JOIN opening AS taken ON taken.county_code = l.county_code AND taken.loan_id = l.loan_id
LEFT JOIN paid ON paid.loan_id = l.loan_id
LEFT JOIN application AS a ON a.county_code = l.county_code AND a.loan_id = l.loan_id
LEFT JOIN borrower AS b ON b.county_code = l.county_code AND b.household_id = l.household_id
WHERE l.county_code = $1 AND l.disbursed_on IS NOT NULL
  AND EXISTS (SELECT FROM unnest($5::text[]) AS seen (code)
              WHERE starts_with(l.area_code, seen.code))
  AND ($6 = '' OR l.lender_id = $6)
  AND ($7 = '' OR split_part(l.programme, '@', 1) = $7)
  AND ($8 = '' OR l.product_id = $8)
  AND ($9::uuid IS NULL OR l.household_id = $9)
"""
)

_MOVED_NAMES: Final = tuple(each.name for each in fields(Moved) if each.name != "interest_owed_fen")


async def held(
    session: AsyncSession, asked: Question, span: Span
) -> AsyncGenerator[list[asyncpg.Record]]:
    """The loans that were paid out by a day as they stood at its end, some at a time."""
    # Nothing is known of how many rows the parts above give, and a loop over two of them is a
    # county's loans squared: they are hashed.
    await database.execute(session, "SELECT set_config('enable_nestloop', 'off', true)")
    async for rows in database.stream(
        session,
        _HELD,
        asked.county_code,
        span.as_of,
        span.first,
        span.last,
        list(asked.areas),
        asked.lender_id,
        asked.programme_id,
        asked.product_id,
        asked.household_id,
        chunk_rows=CHUNK_LOANS,
    ):
        yield rows


def moved_of(row: asyncpg.Record) -> Moved:
    """What the journal comes to for one loan."""
    return Moved(
        interest_owed_fen=row["owed_interest_fen"], **{name: row[name] for name in _MOVED_NAMES}
    )


def plan_of(row: asyncpg.Record) -> Plan | None:
    """The agreement that was in force."""
    if row["plan_kind"] is None:
        return None
    return Plan(
        kind=row["plan_kind"],
        made_on=row["plan_made_on"],
        starts_on=row["plan_starts_on"],
        principal_fen=Fen(row["plan_principal_fen"]),
        term_months=row["plan_term_months"],
        method=Method(row["plan_method"]),
        rate_ppm=row["plan_rate_ppm"],
        matures_on=row["plan_matures_on"],
    )


async def postings_by(
    session: AsyncSession, county_code: str, loan_ids: Collection[UUID], day: date
) -> dict[UUID, list[Posting]]:
    """The books of some loans as far as they were booked by a day."""
    books: dict[UUID, list[Posting]] = {loan_id: [] for loan_id in loan_ids}
    rows = await database.fetch(
        session,
        """SELECT * FROM posting WHERE county_code = $1 AND loan_id = ANY($2::uuid[])
             AND booked_on <= $3 ORDER BY loan_id, number""",
        county_code,
        list(loan_ids),
        day,
    )
    for row in rows:
        books[row["loan_id"]].append(store.posting_of(row))
    return books


# --- households -----------------------------------------------------------------------------------

_COUNT: Final = """SELECT left(area_code, 12) AS village_code, status, count(*)::int AS households
                   FROM borrower WHERE county_code = $1 AND area_code <> '' AND status <> ''
                   GROUP BY 1, 2"""


async def count_households(session: AsyncSession, county_code: str, day: date) -> None:
    """Keep how many households each village has at a month's end, by their status."""
    await database.execute(
        session,
        f"""INSERT INTO counted_households (county_code, counted_on, village_code, status,
                                            households)
            SELECT $1, $2, c.village_code, c.status, c.households FROM ({_COUNT}) AS c
            ON CONFLICT DO NOTHING""",  # noqa: S608 - our own text
        county_code,
        day,
    )


async def households_counted(
    session: AsyncSession, asked: Question, day: date, *, today: date, statuses: Sequence[str]
) -> tuple[date, Mapping[str, int]]:
    """
    Households by village within areas, of some statuses or all, and the day of the count.

    Of today they are counted now; of a past day it is the last month's end before it.
    """
    rows = await database.fetch(
        session,
        """SELECT max(counted_on) AS counted_on FROM counted_households
           WHERE county_code = $1 AND counted_on <= $2""",
        asked.county_code,
        day,
    )
    counted_on = rows[0]["counted_on"]
    if day >= today or counted_on is None:
        counted_on = today
        source, bound = f"({_COUNT})", "$4::date IS NOT NULL"
    else:
        source, bound = "counted_households", "county_code = $1 AND counted_on = $4"
    rows = await database.fetch(
        session,
        f"""SELECT village_code, sum(households)::int AS households FROM {source} AS c
            WHERE $1::text <> '' AND {bound}
              AND EXISTS (SELECT FROM unnest($2::text[]) AS seen (code)
                          WHERE starts_with(village_code, seen.code))
              AND (cardinality($3::text[]) = 0 OR status = ANY ($3::text[]))
            GROUP BY village_code""",  # noqa: S608 - our own texts
        asked.county_code,
        list(asked.areas),
        list(statuses),
        counted_on,
    )
    return counted_on, {row["village_code"]: row["households"] for row in rows}


# --- what became of a loan's standing -------------------------------------------------------------


async def add_performing_changes(
    session: AsyncSession, county_code: str, rows: Sequence[tuple[UUID, date, bool]]
) -> None:
    """Write which loans became non-performing, or perform again."""
    if rows:
        await database.execute(
            session,
            """INSERT INTO performing_change (county_code, loan_id, changed_on, non_performing)
               SELECT $1, * FROM unnest($2::uuid[], $3::date[], $4::bool[])""",
            county_code,
            *database.columns(rows, 3),
        )


# --- what others state ----------------------------------------------------------------------------


async def known_loans(
    session: AsyncSession, county_code: str, loan_ids: Collection[UUID]
) -> dict[UUID, tuple[str, str]]:
    """Of some loans those that exist, each with its lender and area."""
    rows = await database.fetch(
        session,
        """SELECT loan_id, lender_id, area_code FROM loan
           WHERE county_code = $1 AND loan_id = ANY ($2::uuid[])""",
        county_code,
        list(loan_ids),
    )
    return {row["loan_id"]: (row["lender_id"], row["area_code"]) for row in rows}


async def add_batches(
    session: AsyncSession,
    county_code: str,
    loan_ids: Sequence[UUID],
    *,
    batch: str,
    on: date,
    institution_id: str,
    person_id: str,
) -> None:
    """Write of which lending batch some loans are."""
    await database.execute(
        session,
        """INSERT INTO loan_batch (county_code, loan_id, batch, stated_on, institution_id,
                                   person_id)
           SELECT $1, u, $3, $4, $5, $6 FROM unnest($2::uuid[]) AS u""",
        county_code,
        list(loan_ids),
        batch,
        on,
        institution_id,
        person_id,
    )


@dataclass(frozen=True, slots=True)
class LenderRatio:
    """What a lender states of all its loans on a day, in the programme or not."""

    lender_id: str
    on_day: date
    non_performing_fen: int
    outstanding_fen: int
    evidence: str
    stated_on: date
    person_id: str
    number: int = 0


def _ratio(row: asyncpg.Record) -> LenderRatio:
    return LenderRatio(**{each.name: row[each.name] for each in fields(LenderRatio)})


async def add_lender_ratio(session: AsyncSession, county_code: str, ratio: LenderRatio) -> None:
    """Write what a lender states."""
    await database.execute(
        session,
        """INSERT INTO lender_ratio (county_code, lender_id, on_day, non_performing_fen,
                                     outstanding_fen, evidence, stated_on, person_id)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)""",
        county_code,
        ratio.lender_id,
        ratio.on_day,
        ratio.non_performing_fen,
        ratio.outstanding_fen,
        ratio.evidence,
        ratio.stated_on,
        ratio.person_id,
    )


async def list_lender_ratios(
    session: AsyncSession, county_code: str, *, lender_id: str, start: int, limit: int
) -> list[LenderRatio]:
    """What lenders stated, one's or all, the newest first."""
    rows = await database.fetch(
        session,
        """SELECT * FROM lender_ratio WHERE county_code = $1 AND ($2 = '' OR lender_id = $2)
           ORDER BY on_day DESC, number DESC OFFSET $3 LIMIT $4""",
        county_code,
        lender_id,
        start,
        limit,
    )
    return [_ratio(row) for row in rows]


async def lender_ratios_at(
    session: AsyncSession, county_code: str, day: date
) -> dict[str, LenderRatio]:
    """What each lender stated last of a day, or of one before it."""
    rows = await database.fetch(
        session,
        """SELECT DISTINCT ON (lender_id) * FROM lender_ratio
           WHERE county_code = $1 AND on_day <= $2 ORDER BY lender_id, on_day DESC, number DESC""",
        county_code,
        day,
    )
    return {row["lender_id"]: _ratio(row) for row in rows}


@dataclass(frozen=True, slots=True)
class StatedCount:
    """A count of a programme that somebody states for a day."""

    programme_id: str
    count_id: str
    on_day: date
    value: int
    evidence: str
    stated_on: date
    institution_id: str
    person_id: str


async def add_stated_count(session: AsyncSession, county_code: str, count: StatedCount) -> None:
    """Write a count."""
    await database.execute(
        session,
        """INSERT INTO stated_count (county_code, programme_id, count_id, on_day, value, evidence,
                                     stated_on, institution_id, person_id)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)""",
        county_code,
        count.programme_id,
        count.count_id,
        count.on_day,
        count.value,
        count.evidence,
        count.stated_on,
        count.institution_id,
        count.person_id,
    )


async def stated_counts_at(
    session: AsyncSession, county_code: str, programme_id: str, day: date
) -> dict[str, StatedCount]:
    """The counts of a programme that were stated last for a day."""
    rows = await database.fetch(
        session,
        """SELECT DISTINCT ON (count_id) * FROM stated_count
           WHERE county_code = $1 AND programme_id = $2 AND on_day = $3
           ORDER BY count_id, number DESC""",
        county_code,
        programme_id,
        day,
    )
    names = [each.name for each in fields(StatedCount)]
    return {row["count_id"]: StatedCount(**{name: row[name] for name in names}) for row in rows}
