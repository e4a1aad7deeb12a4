"""
Rules: what the protos say of every method, event and guarded field, read once at the start.

What carries no rule, or one that names no known group or ownership, is denied.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, MethodDescriptor
from liandong.access.v1 import access_pb2
from liandong.claims.v1 import events_pb2 as claims_events
from liandong.credit.v1 import events_pb2 as credit_events
from liandong.funds.v1 import events_pb2 as funds_events
from liandong.gateway.v1 import events_pb2 as gateway_events
from liandong.households.v1 import events_pb2 as households_events
from liandong.loans.v1 import events_pb2 as loans_events

from gateway.groups import GROUPS
from gateway.routes import ROUTES

_OWNERSHIPS: Mapping[int, str] = {
    number: name.removeprefix("OWNERSHIP_").lower()
    for name, number in access_pb2.Ownership.items()
    if number
}

PURPOSES: frozenset[str] = frozenset(
    name.removeprefix("PURPOSE_").lower() for name, number in access_pb2.Purpose.items() if number
)
"""What for something may be done; nothing else is a purpose."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call a method, what it does to what, and whose that must be."""

    resource: str
    action: str
    roles: frozenset[str]
    ownership: str
    purposes: frozenset[str]
    money: bool = False
    """It moves money, or decides that it moves: its trace is always kept."""


@dataclass(frozen=True, slots=True)
class Told:
    """Who may be told of an event, and whose it must be."""

    resource: str
    roles: frozenset[str]
    ownership: str


def rule_of(method: MethodDescriptor) -> Rule:
    """The rule of a method; one that lets nobody in where its proto says none."""
    said = _option(method, access_pb2.rule)
    ownership = _OWNERSHIPS.get(said.ownership, "")
    return Rule(
        resource=said.resource,
        action=said.action,
        roles=_roles(said.callers) if ownership else frozenset(),
        ownership=ownership,
        purposes=frozenset(
            access_pb2.Purpose.Name(each).removeprefix("PURPOSE_").lower() for each in said.purposes
        ),
        money=said.money,
    )


def told_of(event: Descriptor) -> Told:
    """Who is told of an event; nobody where its proto does not say."""
    said = _option(event, access_pb2.told)
    ownership = _OWNERSHIPS.get(said.ownership, "")
    roles = _roles(said.readers) if ownership else frozenset()
    return Told(said.resource, roles, ownership)


def category_of(field: FieldDescriptor) -> str:
    """The category of data that a field holds; empty for one that nothing guards."""
    found: str = _option(field, access_pb2.data)
    return found


def _option(of: MethodDescriptor | Descriptor | FieldDescriptor, extension: Any) -> Any:
    return of.GetOptions().Extensions[extension]


def _roles(names: Iterable[str]) -> frozenset[str]:
    return frozenset(role.value for name in names for role in GROUPS.get(name, ()))


RULES: Mapping[str, Rule] = {route.method: rule_of(route.descriptor) for route in ROUTES}
"""Method to its rule."""

MONEY: frozenset[str] = frozenset(method for method, rule in RULES.items() if rule.money)
"""Methods that move money."""

EVENT_FILES: tuple[FileDescriptor, ...] = (
    households_events.DESCRIPTOR,
    credit_events.DESCRIPTOR,
    loans_events.DESCRIPTOR,
    claims_events.DESCRIPTOR,
    funds_events.DESCRIPTOR,
    gateway_events.DESCRIPTOR,
)
"""The protos that hold events."""


def event_type(event: Descriptor) -> str:
    """An event's type, as its header `ce-type` says it: `liandong.loans.v1.loan_repaid`."""
    package = event.full_name.removesuffix(f".{event.name}")
    return f"{package}.{re.sub('(?<=[a-z])(?=[A-Z])', '_', event.name).lower()}"


EVENTS: Mapping[str, Descriptor] = {
    event_type(message): message
    for file in EVENT_FILES
    for message in file.message_types_by_name.values()
    if message.GetOptions().HasExtension(access_pb2.told)
}
"""Type to message of every event that somebody is told of."""

TOLD: Mapping[str, Told] = {name: told_of(message) for name, message in EVENTS.items()}
"""Type of an event to who is told of it."""
