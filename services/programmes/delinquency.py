"""Delinquency: overdue days, the non-performing trigger, the five tiers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from operator import attrgetter

from services.programmes.schema.loans import Npl, OverdueNpl
from services.programmes.schema.monitoring import FiveTier, TierFrom

NON_PERFORMING = (FiveTier.SUBSTANDARD, FiveTier.DOUBTFUL, FiveTier.LOSS)
_BY_DAYS = attrgetter("min_overdue_days")


@dataclass(frozen=True, slots=True)
class Trigger:
    """How long a loan is overdue, and whether that is too long."""

    overdue_days: int
    triggered: bool
    working: str


@dataclass(frozen=True, slots=True)
class Classified:
    """A loan's class by days alone."""

    tier: FiveTier
    non_performing: bool
    risk_list: bool
    working: str


def overdue_days(due_on: date, as_of: date) -> int:
    """Days since the due date; none before it."""
    return max(0, (as_of - due_on).days)


def npl_trigger(due_on: date, as_of: date, *, more_than_days: int) -> Trigger:
    """Overdue for strictly more than the pack says (S01)."""
    days = overdue_days(due_on, as_of)
    triggered = days > more_than_days
    return Trigger(days, triggered, f"due {due_on}, {days} days on {as_of} > {more_than_days}?")


def band_of(days: int, table: Sequence[TierFrom]) -> TierFrom:
    """The band with the most overdue days that are reached (S14)."""
    reached = [band for band in table if days >= band.min_overdue_days]
    return max(reached, key=_BY_DAYS)


def five_tier(days: int, table: Sequence[TierFrom]) -> Classified:
    """The worst class whose overdue days are reached, and how that was found (S14)."""
    band = band_of(days, table)
    bad = band.tier in NON_PERFORMING
    working = f"{days} days overdue, from {band.min_overdue_days}: {band.tier.value}"
    return Classified(band.tier, bad, bad, working)


def is_non_performing(npl: Npl, *, days: int, tier: FiveTier) -> bool:
    """By the measure the pack names: days overdue, or a class (C21)."""
    if isinstance(npl, OverdueNpl):
        return days > npl.more_than_days
    order = list(FiveTier)
    return order.index(tier) >= order.index(FiveTier(npl.from_tier))
