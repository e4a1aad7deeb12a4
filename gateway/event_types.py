"""Event types: the message of every event that somebody may be told of, read from the protos."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from google.protobuf import message_factory
from google.protobuf.message import Message

from gateway.rules import EVENTS


def _message(event_type: str) -> type[Message]:
    made: Any = message_factory.GetMessageClass(EVENTS[event_type])
    found: type[Message] = made
    return found


MESSAGES: Mapping[str, type[Message]] = MappingProxyType(
    {event_type: _message(event_type) for event_type in EVENTS}
)
"""Event type to message."""


def noun_of(event_type: str) -> str:
    """The service that says it."""
    return event_type.split(".")[1]
