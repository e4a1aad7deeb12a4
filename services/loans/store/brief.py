"""Loans: SQL of brief reports: figures by sets, of today, and of months' ends as they were kept."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date
from typing import Final

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.loans.rules.brief import BRIEF, Brief
from services.loans.rules.reports import AREAS, Dimension, Key, Span
from services.loans.store.reports import Question

WORK_MEMORY = "64MB"
"""For one hash over a county's loans; the default would write it to disk."""

NAMES: Final = tuple(each.name for each in fields(Brief))

_KEYS: Final[Mapping[Dimension, str]] = {
    **{each: f"left(area_code, {digits})" for each, digits in AREAS.items()},
    Dimension.LENDER: "lender_id",
    Dimension.PROGRAMME: "split_part(programme, '@', 1)",
    Dimension.PRODUCT: "product_id",
    Dimension.BORROWER_TYPE: "borrower_class",
}
assert frozenset(_KEYS) == BRIEF

FINEST: Final = (
    Dimension.VILLAGE,
    Dimension.LENDER,
    Dimension.PROGRAMME,
    Dimension.PRODUCT,
    Dimension.BORROWER_TYPE,
)
"""By what a month's end is kept."""

_WHICH: Final = """county_code = $1
  AND EXISTS (SELECT FROM unnest($2::text[]) AS seen (code) WHERE starts_with(area_code, seen.code))
  AND ($3 = '' OR lender_id = $3)
  AND ($4 = '' OR split_part(programme, '@', 1) = $4)
  AND ($5 = '' OR product_id = $5)"""


def _asked(asked: Question) -> tuple[object, ...]:
    return (
        asked.county_code,
        list(asked.areas),
        asked.lender_id,
        asked.programme_id,
        asked.product_id,
    )


def _key(by: Sequence[Dimension]) -> str:
    return f"ARRAY[{', '.join(_KEYS[each] for each in by)}]::text[]"


_PRINCIPAL: Final = """
    SELECT debit_id AS id, business_date, kind, credit_account AS other, amount_fen AS amount
    FROM journal WHERE county_code = $1 AND debit_account = 'loan_principal'
    UNION ALL
    SELECT credit_id, business_date, kind, debit_account, -amount_fen
    FROM journal WHERE county_code = $1 AND credit_account = 'loan_principal'"""

# What principal moved against, as a whole report sorts it (`store.reports`).
_PAID_OUT: Final = "other = 'lender_cash' AND kind IN ('disbursement', 'disbursement_reversed')"
_COLLECTED: Final = (
    "other = 'lender_cash' AND kind NOT IN ('disbursement', 'disbursement_reversed')"
)
_CARRIED_IN: Final = "other = 'carried_principal' AND kind IN ('carried_in', 'carried_in_reversed')"
_CARRIED_AWAY: Final = (
    "other = 'carried_principal' AND kind NOT IN ('carried_in', 'carried_in_reversed')"
)
_LENT: Final = f"({_PAID_OUT}) OR other = 'opening_balance' OR ({_CARRIED_IN})"
_INSIDE: Final = "business_date BETWEEN $6 AND $7"

# Of a loan whose principal is paid back at once all that is owed is late after its day; what was
# agreed otherwise, or is paid back in parts, is worked out loan by loan (`late`).
_AT_ONCE: Final = (
    "(method NOT IN ('equal_principal', 'equal_instalment') OR revolving_until IS NOT NULL)"
)
_LAST_DAY: Final = """CASE WHEN revolving_until IS NULL
    THEN (disbursed_on + make_interval(months => term_months))::date ELSE matures_on END"""
_AGREED: Final = """EXISTS (SELECT FROM agreement AS a
    WHERE a.county_code = l.county_code AND a.loan_id = l.loan_id)"""


def _standing(by: Sequence[Dimension]) -> str:
    return f"""
SELECT {_key(by)} AS key,
    count(*) FILTER (WHERE lent) AS loans,
    count(*) FILTER (WHERE lent AND outstanding_fen + interest_owed_fen > 0) AS owing_loans,
    coalesce(sum(outstanding_fen), 0)::bigint AS balance_fen,
    coalesce(sum(interest_owed_fen), 0)::bigint AS interest_owed_fen,
    coalesce(sum(outstanding_fen) FILTER (WHERE {_LAST_DAY} < $6 AND {_AT_ONCE} AND NOT agreed),
             0)::bigint AS overdue_principal_fen,
    count(*) FILTER (WHERE bad AND outstanding_fen > 0) AS non_performing_loans,
    coalesce(sum(outstanding_fen) FILTER (WHERE bad), 0)::bigint AS non_performing_fen,
    coalesce(sum(principal_fen) FILTER (WHERE covered AND NOT compensated
        AND state IN ('in_review', 'approved', 'active', 'written_off')), 0)::bigint
        AS covered_fen,
    count(DISTINCT household_id) FILTER (WHERE lent) AS households,
    count(DISTINCT household_id) FILTER (WHERE lent AND outstanding_fen + interest_owed_fen > 0)
        AS owing_households
FROM (SELECT l.*, disbursed_on IS NOT NULL AS lent, non_performing_on IS NOT NULL AS bad,
             {_AGREED} AS agreed
      FROM loan AS l WHERE {_WHICH}) AS l
GROUP BY 1"""  # noqa: S608 - our own texts; values travel as parameters


def _moved(by: Sequence[Dimension]) -> str:
    return f"""
SELECT {_key(by)} AS key,
    coalesce(sum(amount) FILTER (WHERE {_LENT}), 0)::bigint AS lent_fen,
    coalesce(sum(amount) FILTER (WHERE {_INSIDE} AND {_PAID_OUT}), 0)::bigint AS disbursed_fen,
    coalesce(-sum(amount) FILTER (WHERE {_INSIDE} AND {_COLLECTED}), 0)::bigint
        AS collected_principal_fen
FROM ({_PRINCIPAL}) AS p
JOIN (SELECT loan_id::text AS id, area_code, lender_id, programme, product_id, borrower_class
      FROM loan WHERE disbursed_on IS NOT NULL AND {_WHICH}) AS l USING (id)
GROUP BY 1"""  # noqa: S608 - our own texts; values travel as parameters


_LATE: Final = f"""
SELECT l.*, plan.kind AS plan_kind, plan.made_on AS plan_made_on, plan.starts_on AS plan_starts_on,
       plan.principal_fen AS plan_principal_fen, plan.term_months AS plan_term_months,
       plan.method AS plan_method, plan.rate_ppm AS plan_rate_ppm,
       plan.matures_on AS plan_matures_on,
       moved.balance_fen, moved.lent_fen, moved.collected_fen, moved.carried_away_fen
FROM (SELECT l.* FROM loan AS l
      WHERE disbursed_on IS NOT NULL AND outstanding_fen > 0
        AND coalesce(next_due_on, matures_on) < $6 AND (NOT {_AT_ONCE} OR {_AGREED})
        AND {_WHICH}) AS l
LEFT JOIN LATERAL (
    SELECT * FROM agreement AS a WHERE a.county_code = l.county_code AND a.loan_id = l.loan_id
    ORDER BY agreement_id DESC LIMIT 1
) AS plan ON true
CROSS JOIN LATERAL (
    SELECT coalesce(sum(amount), 0)::bigint AS balance_fen,
           coalesce(sum(amount) FILTER (WHERE {_LENT}), 0)::bigint AS lent_fen,
           coalesce(-sum(amount) FILTER (WHERE {_COLLECTED}), 0)::bigint AS collected_fen,
           coalesce(-sum(amount) FILTER (WHERE {_CARRIED_AWAY}), 0)::bigint AS carried_away_fen
    FROM ({_PRINCIPAL}) AS p WHERE p.id = l.loan_id::text
) AS moved
"""  # noqa: S608 - our own texts; values travel as parameters


async def standing(
    session: AsyncSession, asked: Question, by: Sequence[Dimension], today: date
) -> list[asyncpg.Record]:
    """How loans stand now, by key; households of a key once each."""
    await database.execute(session, "SELECT set_config('work_mem', $1, true)", WORK_MEMORY)
    return await database.fetch(session, _standing(by), *_asked(asked), today)


async def moved(
    session: AsyncSession, asked: Question, by: Sequence[Dimension], span: Span
) -> list[asyncpg.Record]:
    """What was lent to the day, and what went out and came back within a span, by key."""
    return await database.fetch(session, _moved(by), *_asked(asked), span.first, span.as_of)


async def late(session: AsyncSession, asked: Question, today: date) -> list[asyncpg.Record]:
    """Loans with a day behind them that was not paid in full, which no set can tell how far."""
    return await database.fetch(session, _LATE, *_asked(asked), today)


# --- months' ends ---------------------------------------------------------------------------------


async def keep(
    session: AsyncSession, county_code: str, day: date, rows: Mapping[Key, Brief]
) -> None:
    """Write what a month's end came to, by the finest keys; once."""
    values = [(*key, *(getattr(own, name) for name in NAMES)) for key, own in sorted(rows.items())]
    if not values:
        return
    types = ["text"] * len(FINEST) + ["bigint"] * len(NAMES)
    arrays = ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(types, 3))
    await database.execute(
        session,
        f"""INSERT INTO kept_figures (county_code, kept_on, area_code, lender_id, programme,
                                      product_id, borrower_class, {", ".join(NAMES)})
            SELECT $1, $2, * FROM unnest({arrays})
            ON CONFLICT DO NOTHING""",  # noqa: S608 - our own names
        county_code,
        day,
        *database.columns(values, len(types)),
    )


async def is_kept(session: AsyncSession, county_code: str, day: date) -> bool:
    """Whether a day's end was kept, of what the asker sees."""
    rows = await database.fetch(
        session,
        "SELECT FROM kept_figures WHERE county_code = $1 AND kept_on = $2 LIMIT 1",
        county_code,
        day,
    )
    return bool(rows)


async def kept(
    session: AsyncSession, asked: Question, by: Sequence[Dimension], day: date
) -> dict[Key, Brief]:
    """A month's end as it was kept, by key."""
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in NAMES)
    rows = await database.fetch(
        session,
        f"""SELECT {_key(by)} AS key, {sums} FROM kept_figures
            WHERE kept_on = $6 AND {_WHICH} GROUP BY 1""",  # noqa: S608 - our own texts
        *_asked(asked),
        day,
    )
    return {tuple(row["key"]): Brief(**{name: row[name] for name in NAMES}) for row in rows}
