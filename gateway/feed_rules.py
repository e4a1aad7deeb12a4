"""
Feed rules: who may know of an event, and what of it. Pure; what nothing allows is told to nobody.

An event's proto says which roles are told and whose it must be (`gateway/rules.py`). Here that
meets the institution as it is now, the place of the event, and who is party to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from gateway.access import contains
from gateway.feed_ties import PARTY_FIELDS, ROLE, Tie
from gateway.groups import DEPARTMENTS, GOVERNMENT, INSURERS, OPERATORS, groups_of
from gateway.identity import ABOVE_COUNTIES, Institution
from gateway.policy import Question, Thing, policies
from gateway.rules import TOLD, category_of
from services.kernel.cloudevents import Envelope
from services.programmes.schema.deployment import InstitutionRole as Role

SUPERVISORS = frozenset(
    {Role.REGULATOR, Role.BANK_REGULATOR, Role.INSURANCE_REGULATOR, Role.CENTRAL_BANK}
)
ORGANS = GOVERNMENT | SUPERVISORS
"""Told by place: an organ of the county, and whoever supervises there."""


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


def may_know(reader: Institution, fact: Fact, *, connected: bool = False) -> bool:
    """
    Whether an institution may know of an event.

    `connected`: the event's household has applied to it, owes it, claims from it or consents.
    """
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
            return _by_place(reader, fact) or (connected and bool(fact.tie.household_id))
        case "self":
            return _is_party(reader, fact)
        case "platform":
            return reader.role in OPERATORS or reader.role == Role.AUDITOR
    return False


def needs_connection(reader: Institution, fact: Fact) -> bool:
    """Whether it turns on what the reader has to do with the event's household."""
    told = TOLD.get(fact.event_type)
    return (
        told is not None
        and told.ownership == "household"
        and reader.role in told.roles
        and reader.role not in ORGANS
    )


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


def may_see(reader: Institution, category: str, fact: Fact) -> bool:
    """Whether an institution may see a category of data in an event; the policies say it."""
    parties = fact.tie.parties
    own = reader.institution_id if reader.institution_id in parties else ""
    groups = groups_of(reader.role)
    question = Question(
        groups=groups,
        institution=reader.institution_id,
        household="",
        action=f"see.{category}",
        thing=Thing(
            in_area=_in_area(reader, fact),
            lender=own if "lenders" in groups else "",
            insurer=own if "insurers" in groups else "",
            household=fact.tie.household_id,
        ),
        conditions=frozenset(),
    )
    return policies().decide(question).allow


def mask(message: Message, reader: Institution, fact: Fact) -> list[str]:
    """Leave out of a message what the reader may not know; the names in JSON of what that was."""
    left_out: dict[str, None] = {}
    if reader.role not in ORGANS and not _pays_all(reader, fact):
        left_out |= dict.fromkeys(_leave_out_parts(message, reader.institution_id))
    seen: dict[str, bool] = {}
    left_out |= dict.fromkeys(_leave_out_guarded(message, reader, fact, seen))
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


def _leave_out_guarded(
    message: Message, reader: Institution, fact: Fact, seen: dict[str, bool]
) -> list[str]:
    """Leave out, at any depth, the fields whose category of data the reader may not see."""
    left_out = []
    for field, value in message.ListFields():
        category = category_of(field)
        if category:
            if category not in seen:
                seen[category] = may_see(reader, category, fact)
            if not seen[category]:
                message.ClearField(field.name)
                left_out.append(field.json_name)
                continue
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in value if field.is_repeated else (value,):
            left_out += _leave_out_guarded(each, reader, fact, seen)
    return left_out
