"""What the doors share: who may call for a county, one outcome or many, where a page begins."""

from collections.abc import Sequence
from datetime import date
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import Message

from services.kernel import wire
from services.kernel.caller import Caller, require_role
from services.kernel.errors import Denied, LiandongError
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of

REPORTERS = ("village_department", "township_station", "insurer", "county_centre")

READERS = (
    *REPORTERS,
    "bank",
    "mutual_aid_society",
    "poverty_office",
    "finance_bureau",
    "regulator",
    "auditor",
    "operator",
    # A person's own, which alone the gateway asks for.
    "household",
)

FIRST = UUID(int=0)
"""Before every id: where the first page begins."""

T = TypeVar("T")


def admit(context: Context, roles: Sequence[str], county_code: str) -> Caller:
    """The caller, if its role may call this for the county."""
    caller = caller_of(context)
    require_role(caller, roles)
    if caller.county_code not in ("000000", county_code):
        raise Denied(
            "AREA_NOT_YOURS",
            f"{caller.institution_id} may not act in {county_code}",
            message_zh="超出本机构辖区",
        )
    return caller


def only(outcomes: Sequence[T | LiandongError]) -> T:
    """The outcome of a list of one: a value, or the refusal raised."""
    (outcome,) = outcomes
    if isinstance(outcome, LiandongError):
        raise outcome
    return outcome


def after_of(page_token: str) -> UUID | None:
    start = wire.page_start(page_token)
    return parse_id("page_token", start) if start else None


def optional_id(field: str, text: str) -> UUID | None:
    """An id that may be left out."""
    return parse_id(field, text) if text else None


def optional_date(request: Message, field: str) -> date | None:
    """A day that may be left out."""
    if not request.HasField(field):
        return None
    return wire.date_from_proto(field, getattr(request, field))
