"""Funds: what the end of a day does."""

from collections.abc import Awaitable, Callable
from datetime import date

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.operations import accounts, cover
from services.programmes.loader import Catalogue


def close_day(catalogue: Catalogue) -> Callable[[AsyncSession, str, date], Awaitable[None]]:
    """What is done once for the county, with the next day's opening."""

    async def close(session: AsyncSession, county_code: str, day: date) -> None:
        await accounts.close_day(session, catalogue, county_code, day)
        await cover.close_day(session, catalogue, county_code, day)

    return close
