"""
Find names: which ids an event names, and what each is of, by the descriptors. Pure.

An id is a UUID of ours; a trace has as many digits and stands beside them.
"""

from collections.abc import Mapping
from functools import cache
from uuid import UUID

from google.protobuf.message import Message

from gateway import resources
from gateway.rules import EVENTS
from services.kernel.cloudevents import Envelope
from services.kernel.ids import known_id

TRACE = "trace"
HOUSEHOLD = "household"
NAMES_MAX = 200
"""Of one event: what a batch event names beyond that is not found by it."""

_AS: Mapping[str, str] = {"survivor": HOUSEHOLD, "alias": HOUSEHOLD, "replaces": "fact"}
_OF_AGGREGATE: Mapping[str, str] = {
    "funds.compensation_case": "case",
    "loans.subsidy_claim": "subsidy_claim",
}
"""Aggregates whose field is called otherwise, or as another's is."""

Name = tuple[UUID, str]
"""An id and what it is of."""


@cache
def _reader(event_type: str) -> resources.Naming | None:
    return resources.naming(EVENTS[event_type])


def named(event: str, message: Message) -> list[Name]:
    """The ids that an event's message names, each once, in the order of its fields."""
    read = _reader(event)
    if read is None:
        return []
    found: dict[Name, None] = {}
    for each in read(message):
        kind, _, name = each.partition(":")
        found[known_id(name), _AS.get(kind, kind)] = None
        if len(found) == NAMES_MAX:
            break
    return list(found)


def about(envelope: Envelope, names: list[Name]) -> Name | None:
    """What an event is about; None where its aggregate has no id of ours."""
    try:
        own = known_id(envelope.aggregate_id)
    except ValueError:
        return None
    if envelope.aggregate_type in _OF_AGGREGATE:
        return own, _OF_AGGREGATE[envelope.aggregate_type]
    by_field = next((kind for name, kind in names if name == own), "")
    return own, by_field or envelope.aggregate_type.rpartition(".")[2]


def trace_of(traceparent: str) -> str:
    """The trace of a W3C header; empty where none stands there."""
    parts = traceparent.split("-")
    if len(parts) < 3 or len(parts[1]) != 32:
        return ""
    try:
        number = int(parts[1], 16)
    except ValueError:
        return ""
    return parts[1] if number else ""


def rows(position: int, envelope: Envelope, message: Message) -> list[tuple[UUID, int, str]]:
    """The rows by which an event is found."""
    names = named(envelope.event_type, message)
    found = dict.fromkeys(names)
    if own := about(envelope, names):
        # The aggregate's own kind goes before the name that a field gives it.
        for name in [each for each in names if each[0] == own[0]]:
            del found[name]
        found[own] = None
    if trace := trace_of(envelope.traceparent):
        found[known_id(trace), TRACE] = None
    return [(name, position, kind) for name, kind in found]
