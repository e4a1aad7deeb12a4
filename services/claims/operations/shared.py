"""Claims: what the use cases share: who acts, and on which business date."""

from collections.abc import Iterable
from datetime import date

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import Actor
from services.kernel import business_day
from services.kernel.caller import Caller
from services.kernel.errors import Refused


def actor_of(caller: Caller) -> Actor:
    return Actor(caller.institution_id, caller.require_person())


async def days_of(session: AsyncSession, said: Iterable[tuple[str, date]]) -> dict[str, date]:
    """Business date of each county; what another service said may come before our first day."""
    found: dict[str, date] = {}
    for county_code, day in said:
        if county_code not in found:
            try:
                found[county_code] = await business_day.today(session, county_code)
            except Refused:
                found[county_code] = day
    return found
