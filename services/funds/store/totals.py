"""Funds: SQL of a county's figures, and of what rows and journal disagree on."""

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database

_TOTALS = """
SELECT f.balance_fen, f.covered_fen, n.contributed_fen, c.cases_paid_count, c.loss_fen,
       p.paid_fen, p.shares_paid_fen,
       p.owed_fen, p.lender_own_fen, r.recovered_fen,
       p.recovered_to_funds_fen, p.unrecovered_fen
FROM (SELECT coalesce(sum(balance_fen), 0)::bigint AS balance_fen,
             coalesce(sum(covered_fen), 0)::bigint AS covered_fen
      FROM fund WHERE county_code = $1) AS f,
     (SELECT coalesce(sum(amount_fen), 0)::bigint AS contributed_fen
      FROM contribution WHERE county_code = $1) AS n,
     (SELECT count(*) AS cases_paid_count, coalesce(sum(loss_fen), 0)::bigint AS loss_fen
      FROM compensation_case WHERE county_code = $1 AND state IN ('paid', 'closed')) AS c,
     (SELECT coalesce(sum(paid_fen) FILTER (WHERE fund_id IS NOT NULL), 0)::bigint AS paid_fen,
             coalesce(sum(paid_fen) FILTER (WHERE fund_id IS NULL AND NOT own_loss), 0)::bigint
                 AS shares_paid_fen,
             coalesce(sum(amount_fen - paid_fen) FILTER (WHERE NOT own_loss), 0)::bigint
                 AS owed_fen,
             coalesce(sum(amount_fen) FILTER (WHERE own_loss), 0)::bigint AS lender_own_fen,
             coalesce(sum(recovered_fen) FILTER (WHERE fund_id IS NOT NULL), 0)::bigint
                 AS recovered_to_funds_fen,
             coalesce(sum(amount_fen - recovered_fen), 0)::bigint AS unrecovered_fen
      FROM case_part WHERE county_code = $1) AS p,
     (SELECT coalesce(sum(amount_fen), 0)::bigint AS recovered_fen
      FROM recovery AS r WHERE county_code = $1 AND NOT EXISTS (
          SELECT FROM recovery_reversal AS u
          WHERE u.county_code = r.county_code AND u.recovery_id = r.recovery_id)) AS r
"""


_DIFFERENCE = """
WITH side AS (
    SELECT debit_account AS account, debit_id AS owner, amount_fen AS amount
    FROM journal WHERE county_code = $1
    UNION ALL
    SELECT credit_account, credit_id, -amount_fen FROM journal WHERE county_code = $1
), book AS (
    SELECT account, owner, sum(amount) AS amount FROM side GROUP BY account, owner
), part AS (
    SELECT fund_id, case_id, own_loss, amount_fen, amount_fen - paid_fen AS open_fen
    FROM case_part WHERE county_code = $1
), difference AS (
    SELECT f.balance_fen - coalesce(b.amount, 0) AS amount
    FROM fund AS f
    -- The owner of a sub-account begins with its fund.
    LEFT JOIN (SELECT left(owner, 36) AS fund_id, sum(amount) AS amount FROM book
               WHERE account = 'fund_cash' GROUP BY 1) AS b ON b.fund_id = f.fund_id::text
    WHERE f.county_code = $1
    UNION ALL
    SELECT f.covered_fen - coalesce((SELECT sum(c.principal_fen) FROM cover AS c
        WHERE c.county_code = $1 AND c.fund_id = f.fund_id AND c.state = 'reserved'), 0)
    FROM fund AS f WHERE f.county_code = $1
    UNION ALL
    SELECT f.owed_fen - coalesce((SELECT sum(p.open_fen) FROM part AS p
        WHERE p.fund_id = f.fund_id), 0)
    FROM fund AS f WHERE f.county_code = $1
    UNION ALL
    SELECT c.loss_fen - coalesce(p.amount_fen, 0)
    FROM compensation_case AS c
    LEFT JOIN (SELECT case_id, sum(amount_fen) AS amount_fen FROM part GROUP BY case_id) AS p
        USING (case_id)
    WHERE c.county_code = $1 AND c.state IN ('paid', 'closed')
    UNION ALL
    SELECT c.loss_fen - coalesce(b.amount, 0)
    FROM compensation_case AS c
    LEFT JOIN book AS b ON b.account = 'compensation_expense' AND b.owner = c.case_id::text
    WHERE c.county_code = $1 AND c.state IN ('paid', 'closed')
    UNION ALL
    -- Every change of a share was noted: its movements are its columns.
    SELECT abs(p.amount_fen - coalesce(m.borne_fen, 0)) + abs(p.paid_fen - coalesce(m.paid_fen, 0))
         + abs(p.recovered_fen - coalesce(m.recovered_fen, 0))
    FROM case_part AS p
    LEFT JOIN (
        SELECT case_id, position,
               sum(amount_fen) FILTER (WHERE kind = 'borne') AS borne_fen,
               sum(amount_fen) FILTER (WHERE kind = 'paid') AS paid_fen,
               sum(amount_fen) FILTER (WHERE kind = 'recovered') AS recovered_fen
        FROM share_movement WHERE county_code = $1 GROUP BY case_id, position) AS m
        USING (case_id, position)
    WHERE p.county_code = $1
    UNION ALL
    -- What came is costs, shares and the household's.
    SELECT r.amount_fen - r.costs_fen - r.household_fen - coalesce(sum(s.amount_fen), 0)
    FROM recovery AS r
    LEFT JOIN recovery_share AS s USING (county_code, recovery_id)
    WHERE r.county_code = $1 GROUP BY r.county_code, r.recovery_id
    UNION ALL
    SELECT coalesce((SELECT sum(amount_fen) FROM contribution WHERE county_code = $1), 0)
         + coalesce((SELECT sum(amount) FROM book WHERE account = 'contributions'), 0)
    UNION ALL
    SELECT coalesce((SELECT sum(open_fen) FROM part WHERE NOT own_loss), 0)
         + coalesce((SELECT sum(amount) FROM book WHERE account = 'share_payable'), 0)
)
SELECT coalesce(sum(abs(amount)), 0)::bigint AS book_difference_fen FROM difference
"""


async def totals(session: AsyncSession, county_code: str) -> dict[str, int]:
    """The figures of a county, and by how much rows and journal disagree."""
    figures = (await database.fetch(session, _TOTALS, county_code))[0]
    difference = (await database.fetch(session, _DIFFERENCE, county_code))[0]
    return {name: int(value) for name, value in (*figures.items(), *difference.items())}
