"""Breakers: when an area's bad loans stop its lending."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.kernel.money import PPM, Fen, ceil_div
from services.programmes.schema.monitoring import (
    Breaker,
    CollectionBreaker,
    Monitoring,
    RatioBreaker,
    Reopening,
    VillagesBreaker,
)
from services.programmes.schema.values import known


@dataclass(frozen=True, slots=True)
class Ratio:
    """One scope's bad balance against its whole balance."""

    tripped: bool
    working: str


@dataclass(frozen=True, slots=True)
class Township:
    """Whether a township trips, and how many villages that takes."""

    tripped: bool
    villages_needed: int
    working: str


@dataclass(frozen=True, slots=True)
class Village:
    """One village's books."""

    village_code: str
    npl_fen: Fen
    outstanding_fen: Fen


@dataclass(frozen=True, slots=True)
class Circuit:
    """A township and all its villages."""

    tripped_villages: tuple[str, ...]
    township_tripped: bool
    villages_needed: int
    working: str


@dataclass(frozen=True, slots=True)
class CollectionMonth:
    """One month of a scope: principal that fell due, and how much of it was collected."""

    month: str
    due_fen: int
    collected_fen: int


@dataclass(frozen=True, slots=True)
class CollectionRate:
    """Whether too little was collected for too long, and since which month."""

    suspended: bool
    suspended_after: str | None
    working: str


@dataclass(frozen=True, slots=True)
class Tolerated:
    """Whether an excess over a lender's other loans is within what is tolerated."""

    tolerated: bool
    working: str


@dataclass(frozen=True, slots=True)
class Reopened:
    """Whether a tripped scope may lend again."""

    reopened: bool
    working: str


def npl_ratio(npl_fen: int, outstanding_fen: int, *, more_than_ppm: int) -> Ratio:
    """Strictly above the threshold; a scope that owes nothing never trips (S01, S16)."""
    tripped = outstanding_fen > 0 and npl_fen * PPM > more_than_ppm * outstanding_fen
    return Ratio(tripped, f"{npl_fen} of {outstanding_fen} fen > {more_than_ppm} ppm: {tripped}")


def township(tripped_villages: int, total_villages: int, *, at_least_pct: int) -> Township:
    """At least this share of all its villages, those without loans included (S17)."""
    needed = ceil_div(at_least_pct * total_villages, 100)
    tripped = total_villages > 0 and tripped_villages * 100 >= at_least_pct * total_villages
    working = f"{tripped_villages} of {total_villages} villages, {needed} needed"
    return Township(tripped, needed, working)


def circuit(
    villages: Sequence[Village], *, village_more_than_ppm: int, township_at_least_pct: int
) -> Circuit:
    """Every village of a township, then the township."""
    tripped = tuple(
        each.village_code
        for each in villages
        if npl_ratio(
            each.npl_fen, each.outstanding_fen, more_than_ppm=village_more_than_ppm
        ).tripped
    )
    whole = township(len(tripped), len(villages), at_least_pct=township_at_least_pct)
    working = f"tripped: {', '.join(tripped) or 'none'}; {whole.working}"
    return Circuit(tripped, whole.tripped, whole.villages_needed, working)


def ratio_breaker(breakers: Sequence[Breaker], scope: str) -> RatioBreaker | None:
    """A pack's breaker on the bad ratio of a scope."""
    found = (each for each in breakers if isinstance(each, RatioBreaker) and each.scope == scope)
    return next(found, None)


def villages_breaker(breakers: Sequence[Breaker]) -> VillagesBreaker | None:
    """A pack's breaker on a township's tripped villages."""
    return next((each for each in breakers if isinstance(each, VillagesBreaker)), None)


def collection_breaker(breakers: Sequence[Breaker], scope: str) -> CollectionBreaker | None:
    """A pack's breaker on the due-collection rate of a scope."""
    found = (
        each for each in breakers if isinstance(each, CollectionBreaker) and each.scope == scope
    )
    return next(found, None)


def recovery_rate(
    months: Sequence[CollectionMonth], *, less_than_ppm: int, consecutive: int
) -> CollectionRate:
    """Strictly below the rate in so many months on end; months without a due date are skipped."""
    low: list[str] = []
    for each in months:
        if each.due_fen == 0:
            continue
        if each.collected_fen * PPM >= less_than_ppm * each.due_fen:
            low = []
            continue
        low.append(each.month)
        if len(low) == consecutive:
            working = f"{', '.join(low)}: each below {less_than_ppm} ppm"
            return CollectionRate(True, each.month, working)
    working = f"{len(low)} months on end below {less_than_ppm} ppm, {consecutive} needed"
    return CollectionRate(False, None, working)


def npl_tolerance(
    own_npl_fen: int,
    own_outstanding_fen: int,
    all_npl_fen: int,
    all_outstanding_fen: int,
    *,
    tolerance_ppm: int,
) -> Tolerated:
    """The programme's ratio at most so far above the lender's ratio over all loans (inclusive)."""
    # Nothing lent is a ratio of 0 (S16).
    own = (own_npl_fen, own_outstanding_fen) if own_outstanding_fen else (0, 1)
    every = (all_npl_fen, all_outstanding_fen) if all_outstanding_fen else (0, 1)
    excess = own[0] * every[1] - every[0] * own[1]
    tolerated = excess * PPM <= tolerance_ppm * own[1] * every[1]
    working = (
        f"{own_npl_fen}/{own_outstanding_fen} − {all_npl_fen}/{all_outstanding_fen}"
        f" ≤ {tolerance_ppm} ppm: {tolerated}"
    )
    return Tolerated(tolerated, working)


def tolerance_of(monitoring: Monitoring) -> int | None:
    """What a programme tolerates; None where it tolerates nothing."""
    return None if monitoring.tolerance_ppm is None else known(monitoring.tolerance_ppm)


def is_below(npl_fen: int, outstanding_fen: int, *, threshold_ppm: int) -> bool:
    """Strictly below the threshold at a month end; a scope that owes nothing is below it."""
    return outstanding_fen == 0 or npl_fen * PPM < threshold_ppm * outstanding_fen


def reopen(
    rule: Reopening, month_ends_below: Sequence[bool], *, decided_by: str | None
) -> Reopened:
    """Below at the last so many month ends, and decided by the organ the pack names (S17)."""
    last = month_ends_below[-rule.month_ends_below :]
    below = len(last) == rule.month_ends_below and all(last)
    decided = decided_by == rule.decided_by.value
    working = (
        f"below at {sum(last)} of the last {rule.month_ends_below} month ends,"
        f" decided by {decided_by or 'nobody'}"
    )
    return Reopened(below and decided, working)
