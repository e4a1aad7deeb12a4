"""Breakers: when an area's bad loans stop its lending."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.kernel.money import PPM, Fen, ceil_div
from services.programmes.schema.monitoring import Breaker, RatioBreaker, VillagesBreaker


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
