"""Traces: what a page needs of a store of spans; whoever starts the console brings one, or none."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class Link(Protocol):
    """The other span that one goes back to, in another trace."""

    @property
    def trace_id(self) -> str:
        """Of the other trace, in hex."""
        ...


class Span(Protocol):
    """One span, as far as a waterfall needs it."""

    @property
    def trace_id(self) -> str:
        """Of its trace, in hex."""
        ...

    @property
    def span_id(self) -> str:
        """Its own, in hex."""
        ...

    @property
    def parent_id(self) -> str:
        """Of the span that it was done for; empty for the first."""
        ...

    @property
    def service(self) -> str:
        """Which process did it."""
        ...

    @property
    def name(self) -> str:
        """What was done."""
        ...

    @property
    def kind(self) -> int:
        """Kind by OTLP's numbers: 1 internal, 2 server, 3 client, 4 producer, 5 consumer."""
        ...

    @property
    def start_ns(self) -> int:
        """When it began."""
        ...

    @property
    def end_ns(self) -> int:
        """When it ended."""
        ...

    @property
    def failed(self) -> bool:
        """Whether it ended in an error."""
        ...

    @property
    def attributes(self) -> Mapping[str, object]:
        """Its attributes; no personal data is in them."""
        ...

    @property
    def links(self) -> Sequence[Link]:
        """What it goes back to."""
        ...


class Summary(Protocol):
    """A trace in a line."""

    @property
    def trace_id(self) -> str:
        """In hex."""
        ...

    @property
    def service(self) -> str:
        """Where it began."""
        ...

    @property
    def name(self) -> str:
        """What it began with."""
        ...

    @property
    def start_ns(self) -> int:
        """When."""
        ...

    @property
    def end_ns(self) -> int:
        """When its last span ended."""
        ...

    @property
    def spans(self) -> int:
        """How many it has."""
        ...

    @property
    def failed(self) -> int | bool:
        """Whether one of them failed."""
        ...

    @property
    def institution_id(self) -> str:
        """Who called; empty where it began inside."""
        ...


class Traces(Protocol):
    """A bounded store of spans."""

    def trace(self, trace_id: str) -> Sequence[Span]:
        """The spans of a trace by their start; none for one that is not kept."""
        ...

    def newest(self, n: int) -> Sequence[Summary]:
        """The newest traces."""
        ...

    def failed(self, n: int) -> Sequence[Summary]:
        """The newest traces with an error."""
        ...
