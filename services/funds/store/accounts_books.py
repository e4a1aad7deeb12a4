"""Funds: SQL of statements, past balances, the register, and the totals of the money of funds."""

from datetime import date, datetime
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database

# One side of each journal row that moved a fund's money; the owner is `fund` or `fund/custodian`.
_SIDES = """
    SELECT entry_id, line, kind, cause_id, amount_fen, debit_id AS place,
           credit_account || ':' || credit_id AS against, value_date, business_date, recorded_at
    FROM journal WHERE county_code = $1 AND debit_account = 'fund_cash'
      AND debit_id COLLATE "C" >= $2 AND debit_id COLLATE "C" < $2 || '0'
    UNION ALL
    SELECT entry_id, line, kind, cause_id, -amount_fen, credit_id,
           debit_account || ':' || debit_id, value_date, business_date, recorded_at
    FROM journal WHERE county_code = $1 AND credit_account = 'fund_cash'
      AND credit_id COLLATE "C" >= $2 AND credit_id COLLATE "C" < $2 || '0'
"""
# '/' is the character before '0': from the fund's own account through all its sub-accounts.

_ENTRIES = """
    SELECT *, amount_fen > 0 AS received FROM (SIDES) AS side
    WHERE ($3 = '' OR place = $2 || '/' || $3) AND value_date BETWEEN $4 AND $5
      AND (entry_id, line, amount_fen > 0) > ($6, $7, $8)
    ORDER BY entry_id, line, received LIMIT $9
""".replace("SIDES", _SIDES)

_BALANCES = """
    SELECT substr(place, 38) AS custodian_id, sum(amount_fen)::bigint AS balance
    FROM (SIDES) AS side
    WHERE ($3::date IS NULL OR value_date <= $3)
      AND ($4::timestamptz IS NULL OR recorded_at <= $4)
    GROUP BY 1 ORDER BY 1
""".replace("SIDES", _SIDES)


async def entries(
    session: AsyncSession,
    county_code: str,
    fund_id: UUID,
    *,
    custodian_id: str,
    from_date: date,
    until_date: date,
    after: tuple[UUID, int, bool],
    limit: int,
) -> list[asyncpg.Record]:
    """A page of a fund's movements between two value dates, in the order of posting."""
    return await database.fetch(
        session,
        _ENTRIES,
        county_code,
        str(fund_id),
        custodian_id,
        from_date,
        until_date,
        *after,
        limit,
    )


async def balances_at(
    session: AsyncSession,
    county_code: str,
    fund_id: UUID,
    *,
    value_date: date | None,
    recorded: datetime | None,
) -> dict[str, int]:
    """By sub-account, what a fund held: by value date, as recorded by an instant."""
    rows = await database.fetch(
        session,
        _BALANCES,
        county_code,
        str(fund_id),
        value_date,
        recorded,
    )
    return {row["custodian_id"]: row["balance"] for row in rows}


_REGISTER = """
    SELECT f.*, coalesce(c.contributed, 0)::bigint AS contributed_fen,
           coalesce(d.due, 0)::bigint AS due_fen
    FROM fund AS f
    LEFT JOIN LATERAL (SELECT sum(amount_fen) AS contributed FROM contribution AS c
                       WHERE c.county_code = f.county_code AND c.fund_id = f.fund_id) AS c ON true
    LEFT JOIN business_day AS b ON b.county_code = f.county_code
    LEFT JOIN LATERAL (SELECT sum(amount_fen) AS due FROM contribution_due AS d
                       WHERE d.county_code = f.county_code AND d.fund_id = f.fund_id
                         AND d.due_on <= b.business_date) AS d ON true
"""

_PAGE = """REGISTER
    WHERE ($1 = '000000' OR f.county_code = $1) AND (f.county_code, f.fund_id) > ($2, $3)
    ORDER BY f.county_code, f.fund_id LIMIT $4
""".replace("REGISTER", _REGISTER)

_REGISTER_TOTALS = """
    SELECT coalesce(fund_class, '') AS fund_class,
           count(DISTINCT county_code)::int AS counties, count(*)::int AS funds,
           sum(balance_fen)::bigint AS balance_fen, sum(covered_fen)::bigint AS covered_fen,
           sum(owed_fen)::bigint AS owed_fen, sum(contributed_fen)::bigint AS contributed_fen
    FROM (REGISTER WHERE $1 = '000000' OR f.county_code = $1) AS r
    GROUP BY GROUPING SETS ((fund_class), ()) HAVING count(*) > 0 ORDER BY 1
""".replace("REGISTER", _REGISTER)


async def register(
    session: AsyncSession, county_code: str, *, after: tuple[str, UUID], limit: int
) -> list[asyncpg.Record]:
    """A page of funds of a county, or of all for 000000."""
    return await database.fetch(
        session,
        _PAGE,
        county_code,
        *after,
        limit,
    )


async def register_totals(session: AsyncSession, county_code: str) -> list[asyncpg.Record]:
    """Totals by class and, with an empty class, over all."""
    return await database.fetch(
        session,
        _REGISTER_TOTALS,
        county_code,
    )


_TOTALS = """
WITH side AS (
    SELECT debit_account AS account, debit_id AS owner, amount_fen AS amount
    FROM journal WHERE county_code = $1
    UNION ALL
    SELECT credit_account, credit_id, -amount_fen FROM journal WHERE county_code = $1
), book AS (
    SELECT account, owner, sum(amount) AS amount FROM side GROUP BY account, owner
), moved AS (
    SELECT coalesce(sum(amount_fen) FILTER (WHERE kind = 'withdrawal'), 0) AS withdrawn,
           coalesce(sum(amount_fen) FILTER (WHERE kind = 'stabilisation'), 0) AS stabilised
    FROM withdrawal WHERE county_code = $1
), fee AS (
    SELECT coalesce(sum(amount_fen) FILTER (WHERE state = 'paid'), 0) AS paid,
           coalesce(sum(amount_fen) FILTER (WHERE state = 'approved'), 0) AS owed
    FROM fee_claim WHERE county_code = $1
), history AS (
    SELECT coalesce((SELECT sum(amount_fen) FROM contribution WHERE county_code = $1), 0)
         + coalesce((SELECT sum(recovered_fen) FROM case_part
                     WHERE county_code = $1 AND fund_id IS NOT NULL), 0)
         - coalesce((SELECT sum(paid_fen) FROM case_part
                     WHERE county_code = $1 AND fund_id IS NOT NULL), 0)
         - moved.withdrawn - moved.stabilised AS amount FROM moved
), difference AS (
    SELECT a.balance_fen - coalesce(b.amount, 0) AS amount
    FROM fund_account AS a
    LEFT JOIN book AS b ON b.account = 'fund_cash'
      AND b.owner = a.fund_id::text || '/' || a.custodian_id
    WHERE a.county_code = $1
    UNION ALL
    SELECT sum(balance_fen) - (SELECT amount FROM history) FROM fund WHERE county_code = $1
    UNION ALL
    SELECT moved.withdrawn - coalesce((SELECT sum(amount) FROM book
        WHERE account = 'withdrawals'), 0) FROM moved
    UNION ALL
    SELECT moved.stabilised - coalesce((SELECT sum(amount) FROM book
        WHERE account = 'stabilisation_expense'), 0) FROM moved
    UNION ALL
    SELECT moved.stabilised - coalesce((SELECT sum(compensated_fen) FROM line_result
        WHERE county_code = $1), 0) FROM moved
    UNION ALL
    SELECT fee.paid + coalesce((SELECT sum(amount) FROM book
        WHERE account = 'treasury_cash'), 0) FROM fee
    UNION ALL
    SELECT fee.owed + coalesce((SELECT sum(amount) FROM book
        WHERE account = 'fee_payable'), 0) FROM fee
)
SELECT moved.withdrawn::bigint AS withdrawn_fen, moved.stabilised::bigint AS stabilised_fen,
       fee.paid::bigint AS fees_paid_fen, fee.owed::bigint AS fees_owed_fen,
       (SELECT coalesce(sum(outstanding_fen), 0)::bigint FROM lent_loan
        WHERE county_code = $1) AS known_outstanding_fen,
       (SELECT coalesce(sum(abs(amount)), 0)::bigint FROM difference) AS accounts_difference_fen
FROM moved, fee
"""


async def totals(session: AsyncSession, county_code: str) -> dict[str, int]:
    """What left funds, what fees came to, and by how much rows, history and journal disagree."""
    (found,) = await database.fetch(session, _TOTALS, county_code)
    return {name: int(value) for name, value in found.items()}
