"""Claims: SQL of the report: every row of policies, lists, claims and payments, added up once."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Final

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.rules.insurance_report import Dimension, Key, Sums
from services.kernel import database
from services.kernel.money import Fen


@dataclass(frozen=True, slots=True)
class Question:
    """What a report is asked for, and what its asker may see."""

    county_code: str
    as_of: date
    by: frozenset[Dimension]
    area_digits: int
    within: str
    insurer_id: str
    areas: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """What one insurer took and owes under one programme in one year, within a row."""

    programme: str
    premium_fen: Fen
    payable_fen: Fen


# Each row of the facts is one cover of a policy, one entry of a list, one unit of an index cover,
# one charge of premium, one claim, one payment or what undoes one. A policy is for a county or a
# town, so it counts by itself only where nothing is asked by area; what it insures counts where its
# households are.
_FACTS: Final = """
SELECT v.cover_id AS line, p.insurer_id, p.area_code,
       extract(year FROM p.from_date)::int AS year, p.programme, p.policy_id,
       NULL::uuid AS household_id, 0 AS insured, 0::bigint AS sum_insured_fen,
       0::bigint AS premium_fen, 0 AS claims, 0::bigint AS claimed_fen, 0 AS approved,
       0::bigint AS payable_fen, 0 AS refused, 0 AS pending, 0::bigint AS pending_fen,
       0::bigint AS paid_fen
FROM master_policy AS p JOIN policy_cover AS v USING (county_code, policy_id)
WHERE p.county_code = $1 AND p.from_date <= $2 AND NOT $9
UNION ALL
SELECT i.cover_id, p.insurer_id, coalesce(h.area_code, l.area_code),
       extract(year FROM i.from_date)::int, p.programme, i.policy_id, i.household_id, 1,
       i.sum_insured_fen, 0, 0, 0, 0, 0, 0, 0, 0, 0
FROM insured AS i
JOIN master_policy AS p USING (county_code, policy_id)
LEFT JOIN loan AS l USING (county_code, loan_id)
LEFT JOIN household AS h ON h.county_code = i.county_code AND h.household_id = i.household_id
WHERE i.county_code = $1 AND i.from_date <= $2 AND i.state <> 'cancelled'
UNION ALL
SELECT v.cover_id, p.insurer_id, u.area_code, extract(year FROM p.from_date)::int, p.programme,
       u.policy_id, u.household_id, 1, u.sum_insured_fen, 0, 0, 0, 0, 0, 0, 0, 0, 0
FROM index_unit AS u
JOIN master_policy AS p USING (county_code, policy_id)
CROSS JOIN LATERAL (SELECT min(c.cover_id) AS cover_id FROM policy_cover AS c
                    WHERE c.county_code = u.county_code AND c.policy_id = u.policy_id) AS v
WHERE u.county_code = $1 AND u.insured_id IS NULL AND u.set_on <= $2
UNION ALL
SELECT coalesce(i.cover_id, v.cover_id), g.insurer_id,
       coalesce(h.area_code, l.area_code, p.area_code),
       extract(year FROM coalesce(i.from_date, p.from_date))::int, p.programme, NULL, NULL, 0, 0,
       g.amount_fen, 0, 0, 0, 0, 0, 0, 0, 0
FROM premium_charge AS g
JOIN master_policy AS p USING (county_code, policy_id)
LEFT JOIN insured AS i ON i.county_code = g.county_code AND i.insured_id = g.insured_id
LEFT JOIN loan AS l ON l.county_code = g.county_code AND l.loan_id = i.loan_id
LEFT JOIN household AS h ON h.county_code = g.county_code AND h.household_id = i.household_id
CROSS JOIN LATERAL (SELECT min(c.cover_id) AS cover_id FROM policy_cover AS c
                    WHERE c.county_code = g.county_code AND c.policy_id = g.policy_id) AS v
WHERE g.county_code = $1 AND g.value_date <= $2
UNION ALL
SELECT c.cover_id, c.insurer_id, c.area_code, extract(year FROM c.loss_date)::int, c.programme,
       NULL, NULL, 0, 0, 0, 1, s.claimed_fen, (s.state = 'approved')::int,
       CASE WHEN s.state = 'approved' THEN s.payable_fen ELSE 0 END,
       (s.state = 'refused')::int, w.waits::int,
       CASE WHEN NOT w.waits THEN 0 WHEN s.assessed_fen > 0 THEN s.assessed_fen
            ELSE s.claimed_fen END, 0
FROM claim AS c
CROSS JOIN LATERAL (
    -- As it was at the end of the day.
    SELECT p.state, p.claimed_fen, p.assessed_fen, p.payable_fen FROM claim_step AS p
    WHERE p.county_code = c.county_code AND p.claim_id = c.claim_id AND p.happened_on <= $2
    ORDER BY p.step DESC LIMIT 1
) AS s
CROSS JOIN LATERAL (
    SELECT s.state NOT IN ('approved', 'refused', 'withdrawn') AS waits
) AS w
WHERE c.county_code = $1
UNION ALL
SELECT c.cover_id, c.insurer_id, c.area_code, extract(year FROM c.loss_date)::int, c.programme,
       NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n.confirmed_fen
FROM instruction AS n
JOIN payout AS o USING (county_code, payout_id)
JOIN claim AS c USING (county_code, claim_id)
WHERE n.county_code = $1 AND n.state = 'confirmed' AND n.confirmed_value_date <= $2
UNION ALL
SELECT c.cover_id, c.insurer_id, c.area_code, extract(year FROM c.loss_date)::int, c.programme,
       NULL, NULL, 0, 0, 0, 0, 0, 0, -o.amount_fen, 0, 0, 0, 0
FROM payout_reversal AS r
JOIN payout AS o USING (county_code, payout_id)
JOIN claim AS c USING (county_code, claim_id)
WHERE r.county_code = $1 AND r.state = 'approved' AND r.decided_on <= $2
UNION ALL
SELECT c.cover_id, c.insurer_id, c.area_code, extract(year FROM c.loss_date)::int, c.programme,
       NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -t.amount_fen
FROM receivable_payment AS t
JOIN receivable AS r USING (county_code, receivable_id)
JOIN payout AS o USING (county_code, payout_id)
JOIN claim AS c USING (county_code, claim_id)
WHERE t.county_code = $1 AND t.value_date <= $2
"""

_REPORT: Final = f"""
WITH facts AS ({_FACTS}), seen AS (
    SELECT f.*,
           CASE WHEN 'line' = ANY($3::text[]) THEN f.line ELSE '' END AS by_line,
           CASE WHEN 'insurer' = ANY($3::text[]) THEN f.insurer_id ELSE '' END AS by_insurer,
           CASE WHEN 'area' = ANY($3::text[]) THEN left(f.area_code, $4) ELSE '' END AS by_area,
           CASE WHEN 'year' = ANY($3::text[]) THEN f.year ELSE 0 END AS by_year
    FROM facts AS f
    WHERE ($5 = '' OR starts_with(f.area_code, $5)) AND ($6 = '' OR f.insurer_id = $6)
      AND (cardinality($7::text[]) = 0 OR EXISTS (
          SELECT FROM unnest($7::text[]) AS mine (area) WHERE starts_with(f.area_code, mine.area)))
), page AS (
    SELECT DISTINCT by_line, by_insurer, by_area, by_year FROM seen
    WHERE $10::text IS NULL
       OR (by_line, by_insurer, by_area, by_year) > ($10::text, $11::text, $12::text, $13::int)
    ORDER BY by_line, by_insurer, by_area, by_year LIMIT $8
)
SELECT by_line, by_insurer, by_area, by_year, grouping(programme) = 1 AS whole, programme,
       count(DISTINCT policy_id) AS policies, count(DISTINCT household_id) AS persons,
       sum(insured)::bigint AS insured, sum(sum_insured_fen)::bigint AS sum_insured_fen,
       sum(premium_fen)::bigint AS premium_fen, sum(claims)::bigint AS claims,
       sum(claimed_fen)::bigint AS claimed_fen, sum(approved)::bigint AS approved,
       sum(payable_fen)::bigint AS payable_fen, sum(refused)::bigint AS refused,
       sum(pending)::bigint AS pending, sum(pending_fen)::bigint AS pending_fen,
       sum(paid_fen)::bigint AS paid_fen
FROM seen JOIN page USING (by_line, by_insurer, by_area, by_year)
GROUP BY GROUPING SETS (
    (by_line, by_insurer, by_area, by_year),
    (by_line, by_insurer, by_area, by_year, programme, insurer_id, year)
)
ORDER BY by_line, by_insurer, by_area, by_year
"""  # noqa: S608 - a constant

_SUMS: Final = tuple(Sums.__dataclass_fields__)


def _key(row: asyncpg.Record) -> Key:
    return Key(row["by_line"], row["by_insurer"], row["by_area"], row["by_year"])


async def report(
    session: AsyncSession, asked: Question, *, after: Key | None, limit: int
) -> list[tuple[Key, Sums, list[Part]]]:
    """Rows of the report in the order of their keys, each with its results by programme."""
    rows = await database.fetch(
        session,
        _REPORT,
        asked.county_code,
        asked.as_of,
        _texts(asked.by),
        asked.area_digits,
        asked.within,
        asked.insurer_id,
        list(asked.areas),
        limit,
        Dimension.AREA in asked.by or bool(asked.within or asked.areas),
        None if after is None else after.line,
        None if after is None else after.insurer_id,
        None if after is None else after.area_code,
        None if after is None else after.year,
    )
    sums: dict[Key, Sums] = {}
    parts: dict[Key, list[Part]] = {}
    for row in rows:
        key = _key(row)
        if row["whole"]:
            sums[key] = Sums(**{name: int(row[name]) for name in _SUMS})
        else:
            part = Part(row["programme"], Fen(row["premium_fen"]), Fen(row["payable_fen"]))
            parts.setdefault(key, []).append(part)
    return [(key, sums[key], parts.get(key, [])) for key in sums]


def _texts(by: Collection[Dimension]) -> list[str]:
    return [each.value for each in by]
