"""Schema: breakers, the five-tier table, reports and tasks."""

import itertools
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import (
    Clause,
    Code,
    Days,
    Every,
    Open,
    Organ,
    OrOpen,
    Pct,
    RatePpm,
    duplicates,
)


class FiveTier(StrEnum):
    """The supervisors' five classes, best first."""

    NORMAL = "normal"
    SPECIAL_MENTION = "special_mention"
    SUBSTANDARD = "substandard"
    DOUBTFUL = "doubtful"
    LOSS = "loss"


class TierFrom(Clause):
    """A class and the overdue days from which it holds."""

    tier: FiveTier
    min_overdue_days: Days


class BreakerEffect(StrEnum):
    """What stops, or starts, while a breaker is tripped."""

    STOP_GRANT = "stop_grant"
    STOP_APPROVE = "stop_approve"
    STOP_DRAW = "stop_draw"
    STOP_DISBURSE = "stop_disburse"
    OPEN_COLLECTION = "open_collection"


class RatioBreaker(Clause):
    """Trips when the bad part of a scope's balance is above a rate (strict)."""

    id: Code
    measure: Literal["npl_ratio"]
    scope: Literal["outlet", "village", "township", "county", "programme", "lender", "product"]
    more_than_ppm: RatePpm
    effects: tuple[BreakerEffect, ...]
    lenders: Literal["all", "own"] = "all"


class VillagesBreaker(Clause):
    """Trips a township when at least this share of all its villages is tripped (S17)."""

    id: Code
    measure: Literal["tripped_villages"]
    scope: Literal["township"]
    at_least_pct: Pct
    effects: tuple[BreakerEffect, ...]
    lenders: Literal["all", "own"] = "all"


Breaker = Annotated[RatioBreaker | VillagesBreaker, Field(discriminator="measure")]


class Reopening(Clause):
    """What lifts a breaker: the ratio below the threshold at month ends, and a decision."""

    month_ends_below: Annotated[int, Field(ge=1, le=24)]
    decided_by: Organ


class Report(Clause):
    """A report or check that is due again and again."""

    id: Code
    every: Every
    by: tuple[Organ, ...]
    to: tuple[Organ, ...] = ()
    only_while_overdue: bool = False


class Monitoring(Clause):
    """What is watched, and what follows."""

    breakers: tuple[Breaker, ...] = ()
    reopening: Reopening | None = None
    five_tier: OrOpen[tuple[TierFrom, ...]]
    tolerance_ppm: OrOpen[RatePpm] | None = None
    reports: tuple[Report, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if twice := duplicates([breaker.id for breaker in self.breakers]):
            raise ValueError(f"breaker {twice[0]} is declared twice")
        by_villages = any(isinstance(breaker, VillagesBreaker) for breaker in self.breakers)
        village = any(breaker.scope == "village" for breaker in self.breakers)
        if by_villages and not village:
            raise ValueError("a breaker that counts tripped villages needs a village breaker")
        if isinstance(self.five_tier, Open):
            return self
        if [band.tier for band in self.five_tier] != list(FiveTier):
            raise ValueError("five_tier names the five classes once each, best first")
        days = [band.min_overdue_days for band in self.five_tier]
        if days[0] != 0 or any(low >= high for low, high in itertools.pairwise(days)):
            raise ValueError("min_overdue_days starts at 0 and rises with every class")
        return self
