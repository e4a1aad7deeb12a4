"""
Feed rules: who may know of an event, and what of it. Pure; what nothing allows is told to nobody.

An event's proto says which roles are told and whose it must be (`gateway/rules.py`). Here that
meets the institution as it is now, the place of the event, and who is party to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from gateway.access import Conditions, Resource, Subject, contains, decide
from gateway.feed_ties import PARTY_FIELDS, ROLE, Tie
from gateway.groups import DEPARTMENTS, GOVERNMENT, INSURERS, OPERATORS
from gateway.identity import ABOVE_COUNTIES, Institution
from gateway.rules import TOLD, category_of
from gateway.tie_store import NOTHING, Standing
from services.kernel.cloudevents import Envelope
from services.programmes.schema.deployment import InstitutionRole as Role

SUPERVISORS = frozenset(
    {Role.REGULATOR, Role.BANK_REGULATOR, Role.INSURANCE_REGULATOR, Role.CENTRAL_BANK}
)
ORGANS = GOVERNMENT | SUPERVISORS
"""Told by place: an organ of the county, and whoever supervises there."""


GRADE, CREDIT_RECORDS = "credit_grade.read", "credit_records"
ACTIONS = {"household": "household.read"}
CONSENTED = {"household": "identity"}
"""What knowing of a household's events counts as, and what it consents to; else its credit."""


PLATFORMS_OWN = Conditions()


@dataclass(frozen=True, slots=True)
class Grounds:
    """How an institution stands to an event's household, and what the programmes add."""

    standing: Standing = NOTHING
    conditions: Conditions = PLATFORMS_OWN


NO_GROUNDS = Grounds()


@dataclass(frozen=True, slots=True)
class Fact:
    """An event, as far as access turns on it."""

    event_type: str
    county_code: str
    tie: Tie

    @classmethod
    def of(cls, envelope: Envelope, tie: Tie) -> "Fact":
        """Of a kept event."""
        return cls(envelope.event_type, envelope.county_code, tie)


def told_types(role: str) -> frozenset[str]:
    """Every type of event that a role may be told of at all."""
    return frozenset(name for name, told in TOLD.items() if role in told.roles)


def may_know(reader: Institution, fact: Fact, grounds: Grounds = NO_GROUNDS) -> bool:
    """Whether an institution may know of an event."""
    told = TOLD.get(fact.event_type)
    if told is None or reader.role not in told.roles:
        return False
    match told.ownership:
        case "common":
            return _in_county(reader, fact)
        case "area":
            return _in_area(reader, fact)
        case "party":
            return _by_place(reader, fact) or _is_party(reader, fact)
        case "household":
            return _by_place(reader, fact) or _household_is_known(reader, fact, grounds)
        case "self":
            return _is_party(reader, fact)
        case "platform":
            return reader.role in OPERATORS or reader.role == Role.AUDITOR
    return False


def _by_place(reader: Institution, fact: Fact) -> bool:
    return reader.role in ORGANS and _in_area(reader, fact)


def _is_party(reader: Institution, fact: Fact) -> bool:
    parties = fact.tie.parties
    if reader.institution_id in parties:
        return True
    # A department may be named by its role: there is one of each in a county, and many banks.
    by_role = reader.role in DEPARTMENTS and f"{ROLE}{reader.role}" in parties
    return by_role and _in_area(reader, fact)


def _in_county(reader: Institution, fact: Fact) -> bool:
    """Whether it concerns the reader's county; what stands above counties concerns all."""
    return ABOVE_COUNTIES in (reader.county_code, fact.county_code) or contains(
        reader.county_code, fact.county_code
    )


def _in_area(reader: Institution, fact: Fact) -> bool:
    """Whether it lies where the reader may act; what has no place lies in the whole county."""
    if reader.county_code != ABOVE_COUNTIES and not contains(reader.county_code, fact.county_code):
        return False
    place = fact.tie.area_code or fact.county_code
    return not reader.areas or any(contains(area, place) for area in reader.areas)


def in_areas(fact: Fact, areas: Sequence[str]) -> bool:
    """Whether it lies in one of the areas that were asked for."""
    place = fact.tie.area_code or fact.county_code
    return not areas or any(place.startswith(area) for area in areas)


def _household_is_known(reader: Institution, fact: Fact, grounds: Grounds) -> bool:
    """Whether it has to do with the household today, or the household lets it know."""
    if not fact.tie.household_id:
        return False
    own, kinds = reader.institution_id, grounds.standing.kinds
    resource = TOLD[fact.event_type].resource
    about = Resource(
        area=fact.tie.area_code or fact.county_code,
        household_id=fact.tie.household_id,
        application_to=own if kinds & {"application", "debt"} else None,
        open_claim_insurer=own if "claim" in kinds else None,
        insured_by=own if "cover" in kinds else None,
        consented=CONSENTED.get(resource, CREDIT_RECORDS) in grounds.standing.categories,
    )
    subject = Subject(reader.role, own, tuple(reader.areas or (reader.county_code,)))
    return decide(subject, ACTIONS.get(resource, GRADE), about, grounds.conditions).allow


def may_see(reader: Institution, category: str, grounds: Grounds) -> bool:
    """Whether an institution may see a category of data: organs may, others by consent."""
    return reader.role in ORGANS or category in grounds.standing.categories


def mask(message: Message, reader: Institution, fact: Fact, grounds: Grounds) -> list[str]:
    """Leave out of a message what the reader may not know; the names in JSON of what that was."""
    left_out: dict[str, None] = {}
    if reader.role not in ORGANS and not _pays_all(reader, fact):
        left_out |= dict.fromkeys(_leave_out_parts(message, reader.institution_id))
    left_out |= dict.fromkeys(_leave_out_guarded(message, reader, grounds))
    return list(left_out)


def _pays_all(reader: Institution, fact: Fact) -> bool:
    """An insurer pays every part of its own payout, and so knows them."""
    return reader.role in INSURERS and fact.event_type.split(".")[1] == "claims"


def _leave_out_parts(message: Message, institution_id: str) -> list[str]:
    """
    Leave out the parts that are others', and those that name nobody.

    Where some were left out, sums go too: less the own part they would tell the others'.
    """
    left_out = []
    for field, value in message.ListFields():
        if not field.is_repeated or field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            continue
        own = [part for part in value if institution_id in _named(part)]
        if len(own) < len(value):
            kept = [type(part).FromString(part.SerializeToString()) for part in own]
            del value[:]
            value.extend(kept)
            left_out.append(field.json_name)
    if left_out:
        for field, _ in message.ListFields():
            if field.name.endswith("_fen") and not field.is_repeated:
                message.ClearField(field.name)
                left_out.append(field.json_name)
    if message.DESCRIPTOR.fields_by_name.get("household_ids") and message.household_ids:  # type: ignore[attr-defined]
        message.ClearField("household_ids")
        left_out.append("householdIds")
    return left_out


def _named(part: Message) -> set[object]:
    return {value for field, value in part.ListFields() if field.name in PARTY_FIELDS}


def _leave_out_guarded(message: Message, reader: Institution, grounds: Grounds) -> list[str]:
    """Leave out, at any depth, the fields whose category of data the reader may not see."""
    left_out = []
    for field, value in message.ListFields():
        category = category_of(field)
        if category and not may_see(reader, category, grounds):
            message.ClearField(field.name)
            left_out.append(field.json_name)
            continue
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in value if field.is_repeated else (value,):
            left_out += _leave_out_guarded(each, reader, grounds)
    return left_out
