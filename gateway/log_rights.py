"""Log rights: who may call what of the access log, beside the table of all other methods."""

from collections.abc import Mapping

from gateway import access
from gateway.access import AUDITORS, EVERYONE, OPERATORS
from services.programmes.schema.deployment import InstitutionRole as Role

_SERVICE = "liandong.gateway.v1.AccessLogService"
_CENTRE = frozenset({Role.COUNTY_CENTRE})

RIGHTS: Mapping[str, frozenset[Role]] = {
    f"{_SERVICE}/ListLogKeys": EVERYONE,
    f"{_SERVICE}/ListDayRoots": EVERYONE,
    f"{_SERVICE}/TakeDayRoot": EVERYONE,
    f"{_SERVICE}/ListDayRootTakings": EVERYONE,
    f"{_SERVICE}/SearchAccesses": AUDITORS,
    f"{_SERVICE}/ListAccessesOf": AUDITORS | _CENTRE,
    f"{_SERVICE}/OpenBreakGlass": OPERATORS,
    f"{_SERVICE}/ConfirmBreakGlass": OPERATORS,
    f"{_SERVICE}/CloseBreakGlass": OPERATORS,
    f"{_SERVICE}/ListBreakGlasses": OPERATORS | AUDITORS,
    f"{_SERVICE}/ListRetentionReports": OPERATORS | AUDITORS,
}


def may_call(role: str, method: str) -> bool:
    """Whether a role may call a method, of the log or any other."""
    if method in RIGHTS:
        return role in RIGHTS[method]
    return access.may_call(role, method)


def require(role: str, method: str) -> None:
    """Refuse a call that no row allows."""
    if not (method in RIGHTS and role in RIGHTS[method]):
        access.require(role, method)
