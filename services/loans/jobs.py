"""Loans: what time does. The day close: loans set by set, then the county as a whole."""

from collections.abc import Awaitable, Callable
from datetime import date

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel.database import Database
from services.loans.operations import (
    breakers,
    brief,
    collecting,
    issues,
    notices,
    records,
    reporting,
    securing,
    standing,
    suspending,
    tasks,
    warnings,
)
from services.loans.operations import day as day_close
from services.programmes.loader import Catalogue


def work_day(
    catalogue: Catalogue, *, chunk_loans: int = day_close.CHUNK_LOANS_MAX
) -> Callable[[Database, str, date], Awaitable[None]]:
    """What the end of a day does to every loan, in chunks that commit one by one."""

    async def work(db: Database, county_code: str, day: date) -> None:
        await day_close.work_day(db, county_code, day, catalogue, chunk_loans=chunk_loans)
        await warnings.spread_all(db, county_code, catalogue)
        await issues.work_day(db, county_code, day, catalogue)
        await tasks.work_day(db, county_code, day, catalogue)

    return work


def close_day(catalogue: Catalogue) -> Callable[[AsyncSession, str, date], Awaitable[None]]:
    """What is done once for the county when all its loans are aged, with the next day's opening."""

    async def close(session: AsyncSession, county_code: str, day: date) -> None:
        await day_close.tell_coming_maturities(session, county_code, day, catalogue)
        await suspending.record_due(session, county_code, day, catalogue)
        await day_close.trip_breakers(session, county_code, day, catalogue)
        await breakers.record_month_ends(session, county_code, day, catalogue)
        await collecting.close_settled_cases(session, county_code, day)
        await securing.bear_yield(session, county_code, day)
        await securing.release_settled(session, county_code, day)
        await securing.warn_of_old_values(session, county_code, day)
        await standing.warn_of_payouts(session, county_code, day)
        await notices.warn_of_maturities(session, county_code, day, catalogue)
        await notices.queue_warnings(session, county_code, day, catalogue)
        await records.note_due(session, county_code, day)
        await reporting.count_households(session, county_code, day)
        await brief.keep_month_end(session, county_code, day)

    return close
