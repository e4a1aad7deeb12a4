"""Pricing: the benchmark rate of a term, what a product may cost, what the treasury bears."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from services.kernel.errors import Refused
from services.kernel.money import half_up
from services.programmes.schema.loans import (
    BenchmarkPlusPricing,
    BenchmarkPricing,
    BenchmarkRate,
    Pricing,
    Subsidy,
    SubsidyMode,
)


@dataclass(frozen=True, slots=True)
class RateCheck:
    """A proposed rate against its bound."""

    bound_rate_ppm: int
    allowed: bool
    working: str


def benchmark_rate_ppm(table: Sequence[BenchmarkRate], *, term_months: int, on: date) -> int:
    """The rate in force on a day for the shortest tenor that holds the term."""
    in_force = [rate for rate in table if rate.valid_from <= on]
    if in_force:
        latest = max(rate.valid_from for rate in in_force)
        tenors = [rate for rate in in_force if rate.valid_from == latest]
        fitting = [rate for rate in tenors if term_months <= rate.max_tenor_months]
        if fitting:
            return min(fitting, key=lambda rate: rate.max_tenor_months).rate_ppm
    raise Refused(
        "BENCHMARK_RATE_UNKNOWN",
        f"no benchmark rate for {term_months} months on {on}",
        message_zh=f"{on}无{term_months}个月期基准利率",
    )


def loan_rate_ppm(pricing: Pricing, *, benchmark_ppm: int, proposed_ppm: int | None = None) -> int:
    """The rate a contract carries; a proposal outside the product's bounds is refused."""
    if isinstance(pricing, BenchmarkPricing):
        if proposed_ppm not in (None, benchmark_ppm):
            raise _refused(proposed_ppm, f"the benchmark {benchmark_ppm}")
        return benchmark_ppm
    if proposed_ppm is None:
        raise Refused("LOAN_RATE_MISSING", "the lender names the rate of this product")
    if isinstance(pricing, BenchmarkPlusPricing):
        checked = at_most_benchmark_plus(proposed_ppm, benchmark_ppm, pricing.max_uplift_pct)
        if not checked.allowed:
            raise _refused(proposed_ppm, f"at most {checked.bound_rate_ppm}")
        return proposed_ppm
    low = 0 if pricing.min_rate_ppm is None else pricing.min_rate_ppm
    high = proposed_ppm if pricing.max_rate_ppm is None else pricing.max_rate_ppm
    if not low <= proposed_ppm <= high:
        raise _refused(proposed_ppm, f"between {pricing.min_rate_ppm} and {pricing.max_rate_ppm}")
    return proposed_ppm


def at_most(proposed_ppm: int, bound_ppm: int) -> RateCheck:
    """A cap, inclusive (S01)."""
    return RateCheck(bound_ppm, proposed_ppm <= bound_ppm, f"{proposed_ppm} ≤ {bound_ppm} ppm")


def at_least(proposed_ppm: int, bound_ppm: int) -> RateCheck:
    """A floor, inclusive (S01)."""
    return RateCheck(bound_ppm, proposed_ppm >= bound_ppm, f"{proposed_ppm} ≥ {bound_ppm} ppm")


def at_most_benchmark_plus(proposed_ppm: int, benchmark_ppm: int, uplift_pct: int) -> RateCheck:
    """A cap that is the benchmark raised by a percentage of itself."""
    bound = half_up(benchmark_ppm * (100 + uplift_pct), 100)
    # Cross-multiplied, so that a rounded bound never lets a proposal slip.
    allowed = proposed_ppm * 100 <= benchmark_ppm * (100 + uplift_pct)
    working = f"{proposed_ppm} ≤ {benchmark_ppm} × {100 + uplift_pct} % = {bound} ppm"
    return RateCheck(bound, allowed, working)


def subsidised_rate_ppm(subsidy: Subsidy, *, loan_rate_ppm: int, benchmark_ppm: int) -> int:
    """The yearly rate the treasury pays; never more than the loan costs (S30)."""
    match subsidy.mode:
        case SubsidyMode.NONE:
            return 0
        case SubsidyMode.FULL_AT_BENCHMARK:
            return min(loan_rate_ppm, benchmark_ppm)
        case SubsidyMode.FIXED_RATE | SubsidyMode.CAPPED_RATE:
            assert subsidy.rate_ppm is not None, "the pack's check says so"
            return min(loan_rate_ppm, subsidy.rate_ppm)


def _refused(proposed_ppm: int | None, rule: str) -> Refused:
    return Refused(
        "LOAN_RATE_NOT_ALLOWED",
        f"{proposed_ppm} ppm proposed, {rule} ppm allowed",
        message_zh="利率不符合产品规定",
    )
