"""
Causes: of what in a batch an event that is said comes, so that each one's trace goes on.

A batch of events or of commands is handled by one call. What it says is matched by ids: by the
aggregate that one of them is about or names.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from google.protobuf.message import Message
from opentelemetry.trace import Span

_DEPTH_MAX = 8


class Cause(NamedTuple):
    """One event or command of a batch."""

    aggregate_id: str
    message: Message
    traceparent: str
    span: Span | None = None
    """Of a command: what is noted of the work is noted there."""


class Causes:
    """The causes of a batch by the ids that they name; read only once something is said."""

    def __init__(self, causes: Sequence[Cause]) -> None:
        self._causes = causes
        self._about: dict[str, Cause] = {}
        self._named: dict[str, Cause] | None = None
        for cause in causes:
            self._about.setdefault(cause.aggregate_id, cause)

    def of(self, aggregate_id: str, message: Message) -> Cause | None:
        """Whose trace an event that is said goes on with; None when no cause is known."""
        if (found := self._about.get(aggregate_id)) is not None:
            return found
        if self._named is None:
            self._named = {}
            for cause in self._causes:
                for name in texts(cause.message):
                    self._named.setdefault(name, cause)
        if (found := self._named.get(aggregate_id)) is not None:
            return found
        for name in texts(message):
            found = self._about.get(name) or self._named.get(name)
            if found is not None:
                return found
        return None


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
