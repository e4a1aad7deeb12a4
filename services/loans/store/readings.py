"""Readings: breakers that are tripped, as gauges by county and scope."""

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.readings import ROWS_MAX, Reading


async def read(session: AsyncSession) -> list[Reading]:
    """What operators watch; a scope without a tripped breaker is told as zero."""
    rows = await database.fetch(
        session,
        """SELECT county_code, scope, count(*) FILTER (WHERE tripped) AS tripped FROM breaker
           GROUP BY county_code, scope ORDER BY county_code, scope LIMIT $1""",
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
