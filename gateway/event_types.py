"""Event types: the message of every event that any service says, read from the protos."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from liandong.claims.v1 import events_pb2 as claims
from liandong.credit.v1 import events_pb2 as credit
from liandong.funds.v1 import events_pb2 as funds
from liandong.gateway.v1 import events_pb2 as gateway
from liandong.households.v1 import events_pb2 as households
from liandong.loans.v1 import events_pb2 as loans

FILES = (households, credit, loans, claims, funds, gateway)

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def event_type_of(message: Descriptor) -> str:
    """The type of the events that carry a message: its package and its name in snake case."""
    package, _, name = message.full_name.rpartition(".")
    return f"{package}.{_WORD.sub('_', name).lower()}"


def _messages() -> Mapping[str, type[Message]]:
    found: dict[str, type[Message]] = {}
    for file in FILES:
        for descriptor in file.DESCRIPTOR.message_types_by_name.values():
            made: Any = message_factory.GetMessageClass(descriptor)
            found[event_type_of(descriptor)] = made
    return MappingProxyType(found)


MESSAGES: Mapping[str, type[Message]] = _messages()
"""Event type to message; the parts of events that stand beside them are here too."""


def noun_of(event_type: str) -> str:
    """The service that says it."""
    return event_type.split(".")[1]
