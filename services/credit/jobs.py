"""Credit: what time asks for."""

from datetime import date

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit import operations


async def close_day(session: AsyncSession, county_code: str, day: date) -> None:
    """The end of a business day: limits end with it."""
    await operations.expire_limits(session, county_code, day)
