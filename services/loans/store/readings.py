"""Readings: breakers that are tripped, as gauges by county and scope."""

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.readings import ROWS_MAX, Reading
from services.loans.model import BreakerScope


async def read(session: AsyncSession) -> list[Reading]:
    """What operators watch; a county and scope without a tripped breaker is told as zero."""
    rows = await database.fetch(
        session,
        """SELECT county_code, scope, coalesce(tripped, 0) AS tripped
           FROM business_day CROSS JOIN unnest($1::text[]) AS scope LEFT JOIN
               (SELECT county_code, scope, count(*) AS tripped FROM breaker WHERE tripped
                GROUP BY county_code, scope) AS open USING (county_code, scope)
           ORDER BY county_code, scope LIMIT $2""",
        list(BreakerScope),
        ROWS_MAX,
    )
    return [
        Reading(
            "liandong_breakers_tripped",
            row["tripped"],
            {"county": row["county_code"], "scope": row["scope"]},
        )
        for row in rows
    ]
