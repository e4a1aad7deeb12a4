"""Areas in time: dated flags, and who serves a village."""

from datetime import date

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households import events_out
from services.households.model import Area, AreaFlag, Evidence, VillageService
from services.households.operations.shared import (
    came_from,
    not_after,
    refuse_if,
    require_known_area,
)
from services.households.rules import linkage as rules
from services.households.store import linkage as store
from services.households.store import registration as registry_store
from services.kernel import outbox
from services.kernel.caller import Caller
from services.kernel.errors import NotFound, Refused


async def set_flag(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    area_code: str,
    *,
    flag: str,
    is_set: bool,
    valid_from: date,
    evidence: Evidence,
) -> int:
    """Set or lift a flag of an area; how many times it was changed."""
    await store.lock_county(session, county_code)
    await require_known_area(session, caller, county_code, area_code, "area_code")
    provenance = await came_from(session, caller, county_code, evidence)
    today = provenance.business_date
    not_after("valid_from", valid_from, today)
    flags = await store.area_flags(session, county_code, area_code)
    known = next((each for each in flags if each.flag == flag), None)
    if (known is not None and known.is_set) is is_set:
        raise Refused(
            "FLAG_UNCHANGED",
            f"set = {is_set}: the flag {flag} of {area_code} stands so already",
            message_zh="标识未变",
        )
    version = known.version + 1 if known else 1
    made = AreaFlag(flag, version, is_set, valid_from, provenance)
    await store.insert_flag(session, county_code, area_code, made)
    event = events_out.area_flag_changed(county_code, area_code, made, today)
    await outbox.record(session, [event])
    return version


async def set_service(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    village_code: str,
    service: VillageService,
    *,
    evidence: Evidence,
) -> int:
    """Say who serves a village; how many times it was said."""
    await store.lock_county(session, county_code)
    await require_known_area(session, caller, county_code, village_code, "village_code")
    provenance = await came_from(session, caller, county_code, evidence)
    refuse_if(rules.service_fault(service))
    return await store.insert_service(session, county_code, village_code, service, provenance)


async def get_area(
    session: AsyncSession, county_code: str, area_code: str, known_by: date
) -> tuple[Area, list[AreaFlag], VillageService | None]:
    """An area, its flags and its service, as known at the end of a business day."""
    area = await registry_store.load_area(session, county_code, area_code)
    if area is None:
        raise NotFound("AREA_NOT_FOUND", f"no area {area_code}", message_zh="没有该行政区划")
    flags = await store.area_flags(session, county_code, area_code, known_by)
    service = await store.village_service(session, county_code, area_code, known_by)
    return area, flags, service


def within(county_code: str, asked: str) -> str:
    """The area that a list is of: what was asked for inside the county, else all of it."""
    if asked and not asked.startswith(county_code):
        raise NotFound("AREA_NOT_FOUND", f"no area {asked}", message_zh="没有该行政区划")
    return asked or county_code
