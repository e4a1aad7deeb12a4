"""Sizes: how much each part of a bench is measured on, from a moment's look to a province."""

from dataclasses import dataclass, replace
from enum import StrEnum


class Size(StrEnum):
    """What a run is as large as."""

    SHORT = "short"
    COUNTY = "county"
    PROVINCE = "province"


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much of each."""

    claims: int
    """Approved at once a round."""
    rates: tuple[int, ...]
    """Approved a second, one by one."""
    paced_seconds: float
    lines: int
    """Of a household file."""
    villages: int
    households: int
    """Rated again."""
    loans: int
    """That a day is closed for."""
    events: int
    """In the relay's backlog."""
    requests: int
    """Through the gateway."""
    log_rows: int

    def times(self, factor: float) -> "Amounts":
        """The same, so many times as much; rates stay."""
        return replace(
            self,
            claims=round(self.claims * factor),
            lines=round(self.lines * factor),
            households=round(self.households * factor),
            loans=round(self.loans * factor),
            events=round(self.events * factor),
        )


AMOUNTS = {
    Size.SHORT: Amounts(
        claims=2_000,
        rates=(50,),
        paced_seconds=20 / 3,
        lines=39_999,
        villages=300,
        households=16_301,
        loans=6_000,
        events=50_000,
        requests=4_000,
        log_rows=100_000,
    ),
    Size.COUNTY: Amounts(
        claims=20_000,
        rates=(50, 300),
        paced_seconds=20,
        lines=200_001,
        villages=300,
        households=200_000,
        loans=100_000,
        events=50_000,
        requests=4_000,
        log_rows=1_000_000,
    ),
    # What limits.md calls a province: 2,000,000 households, 500,000 loans, 10,000 villages.
    Size.PROVINCE: Amounts(
        claims=20_000,
        rates=(50, 300),
        paced_seconds=20,
        lines=6_000_000,
        villages=10_000,
        households=2_000_000,
        loans=500_000,
        events=50_000,
        requests=4_000,
        log_rows=1_000_000,
    ),
}
