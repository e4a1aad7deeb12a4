"""Readings: funds, their cover and leverage, compensation cases on their way, as gauges."""

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import CaseState
from services.kernel import database
from services.kernel.readings import ROWS_MAX, Reading

ENDED = (CaseState.PAID, CaseState.DENIED, CaseState.CLOSED)
ON_ITS_WAY = [state for state in CaseState if state not in ENDED]


async def read(session: AsyncSession) -> list[Reading]:
    """What operators watch; a county where no case is on its way is told as zero."""
    return [*await _funds(session), *await _cases(session)]


async def _funds(session: AsyncSession) -> list[Reading]:
    rows = await database.fetch(
        session,
        """SELECT county_code, programme_id, kind, state, balance_fen, covered_fen, owed_fen,
                  leverage_reached
           FROM fund WHERE state <> 'closed'
           ORDER BY county_code, programme_id, kind LIMIT $1""",
        ROWS_MAX // 10,
    )
    found = []
    for row in rows:
        labels = {
            "county": row["county_code"],
            "programme": row["programme_id"],
            "kind": row["kind"],
        }
        balance = row["balance_fen"]
        values = {
            "liandong_fund_balance_fen": balance,
            "liandong_fund_covered_fen": row["covered_fen"],
            "liandong_fund_owed_fen": row["owed_fen"],
            # Cover without any money behind it is more than any leverage.
            "liandong_fund_leverage_ratio": (
                row["covered_fen"] / balance
                if balance
                else (float("inf") if row["covered_fen"] else 0.0)
            ),
            "liandong_fund_leverage_reached": row["leverage_reached"],
            "liandong_fund_suspended": row["state"] == "suspended",
        }
        found += [Reading(name, float(value), labels) for name, value in values.items()]
    return found


async def _cases(session: AsyncSession) -> list[Reading]:
    rows = await database.fetch(
        session,
        """SELECT county_code, state, coalesce(cases, 0) AS cases, oldest
           FROM business_day CROSS JOIN unnest($1::text[]) AS state LEFT JOIN
               (SELECT county_code, state, count(*) AS cases,
                       extract(epoch FROM now() - min(uuid_extract_timestamp(case_id))) AS oldest
                FROM compensation_case WHERE state NOT IN ('paid', 'denied', 'closed')
                GROUP BY county_code, state) AS open USING (county_code, state)
           ORDER BY county_code, state LIMIT $2""",
        ON_ITS_WAY,
        ROWS_MAX // 10,
    )
    found = []
    for row in rows:
        labels = {"county": row["county_code"], "state": row["state"]}
        found.append(Reading("liandong_compensation_cases_open", row["cases"], labels))
        oldest = max(0.0, float(row["oldest"] or 0))
        found.append(Reading("liandong_compensation_cases_oldest_age_seconds", oldest, labels))
    return found
