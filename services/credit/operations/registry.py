"""Credit: what the registry says of households, and what ends with a day."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit import events_out
from services.credit.model import Cause, Household
from services.credit.operations.shared import restate, save_changes
from services.credit.rules import rating
from services.credit.store import files as store
from services.credit.store import limits as limit_store
from services.kernel import business_day, outbox
from services.kernel.values import replace
from services.programmes.loader import Catalogue

EXPIRE_CHUNK = 2_000


async def take_households(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    households: Sequence[Household],
    *,
    relist: bool,
) -> None:
    """Take in what the registry says of households, each once; a new honour moves its limit."""
    held = await store.lock_files(session, county_code, [h.household_id for h in households])
    await store.put_households(session, county_code, households, relist=relist)
    now = {household.household_id: household for household in households}
    files = [
        replace(file, household=now[file.household_id], delisted=file.delisted and not relist)
        for file in held
    ]
    gone = [rating.withdraw(file) for file in files]
    honoured = [
        file
        for before, file in zip(held, files, strict=True)
        if file.may_hold_limit and rating.honour_changes(before, file.household)
    ]
    await save_changes(session, county_code, gone)
    if honoured:
        today = await business_day.today(session, county_code)
        decisions = await restate(
            session,
            catalogue,
            county_code,
            honoured,
            cause=Cause.HONOUR_CHANGED,
            today=today,
        )
        await save_changes(session, county_code, decisions)


async def delist_households(
    session: AsyncSession, county_code: str, household_ids: Sequence[UUID]
) -> None:
    """Take the limits of households that the registry took off its file."""
    held = await store.lock_files(session, county_code, household_ids)
    await store.delist(session, county_code, household_ids)
    gone = [rating.withdraw(replace(file, delisted=True)) for file in held]
    await save_changes(session, county_code, gone)


async def expire_limits(session: AsyncSession, county_code: str, day: date) -> None:
    """End the limits whose last day is the one that closes."""
    while True:
        expired = await store.expire_limits(session, county_code, day, limit=EXPIRE_CHUNK)
        await limit_store.add_limit_ends(session, county_code, expired, day)
        await outbox.record(session, events_out.limits_expired(county_code, expired, day))
        if len(expired) < EXPIRE_CHUNK:
            return
