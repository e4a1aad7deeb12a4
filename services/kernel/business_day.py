"""The business date of each county, as this service knows it."""

from datetime import date

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database
from services.kernel.errors import Refused

DAYS_MAX = 400
"""How many days one call may close."""


async def today(session: AsyncSession, county_code: str) -> date:
    """The county's business date; refused before its first day was opened."""
    rows = await database.fetch(
        session, "SELECT business_date FROM business_day WHERE county_code = $1", county_code
    )
    if not rows:
        raise Refused(
            "COUNTY_NOT_OPEN",
            f"county {county_code} has no business date yet; an operator opens its first day",
            message_zh="该县尚未开账",
        )
    day: date = rows[0]["business_date"]
    return day


async def today_or(session: AsyncSession, county_code: str, otherwise: date) -> date:
    """The county's business date here; before its first day, the one that an event was said on."""
    rows = await database.fetch(
        session, "SELECT business_date FROM business_day WHERE county_code = $1", county_code
    )
    return rows[0]["business_date"] if rows else otherwise


async def find(session: AsyncSession, county_code: str) -> date | None:
    """The county's business date, or None before its first day; the row is locked."""
    rows = await database.fetch(
        session,
        "SELECT business_date FROM business_day WHERE county_code = $1 FOR UPDATE",
        county_code,
    )
    return rows[0]["business_date"] if rows else None


async def open_day(session: AsyncSession, county_code: str, day: date) -> None:
    """Make a day the county's business date."""
    await database.execute(
        session,
        """INSERT INTO business_day (county_code, business_date) VALUES ($1, $2)
           ON CONFLICT (county_code) DO UPDATE SET business_date = excluded.business_date""",
        county_code,
        day,
    )
