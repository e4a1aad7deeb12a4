"""Households: the nouns. Values only; nothing here acts."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class AreaLevel(StrEnum):
    """Level of an administrative area."""

    COUNTY = "county"
    TOWNSHIP = "township"
    VILLAGE = "village"
    VILLAGER_GROUP = "villager_group"


class RegistrationStatus(StrEnum):
    """Standing of a household on the registry."""

    REGISTERED_POOR = "registered_poor"
    NEAR_POOR = "near_poor"
    NON_POOR = "non_poor"
    FIVE_GUARANTEE = "five_guarantee"
    DELISTED = "delisted"


class Honour(StrEnum):
    """Honour that a household holds."""

    LAW_ABIDING = "law_abiding"
    HONEST = "honest"
    CIVILISED = "civilised"
    MODEL = "model"


class Relation(StrEnum):
    """Relation of a person to the head of the household."""

    HEAD = "head"
    SPOUSE = "spouse"
    SON = "son"
    DAUGHTER = "daughter"
    FATHER = "father"
    MOTHER = "mother"
    GRANDSON = "grandson"
    GRANDDAUGHTER = "granddaughter"


class Labour(StrEnum):
    """Ability to work."""

    ABLE = "able"
    SKILLED = "skilled"
    WEAK = "weak"
    LOST = "lost"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Area:
    """An administrative area; its parent's code is a prefix of its own."""

    area_code: str
    name: str
    level: AreaLevel


class Line(NamedTuple):
    """One line of a household file, one person, all as text. A tuple: a file has many."""

    line_number: int
    household_number: str
    village_code: str
    relation: str
    name: str
    identity_number: str
    phone: str
    registration_status: str
    honour: str
    labour: str
    registered_on: str
    unreadable: str


class Entry(NamedTuple):
    """A line whose every column is right by itself."""

    line: Line
    household_number: str
    name: str
    relation: Relation
    status: RegistrationStatus | None
    """None when the line leaves it to the head's."""
    honour: Honour | None
    labour: Labour | None
    registered_on: date


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that is refused; `value` shows no name, identity number or phone."""

    line_number: int
    column: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the registry already has of what a chunk names."""

    areas: frozenset[str]
    """Villages and villager groups."""
    areas_of_caller: frozenset[str]
    """Those of them that the caller may act in."""
    household_numbers: frozenset[str]
    identity_numbers: frozenset[str]
    """Of people in some household."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A household that may be registered: its number, its head, the others in order."""

    household_number: str
    head: Entry
    others: tuple[Entry, ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them, head first."""
        return (self.head, *self.others)


@dataclass(frozen=True, slots=True)
class Household:
    """A household as it is now."""

    county_code: str
    household_id: UUID
    version: int
    household_number: str
    area_code: str
    status: RegistrationStatus
    honour: Honour | None
    member_count: int


@dataclass(frozen=True, slots=True)
class Person:
    """A person of a household, opened or masked."""

    person_id: UUID
    name: str
    identity_number: str
    phone: str
    relation: Relation
    labour: Labour | None
