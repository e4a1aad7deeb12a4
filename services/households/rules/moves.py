"""Moves of households: where to and since when. Pure."""

from datetime import date

from services.households.model import Household, RegistrationStatus
from services.kernel.errors import LiandongError, Refused, invalid_field

VILLAGE_DIGITS = 12


def move_fault(
    household: Household,
    area_code: str,
    moved_on: date,
    *,
    today: date,
    last_moved_on: date | None,
) -> LiandongError | None:
    """Why a household cannot move there on that day; None when it can."""
    if not area_code.startswith(household.county_code):
        rule = f"must lie in {household.county_code}: who leaves the county is delisted there"
        return invalid_field(
            "AREA_OF_ANOTHER_COUNTY", "area_code", area_code, rule, "不属于本县行政区划"
        )
    if len(area_code) < VILLAGE_DIGITS:
        rule = "must be a village or a villager group"
        return invalid_field("AREA_TOO_WIDE", "area_code", area_code, rule, "应具体到村或村民小组")
    if moved_on > today:
        rule = f"must not be after the business date {today}"
        return invalid_field("DATE_IN_FUTURE", "moved_on", moved_on, rule, "日期晚于营业日")
    since = last_moved_on or household.registered_on
    if since is not None and moved_on < since:
        rule = f"must not be before {since}, since when it lives where it does"
        return invalid_field("DATE_TOO_EARLY", "moved_on", moved_on, rule, "早于登记或上次迁移日期")
    if area_code == household.area_code:
        return Refused(
            "AREA_UNCHANGED", f"the household lives in {area_code} already", message_zh="住址未变"
        )
    if household.status is RegistrationStatus.DECEASED:
        return Refused("HOUSEHOLD_DECEASED", "the household died out", message_zh="该户已消亡")
    return None
