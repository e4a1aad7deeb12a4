"""Schema: breakers, the five-tier table, and all that is watched."""

import itertools
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.indicators import Count, Indicator, Kpi, check_counts
from services.programmes.schema.reports import (
    Analytics,
    ComplianceCheck,
    Deputies,
    EarlyWarning,
    IssueLedger,
    Publication,
    Report,
    RiskList,
)
from services.programmes.schema.values import (
    Clause,
    Code,
    Days,
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


class CollectionBreaker(Clause):
    """Trips when, month after month, less than this of what fell due was collected (S19)."""

    id: Code
    measure: Literal["due_collection_rate"]
    scope: Literal["outlet", "village", "township", "county", "programme", "lender", "product"]
    less_than_ppm: RatePpm
    consecutive_months: Annotated[int, Field(ge=1, le=60)]
    effects: tuple[BreakerEffect, ...]
    lenders: Literal["all", "own"] = "all"


Breaker = Annotated[
    RatioBreaker | VillagesBreaker | CollectionBreaker, Field(discriminator="measure")
]


class Reopening(Clause):
    """What lifts a breaker: the ratio below the threshold at month ends, and a decision."""

    month_ends_below: Annotated[int, Field(ge=1, le=24)]
    decided_by: Organ


class Monitoring(Clause):
    """What is watched, and what follows."""

    breakers: tuple[Breaker, ...] = ()
    reopening: OrOpen[Reopening] | None = None
    five_tier: OrOpen[tuple[TierFrom, ...]]
    risk_list: RiskList | None = None
    # How far a lender's ratio may be above its ratio over all loans, inclusive (S01).
    tolerance_ppm: OrOpen[RatePpm] | None = None
    counts: tuple[Count, ...] = ()
    indicators: tuple[Indicator, ...] = ()
    kpis: tuple[Kpi, ...] = ()
    reports: tuple[Report, ...] = ()
    early_warnings: tuple[EarlyWarning, ...] = ()
    ledgers: tuple[IssueLedger, ...] = ()
    compliance: tuple[ComplianceCheck, ...] = ()
    deputies: Deputies | None = None
    publications: tuple[Publication, ...] = ()
    analytics: Analytics = Analytics()

    @model_validator(mode="after")
    def _breakers(self) -> Self:
        if twice := duplicates([breaker.id for breaker in self.breakers]):
            raise ValueError(f"breaker {twice[0]} is declared twice")
        by_villages = any(isinstance(breaker, VillagesBreaker) for breaker in self.breakers)
        village = any(
            breaker.scope == "village"
            for breaker in self.breakers
            if isinstance(breaker, RatioBreaker)
        )
        if by_villages and not village:
            raise ValueError("a breaker that counts tripped villages needs a village breaker")
        return self

    @model_validator(mode="after")
    def _five_tier(self) -> Self:
        if isinstance(self.five_tier, Open):
            return self
        if [band.tier for band in self.five_tier] != list(FiveTier):
            raise ValueError("five_tier names the five classes once each, best first")
        days = [band.min_overdue_days for band in self.five_tier]
        if days[0] != 0 or any(low >= high for low, high in itertools.pairwise(days)):
            raise ValueError("min_overdue_days starts at 0 and rises with every class")
        return self

    @model_validator(mode="after")
    def _names(self) -> Self:
        check_counts(self.counts, self.indicators, self.kpis)
        known = {indicator.id for indicator in self.indicators}
        for report in self.reports:
            if missing := [name for name in report.indicators if name not in known]:
                raise ValueError(f"report {report.id} shows {missing[0]}, which is no indicator")
        return self
