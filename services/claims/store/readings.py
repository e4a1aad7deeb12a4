"""Readings: payouts on their way and deadlines at risk, as gauges; of counties, never of people."""

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import PayoutState
from services.kernel import database
from services.kernel.readings import ROWS_MAX, Reading

ON_ITS_WAY = [state for state in PayoutState if not state.is_over]

AT_RISK_DAYS = 2
"""A claim that must be decided within so many business days is at risk."""


async def read(session: AsyncSession) -> list[Reading]:
    """What operators watch; a county where nothing is on its way is told as zero."""
    return [*await _payouts(session), *await _deadlines(session)]


async def _payouts(session: AsyncSession) -> list[Reading]:
    # The id tells when the payout was authorised; only payouts on their way are in the index.
    rows = await database.fetch(
        session,
        """SELECT county_code, state, coalesce(payouts, 0) AS payouts, oldest
           FROM business_day CROSS JOIN unnest($1::text[]) AS state LEFT JOIN
               (SELECT county_code, state, count(*) AS payouts,
                       extract(epoch FROM now() - min(uuid_extract_timestamp(payout_id))) AS oldest
                FROM payout WHERE state NOT IN ('settled', 'reversed')
                GROUP BY county_code, state) AS open USING (county_code, state)
           ORDER BY county_code, state LIMIT $2""",
        ON_ITS_WAY,
        ROWS_MAX // 4,
    )
    found = []
    for row in rows:
        labels = {"county": row["county_code"], "state": row["state"]}
        found.append(Reading("liandong_payouts_open", row["payouts"], labels))
        oldest = max(0.0, float(row["oldest"] or 0))
        found.append(Reading("liandong_payouts_oldest_age_seconds", oldest, labels))
    return found


async def _deadlines(session: AsyncSession) -> list[Reading]:
    rows = await database.fetch(
        session,
        """SELECT county_code, coalesce(at_risk, 0) AS at_risk, coalesce(missed, 0) AS missed
           FROM business_day LEFT JOIN
               (SELECT county_code, count(*) FILTER (WHERE due_on >= business_date) AS at_risk,
                       count(*) FILTER (WHERE due_on < business_date) AS missed
                FROM claim JOIN business_day USING (county_code)
                WHERE due_on IS NOT NULL AND due_on <= business_date + $1::int
                  AND state IN ('reported', 'suspended', 'proposed')
                GROUP BY county_code) AS due USING (county_code)
           ORDER BY county_code LIMIT $2""",
        AT_RISK_DAYS,
        ROWS_MAX // 4,
    )
    found = []
    for row in rows:
        labels = {"county": row["county_code"]}
        found.append(Reading("liandong_claims_deadline_at_risk", row["at_risk"], labels))
        found.append(Reading("liandong_claims_deadline_missed", row["missed"], labels))
    return found
