"""Credit: what is read. Nothing is decided here, nothing is written."""

from collections.abc import Sequence
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit import rules, store
from services.credit.model import CreditFile
from services.credit.operations import require_county
from services.kernel.caller import Caller, require_role
from services.kernel.errors import NotFound

LENDERS = ("bank", "mutual_aid_society")
OFFICES = (
    "county_centre",
    "township_station",
    "village_department",
    "poverty_office",
    "finance_bureau",
    "auditor",
)


def _require_reader(caller: Caller, county_code: str) -> None:
    require_role(caller, (*LENDERS, *OFFICES))
    require_county(caller, county_code)


async def get_credit_file(
    session: AsyncSession, caller: Caller, county_code: str, household_id: UUID
) -> tuple[CreditFile, str]:
    """One household's file and the working of its last rating."""
    _require_reader(caller, county_code)
    found = await store.find_file(session, county_code, household_id)
    if found is None:
        raise NotFound(
            "CREDIT_FILE_NOT_FOUND",
            f"no credit file of household {household_id} in this county",
            message_zh="本县无此农户信用档案",
        )
    # The limit stands over all lenders, so each of the county's may read it.
    if caller.role not in LENDERS:
        caller.require_area(found[0].household.area_code)
    return found


async def list_credit_files(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    within: str,
    *,
    after: UUID,
    limit: int,
) -> Sequence[CreditFile]:
    """The next files of an area, in household order."""
    _require_reader(caller, county_code)
    rules.check_area(within, county_code)
    if caller.role not in LENDERS:
        caller.require_area(within or county_code)
    return await store.list_files(session, county_code, within, after=after, limit=limit)


async def totals(session: AsyncSession, county_code: str) -> dict[str, int]:
    """The control totals of a county."""
    return await store.totals(session, county_code)
