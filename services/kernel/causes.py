"""
Causes: of which event of a batch an event that is said comes, so that each one's trace goes on.

A batch is handled by one call. What it says is matched by ids: by the aggregate that an incoming
event is about or names.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from google.protobuf.message import Message

from services.kernel.inbox import Incoming

_DEPTH_MAX = 8


class Causes:
    """The events of a batch by the ids that they name; read only once something is said."""

    def __init__(self, events: Sequence[Incoming[Message]], traceparents: Sequence[str]) -> None:
        self._events = events
        self._traceparents = traceparents
        self._about: dict[str, str] = {}
        self._named: dict[str, str] | None = None
        for event, traceparent in zip(events, traceparents, strict=True):
            self._about.setdefault(event.envelope.aggregate_id, traceparent)

    def of(self, aggregate_id: str, message: Message) -> str:
        """The trace that an event which is said goes on with; empty when no cause is known."""
        if (found := self._about.get(aggregate_id)) is not None:
            return found
        if self._named is None:
            self._named = {}
            for event, traceparent in zip(self._events, self._traceparents, strict=True):
                for name in texts(event.message):
                    self._named.setdefault(name, traceparent)
        if (found := self._named.get(aggregate_id)) is not None:
            return found
        for name in texts(message):
            found = self._about.get(name) or self._named.get(name)
            if found is not None:
                return found
        return ""


def texts(message: Message, depth: int = 0) -> Iterator[str]:
    """The ids of a message and its parts, and what else stands in such fields."""
    for field, value in message.ListFields():
        if isinstance(value, str):
            if field.name.endswith("_id") or field.name == "value":
                yield value
        elif field.message_type is not None:
            if depth < _DEPTH_MAX and not field.message_type.GetOptions().map_entry:
                for each in value if field.is_repeated else (value,):
                    yield from texts(each, depth + 1)
        elif field.name.endswith("_ids"):
            yield from value


_current: ContextVar[Causes | None] = ContextVar("liandong.causes", default=None)


def current() -> Causes | None:
    """The batch that is being handled."""
    return _current.get()


@contextmanager
def of_batch(causes: Causes) -> Iterator[None]:
    """While a batch is handled, what is said goes on with its causes' traces."""
    token = _current.set(causes)
    try:
        yield
    finally:
        _current.reset(token)
