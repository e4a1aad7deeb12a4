"""Loans over gRPC: which areas a call may be about, refused by field where they are another's."""

from services.kernel.caller import Caller
from services.kernel.errors import Denied, Violation
from services.loans.rules.lending import LENDER_ROLES


def _refused(caller: Caller, field: str, value: str) -> Denied:
    own = ", ".join(caller.areas) or caller.county_code
    return Denied(
        "AREA_NOT_YOURS",
        f"{caller.institution_id} may not act in {value}",
        message_zh="超出本机构辖区",
        violations=[Violation(field, value, f"must lie within {own}")],
    )


def require_own_county(caller: Caller, county_code: str) -> None:
    """Refuse another county."""
    if caller.county_code not in ("000000", county_code):
        raise _refused(caller, "county_code", county_code)


def require_own_area(caller: Caller, area_code: str, field: str = "area_code") -> None:
    """Refuse an area outside the caller's."""
    if not caller.may_act_in(area_code):
        raise _refused(caller, field, area_code)


def areas_of(caller: Caller, county_code: str, area_code: str) -> list[str]:
    """The area that a list is asked for, or all of the caller's; another's is refused."""
    require_own_county(caller, county_code)
    if not area_code:
        return list(caller.areas) or [county_code]
    require_own_area(caller, area_code)
    if not area_code.startswith(county_code):
        raise _refused(caller, "area_code", area_code)
    return [area_code]


def lender_of(caller: Caller) -> str:
    """The lender that asks; empty for everybody else."""
    return caller.institution_id if caller.role in LENDER_ROLES else ""
