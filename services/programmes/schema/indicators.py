"""Schema: what is counted, the ratios of counts, and what a good ratio earns."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import (
    Clause,
    Code,
    OrOpen,
    RatePpm,
    ScoreCenti,
    Title,
    duplicates,
)


class CountUnit(StrEnum):
    """What a count counts; a number without its unit says nothing (C09)."""

    HOUSEHOLDS = "households"
    PERSONS = "persons"
    ENTITIES = "entities"
    LOANS = "loans"
    FEN = "fen"
    PROJECTS = "projects"
    GROUPS = "groups"
    VILLAGES = "villages"
    TOWNSHIPS = "townships"
    STATIONS = "stations"
    INSTITUTIONS = "institutions"


class Count(Clause):
    """A number that is counted, or made of others of its unit."""

    id: Code
    unit: CountUnit
    plus: tuple[Code, ...] = ()
    minus: tuple[Code, ...] = ()

    @property
    def is_made(self) -> bool:
        """Whether it follows from other counts and is never taken as given (C08)."""
        return bool(self.plus or self.minus)

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.minus and not self.plus:
            raise ValueError("a count that takes away needs one to take from")
        if twice := duplicates([*self.plus, *self.minus]):
            raise ValueError(f"count {twice[0]} is used twice")
        return self


class Indicator(Clause):
    """One count over another; always computed, never taken as given (C08)."""

    id: Code
    title: Title | None = None
    numerator: Code
    denominator: Code
    decimals: Annotated[int, Field(ge=0, le=4)] = 2

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.numerator == self.denominator:
            raise ValueError("numerator and denominator are the same count")
        return self


# Also for amounts over counts, such as a balance per household: fen per million households.
PerMillion = Annotated[int, Field(ge=0, le=10**15)]


class FixedGoal(Clause):
    """A goal in parts per million."""

    of: Literal["fixed"]
    rate_ppm: PerMillion


class AreaGoal(Clause):
    """The average of the area, or a stated threshold where that is easier to reach."""

    of: Literal["area_average"]
    or_ppm: OrOpen[PerMillion] | None = None


Goal = Annotated[FixedGoal | AreaGoal, Field(discriminator="of")]


class Kpi(Clause):
    """
    A target for an indicator, with marks or without.

    Marks are full from the goal on and linear before it, so that more than the goal earns nothing
    (S54). Where lower is better, linear needs the ratio at which nothing is left.
    """

    id: Code
    indicator: Code
    better: Literal["higher", "lower"]
    full_at: OrOpen[Goal]
    zero_at_ppm: OrOpen[RatePpm] | None = None
    marks_centi: OrOpen[ScoreCenti] | None = None

    @model_validator(mode="after")
    def _marks(self) -> Self:
        if isinstance(self.marks_centi, int) and self.marks_centi <= 0:
            raise ValueError("marks_centi is above 0")
        needed = self.better == "lower" and self.marks_centi is not None
        if needed != (self.zero_at_ppm is not None):
            word = "need" if needed else "take no"
            raise ValueError(f"these marks {word} zero_at_ppm")
        goal, zero = self.full_at, self.zero_at_ppm
        if isinstance(goal, FixedGoal) and isinstance(zero, int) and zero <= goal.rate_ppm:
            raise ValueError("zero_at_ppm is not above the goal")
        return self


def check_counts(
    counts: tuple[Count, ...], indicators: tuple[Indicator, ...], kpis: tuple[Kpi, ...]
) -> None:
    """Every name stands for something, and sums are of one unit."""
    units = {count.id: count.unit for count in counts}
    for count in counts:
        for name in (*count.plus, *count.minus):
            if name not in units:
                raise ValueError(f"count {count.id} is made of {name}, which is missing")
            if units[name] is not count.unit:
                raise ValueError(f"count {count.id} adds {units[name]} to {count.unit}")
    in_order(counts)
    for indicator in indicators:
        for name in (indicator.numerator, indicator.denominator):
            if name not in units:
                raise ValueError(f"indicator {indicator.id} names count {name}, which is missing")
    known = {indicator.id for indicator in indicators}
    if missing := [kpi.indicator for kpi in kpis if kpi.indicator not in known]:
        raise ValueError(f"a KPI names indicator {missing[0]}, which is missing")


def in_order(counts: tuple[Count, ...]) -> tuple[Count, ...]:
    """The counts so that each stands behind those it is made of; a cycle is refused."""
    left = {count.id: count for count in counts}
    ordered: list[Count] = []
    while left:
        ready = [each for each in left.values() if not left.keys() & {*each.plus, *each.minus}]
        if not ready:
            raise ValueError(f"counts are made of each other: {', '.join(sorted(left))}")
        ordered.extend(left.pop(count.id) for count in ready)
    return tuple(ordered)
