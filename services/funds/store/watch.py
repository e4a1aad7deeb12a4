"""Funds: SQL of what is watched: history for a replay, concentration, a fund's year."""

from collections.abc import Iterable, Mapping
from datetime import date
from itertools import groupby
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import Case, Cover, Fund, Part
from services.funds.rules.what_if import Known, Money
from services.funds.store import cases as case_store
from services.funds.store import cover as cover_store
from services.funds.store import funds as fund_store
from services.kernel import database
from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.kernel.values import replace

ITEMS_MAX = 300_000
"""Covers, cases and movements of money that one replay takes at most."""

_EVENTS = """
    SELECT position, event_id, event_type, aggregate_id, business_date, payload FROM outbox
    WHERE county_code = $1 AND split_part(programme, '@', 1) = $2 AND event_type = ANY($3::text[])
    ORDER BY position LIMIT $4
"""
_TYPES = (
    "cover_reserved",
    "cover_refused",
    "cover_released",
    "compensation_paid",
    "recovery_shared",
    "recovery_reversed",
)

_MONEY = """
    SELECT entry_id, kind, business_date, fund_id, custodian_id, sum(amount_fen)::bigint AS change
    FROM (
        SELECT entry_id, kind, business_date, left(debit_id, 36) AS fund_id,
               substr(debit_id, 38) AS custodian_id, amount_fen
        FROM journal WHERE county_code = $1 AND debit_account = 'fund_cash'
        UNION ALL
        SELECT entry_id, kind, business_date, left(credit_id, 36), substr(credit_id, 38),
               -amount_fen
        FROM journal WHERE county_code = $1 AND credit_account = 'fund_cash'
    ) AS side
    WHERE fund_id = ANY($2::text[])
    GROUP BY entry_id, kind, business_date, fund_id, custodian_id
    ORDER BY entry_id, fund_id, custodian_id LIMIT $3
"""


async def events(
    session: AsyncSession, county_code: str, programme_id: str
) -> list[asyncpg.Record]:
    """What was said of covers and cases, in the order of the locks; too many are refused."""
    types = [f"liandong.funds.v1.{name}" for name in _TYPES]
    rows = await database.fetch(session, _EVENTS, county_code, programme_id, types, ITEMS_MAX + 1)
    check_size(len(rows))
    return rows


async def money(
    session: AsyncSession, county_code: str, funds: Iterable[Fund]
) -> list[tuple[UUID, Money]]:
    """What moved in funds, by entry of the journal and fund."""
    rows = await database.fetch(
        session, _MONEY, county_code, [str(fund.fund_id) for fund in funds], ITEMS_MAX + 1
    )
    check_size(len(rows))
    found = []
    for (entry_id, fund_id), group in groupby(rows, key=lambda r: (r["entry_id"], r["fund_id"])):
        lines = list(group)
        moved = Money(
            on=lines[0]["business_date"],
            kind=lines[0]["kind"],
            fund_id=UUID(fund_id),
            changes=tuple((row["custodian_id"], row["change"]) for row in lines if row["change"]),
        )
        found.append((entry_id, moved))
    return found


def check_size(items: int) -> None:
    """A replay has a bound."""
    if items > ITEMS_MAX:
        raise Refused(
            "HISTORY_TOO_LARGE",
            f"a replay takes at most {ITEMS_MAX} covers and cases, or movements of money",
            message_zh="历史记录过多，无法推演",
            facts={"items_max": str(ITEMS_MAX)},
        )


async def funds_of(session: AsyncSession, county_code: str, programme_id: str) -> list[Fund]:
    """All funds of a programme, those of villages and margins too."""
    rows = await database.fetch(
        session,
        "SELECT * FROM fund WHERE county_code = $1 AND programme_id = $2 ORDER BY fund_id",
        county_code,
        programme_id,
    )
    return await fund_store.funds_from(session, rows)


async def covers_of(session: AsyncSession, county_code: str, programme_id: str) -> list[Cover]:
    """All covers of a programme."""
    rows = await database.fetch(
        session,
        """SELECT * FROM cover
           WHERE county_code = $1 AND split_part(programme, '@', 1) = $2 LIMIT $3""",
        county_code,
        programme_id,
        ITEMS_MAX,
    )
    return cover_store.covers_from(rows)


async def cases_of(session: AsyncSession, county_code: str, programme_id: str) -> list[Case]:
    """All cases of a programme."""
    rows = await database.fetch(
        session,
        """SELECT * FROM compensation_case
           WHERE county_code = $1 AND split_part(programme, '@', 1) = $2
           ORDER BY case_id LIMIT $3""",
        county_code,
        programme_id,
        ITEMS_MAX,
    )
    return case_store.cases_from(rows)


async def known_loans(
    session: AsyncSession, county_code: str, loans: Iterable[UUID]
) -> dict[UUID, Known]:
    """The last statement on each loan, how it stands, and all its payments."""
    wanted = list(loans)
    paid: dict[UUID, list[tuple[date, Fen, Fen]]] = {}
    for row in await database.fetch(
        session,
        """SELECT loan_id, business_date, sum(principal_fen)::bigint AS principal,
                  sum(interest_fen)::bigint AS interest
           FROM loan_payment WHERE county_code = $1 AND loan_id = ANY($2::uuid[])
           GROUP BY loan_id, business_date ORDER BY loan_id, business_date""",
        county_code,
        wanted,
    ):
        paid.setdefault(row["loan_id"], []).append(
            (row["business_date"], Fen(row["principal"]), Fen(row["interest"]))
        )
    rows = await database.fetch(
        session,
        """SELECT s.*, c.non_performing AS stands_non_performing, c.five_tier_class
           FROM loan_statement AS s JOIN cover AS c USING (county_code, loan_id)
           WHERE s.county_code = $1 AND s.loan_id = ANY($2::uuid[])""",
        county_code,
        wanted,
    )
    return {
        row["loan_id"]: Known(
            stated_on=row["stated_on"],
            principal_fen=Fen(row["principal_fen"]),
            interest_fen=Fen(row["interest_fen"]),
            non_performing=row["non_performing"] or row["stands_non_performing"],
            five_tier_class=row["five_tier_class"],
            payments=tuple(paid.get(row["loan_id"], ())),
        )
        for row in rows
    }


async def sums_before(
    session: AsyncSession, county_code: str, cases: Iterable[UUID], since: date
) -> dict[tuple[UUID, int], Mapping[str, int]]:
    """By case and position: what was borne, paid and recovered before a day."""
    found: dict[tuple[UUID, int], dict[str, int]] = {}
    for row in await database.fetch(
        session,
        """SELECT case_id, position, kind, sum(amount_fen)::bigint AS amount FROM share_movement
           WHERE county_code = $1 AND case_id = ANY($2::uuid[]) AND business_date < $3
           GROUP BY case_id, position, kind""",
        county_code,
        list(cases),
        since,
    ):
        found.setdefault((row["case_id"], row["position"]), {})[row["kind"]] = row["amount"]
    return dict(found)


# --- watch ----------------------------------------------------------------------------------------

_BACKED = """
    SELECT c.loan_id, c.lender_id, c.area_code, c.model_id, c.principal_fen,
           coalesce(l.outstanding_fen, CASE WHEN c.disbursed THEN c.principal_fen ELSE 0 END)
               AS outstanding_fen,
           (c.non_performing OR coalesce(s.non_performing, false)) AS non_performing
    FROM cover AS c
    LEFT JOIN lent_loan AS l USING (county_code, loan_id)
    LEFT JOIN loan_statement AS s USING (county_code, loan_id)
    WHERE c.county_code = $1 AND c.fund_id = $2 AND c.state = 'reserved'
"""

_BY_MODEL = f"""
    SELECT model_id, count(*)::int AS loans, sum(principal_fen)::bigint AS covered_fen,
           sum(outstanding_fen)::bigint AS outstanding_fen,
           coalesce(sum(outstanding_fen) FILTER (WHERE non_performing), 0)::bigint
               AS non_performing_fen
    FROM ({_BACKED}) AS backed GROUP BY model_id ORDER BY model_id
"""  # noqa: S608 - our own words

_SPREAD = f"""
    SELECT dimension, key, loans, covered_fen, outstanding_fen, non_performing_fen, cases, loss_fen
    FROM (
        SELECT CASE WHEN GROUPING(lender_id) = 0 THEN 'lender' ELSE 'village' END AS dimension,
               coalesce(lender_id, left(area_code, 12)) AS key, count(*)::int AS loans,
               sum(principal_fen)::bigint AS covered_fen,
               sum(outstanding_fen)::bigint AS outstanding_fen,
               coalesce(sum(outstanding_fen) FILTER (WHERE non_performing), 0)::bigint
                   AS non_performing_fen,
               0 AS cases, 0::bigint AS loss_fen
        FROM ({_BACKED}) AS backed
        GROUP BY GROUPING SETS ((lender_id), (left(area_code, 12)))
        UNION ALL
        SELECT 'cause', k.cause, count(*)::int, 0, 0, 0, count(DISTINCT k.case_id)::int,
               sum(p.amount_fen)::bigint
        FROM case_part AS p JOIN compensation_case AS k USING (county_code, case_id)
        WHERE p.county_code = $1 AND p.fund_id = $2
        GROUP BY k.cause
    ) AS spread
    WHERE ($3 = '' OR (dimension = 'lender' AND key = $3)) AND (dimension, key) > ($4, $5)
    ORDER BY dimension, key LIMIT $6
"""  # noqa: S608 - our own words


async def backed_by_model(
    session: AsyncSession, county_code: str, fund_id: UUID
) -> list[asyncpg.Record]:
    """What a fund stands behind, by the way in which losses are shared."""
    return await database.fetch(session, _BY_MODEL, county_code, fund_id)


async def spread(
    session: AsyncSession,
    county_code: str,
    fund_id: UUID,
    *,
    seen_by: str,
    after: tuple[str, str],
    limit: int,
) -> list[asyncpg.Record]:
    """A page of what a fund stands behind by village and lender, and has borne by cause."""
    return await database.fetch(
        session, _SPREAD, county_code, fund_id, seen_by, after[0], after[1], limit
    )


# --- the year -------------------------------------------------------------------------------------

_YEAR = """
    WITH side AS (
        SELECT kind, cause_id, debit_id AS place, amount_fen, business_date FROM journal
        WHERE county_code = $1 AND debit_account = 'fund_cash'
          AND debit_id COLLATE "C" >= $2 AND debit_id COLLATE "C" < $2 || '0'
        UNION ALL
        SELECT kind, cause_id, credit_id, -amount_fen, business_date FROM journal
        WHERE county_code = $1 AND credit_account = 'fund_cash'
          AND credit_id COLLATE "C" >= $2 AND credit_id COLLATE "C" < $2 || '0'
    )
    SELECT 'opening' AS kind, '' AS source, coalesce(sum(amount_fen), 0)::bigint AS amount_fen,
           0 AS entries
    FROM side WHERE business_date < $3
    UNION ALL
    SELECT 'closing', '', coalesce(sum(amount_fen), 0)::bigint, 0
    FROM side WHERE business_date <= $4
    UNION ALL
    SELECT s.kind, coalesce(c.source, ''), sum(s.amount_fen)::bigint,
           count(DISTINCT s.cause_id)::int
    FROM side AS s LEFT JOIN contribution AS c
      ON c.county_code = $1 AND s.kind IN ('contribution', 'fund_opening')
     AND c.contribution_id::text = s.cause_id
    WHERE s.business_date BETWEEN $3 AND $4
    GROUP BY s.kind, coalesce(c.source, '')
    ORDER BY 1, 2
"""


async def year_of(
    session: AsyncSession, county_code: str, fund_id: UUID, first: date, last: date
) -> list[asyncpg.Record]:
    """A fund's money in a year, by kind and source, between its two balances; by the journal."""
    return await database.fetch(session, _YEAR, county_code, str(fund_id), first, last)


async def fees_of(
    session: AsyncSession, county_code: str, programme_id: str, first: date, last: date
) -> list[asyncpg.Record]:
    """What the treasury paid in fees under a programme in a year, by kind."""
    return await database.fetch(
        session,
        """SELECT f.kind, sum(j.amount_fen)::bigint AS amount_fen, count(*)::int AS entries
           FROM journal AS j JOIN fee_claim AS f
             ON f.county_code = j.county_code AND f.claim_id::text = j.cause_id
           WHERE j.county_code = $1 AND j.kind = 'fee_paid' AND f.programme_id = $2
             AND j.business_date BETWEEN $3 AND $4
           GROUP BY f.kind ORDER BY f.kind""",
        county_code,
        programme_id,
        first,
        last,
    )


async def cases_of_year(
    session: AsyncSession,
    county_code: str,
    fund_id: UUID,
    first: date,
    last: date,
    *,
    after: UUID,
    limit: int,
) -> list[Case]:
    """A page of the cases in which a fund bore a part and that were paid in a year."""
    rows = await database.fetch(
        session,
        """SELECT k.* FROM compensation_case AS k
           WHERE k.county_code = $1 AND k.case_id > $5 AND k.decided_on BETWEEN $3 AND $4
             AND EXISTS (SELECT FROM case_part AS p WHERE p.county_code = k.county_code
                         AND p.case_id = k.case_id AND p.fund_id = $2)
           ORDER BY k.case_id LIMIT $6""",
        county_code,
        fund_id,
        first,
        last,
        after,
        limit,
    )
    return case_store.cases_from(rows)


def parts_before(
    parts: Iterable[Part], sums: Mapping[tuple[UUID, int], Mapping[str, int]]
) -> tuple[Part, ...]:
    """Parts as they stood before a day."""
    return tuple(
        replace(
            part,
            paid_fen=Fen(sums.get((part.case_id, part.position), {}).get("paid", 0)),
            recovered_fen=Fen(sums.get((part.case_id, part.position), {}).get("recovered", 0)),
        )
        for part in parts
    )
