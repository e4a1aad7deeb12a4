"""Margins: what a loan earns its lender, out of its own money and out of relending (SC.fun.7)."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.kernel.money import Fen, half_up


@dataclass(frozen=True, slots=True)
class Margin:
    """What is left of a loan's rate; below 0 where it costs more than it earns."""

    funding_ppm: int
    margin_ppm: int
    working: str


def net_margin(*, rate_ppm: int, funding_ppm: int, operating_ppm: int) -> Margin:
    """The rate less what the money and the work cost."""
    left = rate_ppm - funding_ppm - operating_ppm
    working = f"{rate_ppm} − {funding_ppm} − {operating_ppm} = {left} ppm"
    return Margin(funding_ppm, left, working)


def average(margins: Sequence[tuple[Fen, int]]) -> int:
    """The margin over some loans, weighted by what is owed, half up; 0 where nothing is owed."""
    owed = sum(fen for fen, _ in margins)
    if not owed:
        return 0
    earned = sum(fen * ppm for fen, ppm in margins)
    return half_up(earned, owed) if earned >= 0 else -half_up(-earned, owed)
