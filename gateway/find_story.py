"""
Find story: what belongs to the story of an id, and how an event is told in it. Pure.

Only what the reader may know leads on: links are read from messages that are masked for it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from liandong.gateway.v1 import find_pb2 as pb

from gateway import feed_rules, feed_store, find_names, story_words
from gateway.feed_rules import Fact, Grounds
from gateway.feed_store import Kept
from gateway.find_names import HOUSEHOLD, TRACE, Name
from gateway.identity import Institution
from services.kernel import wire

LINKED_MAX = 64
AMOUNTS_MAX = 32

LOAN = "loan"
PAYING = frozenset({"claim", "payout"})
"""They name one another, and only one of the two the loans."""
WIDE = frozenset(
    {
        *(HOUSEHOLD, TRACE, "policy", "fund", "product", "programme", "institution", "enterprise"),
        *("contract", "line", "scope", "facility", "project", "person", "owner", "deputy", "rule"),
        *("publication", "key", "payee", "account"),
    }
)
"""Many stories share them: they lead nowhere."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event that the reader may know, masked for it."""

    kept: Kept
    message: Message
    masked: tuple[str, ...]
    names: tuple[Name, ...]
    about: Name | None

    @classmethod
    def of(cls, kept: Kept, reader: Institution, grounds: Grounds) -> "Told":
        """Leave out what is not the reader's to know."""
        message = feed_store.read(kept)
        masked = feed_rules.mask(message, reader, Fact.of(kept.envelope, kept.tie), grounds)
        names = find_names.named(kept.envelope.event_type, message)
        about = find_names.about(kept.envelope, names)
        return cls(kept, message, tuple(masked), tuple(names), about)

    @property
    def trace_id(self) -> str:
        """The trace that it was said in."""
        return find_names.trace_of(self.kept.envelope.traceparent)

    def all_names(self) -> list[Name]:
        """What it names to this reader, what it is about first; its trace last."""
        found = dict.fromkeys((self.about, *self.names) if self.about else self.names)
        if trace := self.trace_id:
            found[UUID(trace), TRACE] = None
        return list(found)

    def kind_of(self, one: UUID) -> str:
        """What an id is of, as this event has it; empty when it does not name it."""
        return next((kind for name, kind in self.all_names() if name == one), "")

    @property
    def household_id(self) -> str:
        """The household that it names."""
        return next((str(name) for name, kind in self.names if kind == HOUSEHOLD), "")


@dataclass(slots=True)
class Links:
    """What a story is told along: the id that was asked for, and what is linked to it."""

    kind: str
    seeds: tuple[UUID, ...]
    since: dict[UUID, int] = field(default_factory=dict)
    """Each id with the position from which its events belong to the story."""
    kinds: dict[UUID, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for seed in self.seeds:
            self.since[seed] = 0

    def add(self, told: Iterable[Told]) -> list[UUID]:
        """Follow the links that events make; the claims and payouts that are new."""
        new: list[UUID] = []
        for each in told:
            for name, kind in each.all_names():
                if name in self.since or len(self.kinds) == LINKED_MAX:
                    continue
                if not self._leads(each, kind):
                    continue
                # What happened to a payout's loan before the claim is the loan's own story.
                self.since[name] = each.kept.position if self.kind in PAYING and kind == LOAN else 0
                self.kinds[name] = kind
                if kind in PAYING:
                    new.append(name)
        return new

    def _leads(self, told: Told, kind: str) -> bool:
        if kind in WIDE:
            return False
        if self.kind == LOAN and kind == LOAN:
            # Renewed by another, and not paid by the same payout.
            return told.about is not None and told.about[1] == LOAN
        return True

    def is_linked(self, told: Told) -> bool:
        """Whether it is told only for what is linked."""
        names = {name for name, _ in told.all_names()}
        return names.isdisjoint(self.seeds)


def step_of(told: Told, *, linked: bool) -> pb.StoryStep:
    """An event as a step, but for who acted."""
    envelope = told.kept.envelope
    zh, en = story_words.event(envelope.event_type)
    return pb.StoryStep(
        event_id=str(envelope.event_id),
        event_type=envelope.event_type,
        words=en,
        words_zh=zh,
        business_date=wire.date_to_proto(envelope.business_date),
        recorded_time=time_of(told.kept),
        about=_id(told.about) if told.about else None,
        names=[_id(name) for name in told.names if name != told.about],
        amounts=amounts(told.message),
        trace_id=told.trace_id,
        linked=linked,
        county_code=envelope.county_code,
        programme=envelope.programme,
        data=json_format.MessageToJson(told.message, indent=None, ensure_ascii=False),
        masked=told.masked,
    )


def time_of(kept: Kept) -> Timestamp:
    """When an event was recorded."""
    time = Timestamp()
    time.FromDatetime(kept.envelope.recorded_at)
    return time


def _id(name: Name) -> pb.StoryId:
    return pb.StoryId(kind=name[1], id=shown(*name))


def shown(one: UUID, kind: str) -> str:
    """An id as people write it: a trace has no hyphens."""
    return one.hex if kind == TRACE else str(one)


def amounts(message: Message) -> list[pb.StoryAmount]:
    """The amounts that a message says itself; those of its parts stand in its data."""
    found = []
    for said, value in message.ListFields():
        if said.name.endswith("_fen") and not said.is_repeated and isinstance(value, int):
            zh, en = story_words.amount(said.name)
            found.append(pb.StoryAmount(name=said.name, words=en, words_zh=zh, amount_fen=value))
    return found[:AMOUNTS_MAX]


def linked_ids(kinds: Mapping[UUID, str]) -> list[pb.StoryId]:
    """What is linked, as the answer names it."""
    return [pb.StoryId(kind=kind, id=shown(one, kind)) for one, kind in kinds.items()]
