"""Loans: what time does. The day close, set by set, in the operator's transaction."""

from collections.abc import Awaitable, Callable
from datetime import date

from sqlmodel.ext.asyncio.session import AsyncSession

from services.loans.operations import day as day_close
from services.loans.operations import drawing
from services.programmes.loader import Catalogue


def close_day(catalogue: Catalogue) -> Callable[[AsyncSession, str, date], Awaitable[None]]:
    """The day close under a catalogue of programmes."""

    async def close(session: AsyncSession, county_code: str, day: date) -> None:
        await drawing.end_limits(session, county_code, day, catalogue)
        await day_close.tell_coming_maturities(session, county_code, day)
        await day_close.age_loans(session, county_code, day, catalogue)
        await day_close.trip_breakers(session, county_code, day, catalogue)

    return close
