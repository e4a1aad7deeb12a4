"""Claims: SQL of the control totals, and of how far rows and journal differ."""

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database

_TOTALS = """
SELECT (SELECT count(*) FROM household WHERE county_code = $1) AS households_count,
       (SELECT count(*) FROM insured WHERE county_code = $1) AS insured_count,
       count(*) AS payouts_count,
       coalesce(sum(amount_fen) FILTER (WHERE state <> 'authorised'), 0)::bigint
           AS payout_amount_fen,
       count(*) FILTER (WHERE state <> 'authorised') AS payouts_allocated_count,
       coalesce(sum(lenders_fen), 0)::bigint AS payout_lenders_fen,
       coalesce(sum(household_fen), 0)::bigint AS payout_household_fen,
       count(*) FILTER (WHERE state NOT IN ('settled', 'reversed')) AS payouts_unsettled_count,
       count(*) FILTER (WHERE state = 'reversed') AS payouts_reversed_count,
       coalesce(sum(lenders_fen) FILTER (WHERE state = 'reversed'), 0)::bigint
           AS reversed_lenders_fen,
       (SELECT coalesce(sum(t.subrogated_fen), 0)::bigint
        FROM payout AS p JOIN payout_part AS t USING (county_code, payout_id)
        WHERE p.county_code = $1 AND p.state NOT IN ('settled', 'reversed'))
           AS payouts_unsettled_subrogated_fen,
       (SELECT coalesce(sum(amount_fen - paid_fen), 0)::bigint FROM receivable
        WHERE county_code = $1) AS receivable_fen,
       (SELECT coalesce(sum(amount_fen), 0)::bigint FROM instruction
        WHERE county_code = $1 AND state = 'unknown') AS suspense_fen,
       (SELECT coalesce(sum(confirmed_fen), 0)::bigint FROM instruction
        WHERE county_code = $1 AND state = 'confirmed') AS confirmed_fen,
       (SELECT coalesce(sum(amount_fen), 0)::bigint FROM premium_charge
        WHERE county_code = $1) AS premium_fen,
       (SELECT coalesce(sum(amount_fen), 0)::bigint FROM premium_payment
        WHERE county_code = $1) AS premium_paid_fen
FROM payout WHERE county_code = $1
"""


# What the rows say each account holds, beside what the journal says; also accounts that only one
# of the two knows.
_BOOK_DIFFERENCE = """
WITH sides AS (
    SELECT account, owner, sum(amount) AS balance FROM (
        SELECT debit_account AS account, debit_id AS owner, amount_fen AS amount
        FROM journal WHERE county_code = $1
        UNION ALL
        SELECT credit_account, credit_id, -amount_fen FROM journal WHERE county_code = $1
    ) AS both_sides GROUP BY account, owner
), instructed AS (
    SELECT payout_id,
           sum(CASE state WHEN 'confirmed' THEN confirmed_fen ELSE amount_fen END) AS amount
    FROM instruction WHERE county_code = $1 GROUP BY payout_id
), expected AS (
    SELECT 'payout_payable' AS account, p.payout_id::text AS owner,
           coalesce(n.amount, 0) - p.amount_fen AS balance
    FROM payout AS p LEFT JOIN instructed AS n USING (payout_id) WHERE p.county_code = $1
    UNION ALL
    SELECT 'instruction_payable', instruction_id::text,
           CASE WHEN state IN ('confirmed', 'unknown') THEN 0 ELSE -amount_fen END
    FROM instruction WHERE county_code = $1
    UNION ALL
    SELECT 'payment_suspense', instruction_id::text, -amount_fen
    FROM instruction WHERE county_code = $1 AND state = 'unknown'
    UNION ALL
    SELECT 'claim_expense', insurer_id, sum(amount_fen) FILTER (WHERE state <> 'reversed')
    FROM payout WHERE county_code = $1 GROUP BY insurer_id
    UNION ALL
    SELECT 'insurer_cash', insurer_id, sum(amount) FROM (
        SELECT insurer_id, -confirmed_fen AS amount
        FROM instruction WHERE county_code = $1 AND state = 'confirmed'
        UNION ALL
        SELECT insurer_id, paid_fen FROM receivable WHERE county_code = $1
        UNION ALL
        SELECT insurer_id, amount_fen FROM premium_payment WHERE county_code = $1
    ) AS moved GROUP BY insurer_id
    UNION ALL
    SELECT 'payout_receivable', receivable_id::text, amount_fen - paid_fen
    FROM receivable WHERE county_code = $1
    UNION ALL
    SELECT 'premium_receivable', payer_id, sum(amount) FROM (
        SELECT payer_id, amount_fen AS amount FROM premium_charge WHERE county_code = $1
        UNION ALL
        SELECT payer_id, -amount_fen FROM premium_payment WHERE county_code = $1
    ) AS owed GROUP BY payer_id
    UNION ALL
    SELECT 'premium_income', insurer_id, -sum(amount_fen)
    FROM premium_charge WHERE county_code = $1 GROUP BY insurer_id
)
SELECT (coalesce(sum(abs(coalesce(s.balance, 0) - coalesce(e.balance, 0))), 0) + (
           SELECT coalesce(sum(abs(p.amount_fen - coalesce(t.amount, 0) - p.household_fen)), 0)
           FROM payout AS p
           LEFT JOIN (SELECT payout_id, sum(amount_fen) AS amount FROM payout_part
                      WHERE county_code = $1 GROUP BY payout_id) AS t USING (payout_id)
           WHERE p.county_code = $1 AND p.state <> 'authorised'
       ))::bigint AS difference_fen
FROM sides AS s FULL JOIN expected AS e USING (account, owner)
"""


async def totals(session: AsyncSession, county_code: str) -> dict[str, int]:
    """The county's figures, and by how much rows and journal differ."""
    figures = (await database.fetch(session, _TOTALS, county_code))[0]
    difference = (await database.fetch(session, _BOOK_DIFFERENCE, county_code))[0]
    found = {f"claims.{name}": int(value) for name, value in figures.items()}
    return found | {"claims.book_difference_fen": int(difference["difference_fen"])}
