"""Credit: what may be recorded of a household, by whom, and where."""

from collections.abc import Sequence
from datetime import date

from services.credit.model import Indicator
from services.credit.rules.indicators import Catalogue, entitled, in_range, rules_for
from services.kernel.errors import Refused, invalid_field


def check_indicator(
    indicator: Indicator,
    *,
    area: str | None,
    catalogues: Sequence[Catalogue],
    role: str,
    today: date,
) -> None:
    """Refuse an indicator of a stranger, of no programme, out of range, of no supplier or day."""
    if area is None:
        raise Refused(
            "UNKNOWN_HOUSEHOLD",
            f"no household {indicator.household_id} in this county",
            message_zh="本县无此农户",
        )
    rules = rules_for(catalogues, indicator.code)
    entitled(rules, role)
    in_range(rules, indicator.value)
    if indicator.observed_on > today:
        raise invalid_field(
            "OBSERVED_IN_FUTURE",
            "observed_on",
            indicator.observed_on,
            f"must not be after the business date {today}",
            "采集日期不能晚于营业日",
        )
    if indicator.expires_on is not None and indicator.expires_on < indicator.observed_on:
        raise invalid_field(
            "EXPIRES_BEFORE_OBSERVED",
            "expires_on",
            indicator.expires_on,
            f"must not be before the day of observation {indicator.observed_on}",
            "失效日期不能早于采集日期",
        )


def check_area(within: str, county_code: str) -> None:
    """Refuse an area that is not in the county that the request names."""
    if within and not within.startswith(county_code):
        raise invalid_field(
            "AREA_OUTSIDE_COUNTY",
            "within",
            within,
            f"must begin with the county code {county_code}",
            "区域不属于该县",
        )
