"""Loans: what time does. The day close, set by set, in the operator's transaction."""

from collections.abc import Awaitable, Callable
from datetime import date

from sqlmodel.ext.asyncio.session import AsyncSession

from services.loans.operations import breakers, collecting, drawing, securing, standing, subsidy
from services.loans.operations import day as day_close
from services.programmes.loader import Catalogue


def close_day(catalogue: Catalogue) -> Callable[[AsyncSession, str, date], Awaitable[None]]:
    """The day close under a catalogue of programmes."""

    async def close(session: AsyncSession, county_code: str, day: date) -> None:
        await drawing.end_limits(session, county_code, day, catalogue)
        await day_close.tell_coming_maturities(session, county_code, day, catalogue)
        await subsidy.count_months(session, county_code, day, catalogue)
        await subsidy.stop_used_up(session, county_code, day, catalogue)
        await day_close.age_loans(session, county_code, day, catalogue)
        await day_close.trip_breakers(session, county_code, day, catalogue)
        await breakers.record_month_ends(session, county_code, day, catalogue)
        await collecting.close_settled_cases(session, county_code, day)
        await securing.bear_yield(session, county_code, day)
        await securing.release_settled(session, county_code, day)
        await securing.warn_of_old_values(session, county_code, day)
        await standing.warn_of_payouts(session, county_code, day)

    return close
