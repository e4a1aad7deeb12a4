"""Credit: the nouns. Values only; nothing here acts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from services.kernel.money import Fen

RATE_CHUNK = 2_000
"""Households rated in one call, unless the caller says otherwise."""

GONE = ("deceased", "delisted")
"""Standings on the registry with which a household is not rated and holds no limit."""


class Cause(StrEnum):
    """Why a rating was made."""

    RATED = "rated"
    HONOUR_CHANGED = "honour_changed"


class Fact(StrEnum):
    """What a change of a credit file says to others, in the order in which it is said."""

    GRADED = "graded"
    VETOED = "vetoed"
    LIMIT_GRANTED = "limit_granted"
    LIMIT_CHANGED = "limit_changed"


@dataclass(frozen=True, slots=True)
class Household:
    """What this service knows of a household."""

    household_id: UUID
    area_code: str
    status: str
    honour: str
    """Empty for none."""


@dataclass(frozen=True, slots=True)
class CreditFile:
    """A household's credit file: its last rating and the limit that rests on it."""

    county_code: str
    household: Household
    delisted: bool
    version: int
    """Events said of it so far: the next one carries this plus one."""
    rating_id: UUID | None
    """The last rating; None before the first."""
    programme: str
    score_centi: int
    grade: str
    """Empty for none."""
    vetoes: tuple[str, ...]
    limit_fen: Fen
    valid_until: date | None
    """Last day of the limit; None without a limit, or when the programme states no end."""
    granted_on: date | None
    """When a limit was granted for the first time."""

    @property
    def household_id(self) -> UUID:
        """Whose file it is."""
        return self.household.household_id

    @property
    def may_hold_limit(self) -> bool:
        """Whether the household is still on the registry's file and alive."""
        return not self.delisted and self.household.status not in GONE


@dataclass(frozen=True, slots=True)
class Indicator:
    """One thing observed of a household on a day; yes is 1 and no is 0."""

    household_id: UUID
    code: str
    value: int
    observed_on: date


@dataclass(frozen=True, slots=True)
class Observed:
    """An indicator as it counts in a rating, with the entry that it was read from."""

    value: int
    observed_on: date
    entry: int


@dataclass(frozen=True, slots=True)
class Rating:
    """A rating: what went in, under which terms, what came out and how."""

    county_code: str
    rating_id: UUID
    household_id: UUID
    cause: Cause
    programme: str
    rated_on: date
    inputs: Mapping[str, Observed]
    honour: str
    score_centi: int
    grade: str
    vetoes: tuple[str, ...]
    base_limit_fen: Fen
    uplift_fen: Fen
    limit_fen: Fen
    valid_until: date | None
    working: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule made of a credit file: the file as it is now, and what there is to say."""

    file: CreditFile
    rating: Rating | None
    facts: tuple[Fact, ...]
    """In order; the file's version is raised by their number."""


@dataclass(frozen=True, slots=True)
class Expired:
    """A limit whose last day has passed."""

    household_id: UUID
    sequence: int
    programme: str
