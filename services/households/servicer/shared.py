"""What the doors share: who may call, enums by name, dates, evidence and provenance."""

from collections.abc import Awaitable, Callable
from datetime import date
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.households.v1 import evidence_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import DataCategory, Evidence, EvidenceKind, Provenance
from services.households.operations.shared import require_county
from services.households.store import records
from services.kernel import wire
from services.kernel.caller import Caller, require_role
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of

R = TypeVar("R", bound=Message)

STATION_ROLES = ("county_centre", "poverty_office", "township_station", "village_department")
LENDER_ROLES = ("bank", "mutual_aid_society")
DEPARTMENT_ROLES = (
    *("court", "police", "social_insurance", "market_regulator", "tax_bureau"),
    *("agriculture_bureau", "credit_bureau"),
)
PARTY_ROLES = (*STATION_ROLES, *LENDER_ROLES, "insurer", "guarantor", "finance_bureau")


def allowed(context: Context, county_code: str, roles: tuple[str, ...] = ()) -> Caller:
    """The caller, if its role (any, when none is named) and county may do this."""
    caller = caller_of(context)
    if roles:
        require_role(caller, roles)
    require_county(caller, county_code)
    return caller


async def command(
    db: Database,
    caller: Caller,
    request: Message,
    response_type: type[R],
    work: Callable[[AsyncSession], Awaitable[R]],
) -> R:
    """Do a command once; no money is in it."""
    return await once(db, caller, request, response_type, work, money=False)


def enum_to_proto(enum: Any, prefix: str, value: StrEnum | str) -> Any:
    """A value as the number that its name has on the wire."""
    return enum.Value(f"{prefix}_{value.upper()}")


def enum_name(enum: Any, prefix: str, number: Any) -> str:
    """A number of the wire as the name that values have."""
    name: str = enum.Name(number)
    return name.removeprefix(f"{prefix}_").lower()


def known_by(day: Date, given: bool) -> date:
    """The business day as of which something is asked; the end of time for now."""
    return wire.date_from_proto("as_of", day) if given else records.NOW


def day(field: str, value: Date) -> date:
    """A calendar day that must be there."""
    return wire.date_from_proto(field, value)


def day_or_none(message: Message, field: str) -> date | None:
    """A calendar day that may be left out."""
    given = message.HasField(field)
    return wire.date_from_proto(field, getattr(message, field)) if given else None


def id_or_none(field: str, text: str) -> UUID | None:
    """An id that may be left out."""
    return parse_id(field, text) if text else None


def start_id(page_token: str) -> UUID:
    """The id after which a page begins."""
    start = wire.page_start(page_token)
    return parse_id("page_token", start) if start else UUID(int=0)


def evidence_of(message: evidence_pb2.Evidence) -> Evidence:
    """Evidence from the wire."""
    kind = EvidenceKind(enum_name(evidence_pb2.EvidenceKind, "EVIDENCE_KIND", message.kind))
    return Evidence(kind, message.reference, message.sha256)


def provenance_to_proto(provenance: Provenance) -> evidence_pb2.Provenance:
    """Where a record came from, for the wire."""
    made = evidence_pb2.Provenance(
        source_id=provenance.source_id,
        acted_by=provenance.acted_by,
        business_date=wire.date_to_proto(provenance.business_date),
    )
    if provenance.evidence is not None:
        kind = enum_to_proto(evidence_pb2.EvidenceKind, "EVIDENCE_KIND", provenance.evidence.kind)
        made.evidence.kind = kind
        made.evidence.reference = provenance.evidence.reference
        made.evidence.sha256 = provenance.evidence.sha256
    if provenance.recorded_at is not None:
        made.recorded_at.FromDatetime(provenance.recorded_at)
    return made


def optional_provenance(provenance: Provenance | None) -> evidence_pb2.Provenance | None:
    """The same of what may not have happened."""
    return provenance_to_proto(provenance) if provenance else None


def category_of(number: Any) -> DataCategory:
    """A data category from the wire."""
    return DataCategory(enum_name(evidence_pb2.DataCategory, "DATA_CATEGORY", number))


def category_to_proto(category: DataCategory) -> Any:
    """A data category for the wire."""
    return enum_to_proto(evidence_pb2.DataCategory, "DATA_CATEGORY", category)
