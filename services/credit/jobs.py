"""Credit: what time asks for."""

from collections.abc import Awaitable, Callable
from datetime import date

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.operations import areas, registry, standing
from services.programmes.loader import Catalogue

CloseDay = Callable[[AsyncSession, str, date], Awaitable[None]]


def close_day(catalogue: Catalogue) -> CloseDay:
    """The end of a business day: limits and measures end with it; a month's end is counted."""

    async def close(session: AsyncSession, county_code: str, day: date) -> None:
        await registry.expire_limits(session, county_code, day)
        await standing.run_out(session, catalogue, county_code, day)
        if areas.ends_month(day):
            await areas.assess_county(session, catalogue, county_code, day)
            await areas.keep_coverage(session, catalogue, county_code, day)

    return close
