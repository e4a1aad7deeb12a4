"""Households that move to another village of their county."""

from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households import events_out
from services.households.model import Evidence, Move
from services.households.operations.shared import (
    came_from,
    lock_own,
    next_version,
    read_own,
    refuse_if,
    require_known_area,
)
from services.households.rules import moves as rules
from services.households.store import moves as store
from services.households.store import people as people_store
from services.kernel import ids, outbox
from services.kernel.caller import Caller


async def move_household(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    household_id: UUID,
    *,
    area_code: str,
    moved_on: date,
    reason: str,
    evidence: Evidence,
) -> tuple[UUID, int]:
    """Let a household live elsewhere from a day on; the move's id and the household's version."""
    household = await lock_own(session, caller, county_code, household_id)
    provenance = await came_from(session, caller, county_code, evidence)
    today = provenance.business_date
    before = await store.of_household(session, county_code, household_id)
    last_moved_on = before[-1].moved_on if before else None
    refuse_if(
        rules.move_fault(household, area_code, moved_on, today=today, last_moved_on=last_moved_on)
    )
    await require_known_area(session, caller, county_code, area_code, "area_code")
    changed = next_version(household, area_code=area_code)
    move = Move(ids.new_id(), household.area_code, area_code, moved_on, reason, provenance)
    await people_store.save_households(session, [changed], provenance)
    await store.insert(session, changed, move)
    await outbox.record(session, [events_out.household_changed(changed, today)])
    return move.move_id, changed.version


async def list_moves(
    session: AsyncSession, caller: Caller, county_code: str, household_id: UUID, known_by: date
) -> list[Move]:
    """A household's moves; it is seen by whoever sees where it lives."""
    await read_own(session, caller, county_code, household_id, known_by)
    return await store.of_household(session, county_code, household_id, known_by)
