"""Pricing: the benchmark rate of a term, what a product may cost, what the treasury bears."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import cast

from services.kernel.errors import Refused
from services.kernel.money import half_up
from services.programmes.schema.loans import (
    BenchmarkPlusPricing,
    BenchmarkPricing,
    BenchmarkRate,
    LoanProduct,
    LoanRules,
    Pricing,
    RangePricing,
    SpreadPricing,
    Subsidy,
    SubsidyMode,
)
from services.programmes.schema.product_terms import FundingSource
from services.programmes.schema.values import Open, known


@dataclass(frozen=True, slots=True)
class RateCheck:
    """A proposed rate against its bound."""

    bound_rate_ppm: int
    allowed: bool
    working: str


@dataclass(frozen=True, slots=True)
class Quote:
    """What a contract costs, what it was measured against, and what the treasury bears of it."""

    rate_ppm: int
    reference_ppm: int | None
    subsidised_rate_ppm: int
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
    """
    The rate a contract carries; a proposal outside the product's bounds is refused.

    `benchmark_ppm` is the published rate that the clause refers to.
    """
    low, high = rate_bounds_ppm(pricing, reference_ppm=benchmark_ppm)
    if low == high and isinstance(pricing, BenchmarkPricing | SpreadPricing):
        if proposed_ppm not in (None, low):
            raise _refused(proposed_ppm, f"{low}")
        return low
    if proposed_ppm is None:
        raise Refused("LOAN_RATE_MISSING", "the lender names the rate of this product")
    if isinstance(pricing, BenchmarkPlusPricing):
        checked = at_most_benchmark_plus(proposed_ppm, benchmark_ppm, pricing.max_uplift_pct)
        if not checked.allowed:
            raise _refused(proposed_ppm, f"at most {checked.bound_rate_ppm}")
        return proposed_ppm
    if proposed_ppm < low or (high is not None and proposed_ppm > high):
        raise _refused(proposed_ppm, f"between {low} and {high}")
    return proposed_ppm


def rate_bounds_ppm(pricing: Pricing, *, reference_ppm: int) -> tuple[int, int | None]:
    """The lowest and the highest rate of a clause, both allowed; None: no highest."""
    match pricing:
        case BenchmarkPricing():
            return reference_ppm, reference_ppm
        case BenchmarkPlusPricing():
            return 0, reference_ppm * (100 + pricing.max_uplift_pct) // 100
        case RangePricing():
            return pricing.min_rate_ppm or 0, pricing.max_rate_ppm
        case SpreadPricing():
            low, high = pricing.min_spread_ppm, pricing.max_spread_ppm
            # A spread below zero never makes a rate below zero.
            return (
                0 if low is None else max(0, reference_ppm + low),
                None if high is None else max(0, reference_ppm + high),
            )


def pricing_of(product: LoanProduct, principal_fen: int) -> Pricing:
    """The price clause of an amount: the highest tier it reaches, else the product's own."""
    reached: Pricing | Open = product.pricing
    for tier in product.pricing_tiers:
        if principal_fen >= tier.min_principal_fen:
            reached = tier.pricing
    return cast("Pricing", known(reached))


def reference_rate_ppm(
    rules: LoanRules, pricing: Pricing, *, term_months: int, on: date
) -> int | None:
    """The published rate a price refers to, by its tenor and day; None: it refers to none."""
    if isinstance(pricing, RangePricing):
        return None
    if isinstance(pricing, SpreadPricing) and pricing.reference == "lpr":
        if rules.lpr is None:
            raise Refused("LPR_UNKNOWN", "no loan prime rates are set", message_zh="未设置LPR报价")
        table: Sequence[BenchmarkRate] = known(rules.lpr)
    else:
        table = known(rules.benchmark)
    return benchmark_rate_ppm(table, term_months=term_months, on=on)


def quote(
    product: LoanProduct,
    rules: LoanRules,
    *,
    principal_fen: int,
    term_months: int,
    on: date,
    proposed_ppm: int | None = None,
    funding: str | None = None,
) -> Quote:
    """A contract's rate by amount, tenor, day and whose money it is, and the treasury's part."""
    pricing, subsidy = pricing_of(product, principal_fen), known(product.subsidy)
    reference = reference_rate_ppm(rules, pricing, term_months=term_months, on=on)
    rate = loan_rate_ppm(pricing, benchmark_ppm=reference or 0, proposed_ppm=proposed_ppm)
    cap = rate_cap_ppm(product.funding_sources, funding)
    if cap is not None and rate > cap:
        if proposed_ppm is not None:
            raise _refused(proposed_ppm, f"of {funding} at most {cap}")
        # Nobody proposed this rate: a price the programme fixes gives way to the cap.
        rate = cap
    measure = reference
    if measure is None and subsidy.mode is SubsidyMode.FULL_AT_BENCHMARK:
        measure = benchmark_rate_ppm(known(rules.benchmark), term_months=term_months, on=on)
    borne = subsidised_rate_ppm(subsidy, loan_rate_ppm=rate, benchmark_ppm=measure or 0)
    working = f"{rate} ppm against {measure} for {term_months} months on {on}; treasury {borne} ppm"
    return Quote(rate, measure, borne, working)


def rate_cap_ppm(sources: Sequence[FundingSource], funding: str | None) -> int | None:
    """The highest rate of the money that funds a loan; a source the product lacks is refused."""
    if funding is None or not sources:
        return None
    for source in sources:
        if source.id == funding:
            return source.max_rate_ppm
    raise Refused("FUNDING_SOURCE_NOT_ALLOWED", f"the product is not funded by {funding}")


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
