"""Interest: by months or by days, exactly; who pays it; what a campaign forgives."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from services.kernel.money import PPM, Fen, half_up

MONTHS_A_YEAR = 12


@dataclass(frozen=True, slots=True)
class InterestSubsidy:
    """A term's interest, the treasury's part and the borrower's."""

    interest_fen: Fen
    subsidy_fen: Fen
    borrower_interest_fen: Fen
    subsidised_months: int
    working: str


@dataclass(frozen=True, slots=True)
class SubsidyStop:
    """A loan's interest before and after it became non-performing."""

    subsidised_days: int
    subsidy_fen: Fen
    household_interest_fen: Fen
    working: str


@dataclass(frozen=True, slots=True)
class HouseholdDebt:
    """What the household itself owes, and what the treasury owes the lender (S08)."""

    principal_fen: Fen
    interest_fen: Fen
    debt_fen: Fen
    treasury_receivable_fen: Fen
    working: str


@dataclass(frozen=True, slots=True)
class Discount:
    """What a collection campaign forgives, and what is left to pay."""

    discount_fen: Fen
    payable_fen: Fen
    working: str


def day_numerator(principal_fen: int, rate_ppm: int, days: int) -> int:
    """
    Interest of some days as an exact whole number, in fen × day basis × 10^6.

    Numerators of consecutive segments add up without rounding; `numerator_to_fen` rounds once.
    """
    assert principal_fen >= 0
    assert days >= 0
    return principal_fen * rate_ppm * days


def numerator_to_fen(numerator: int, day_basis: int) -> Fen:
    """The one rounding of an accrued numerator: half up to the fen (S02)."""
    return Fen(half_up(numerator, day_basis * PPM))


def days_interest_fen(principal_fen: Fen, rate_ppm: int, days: int, day_basis: int) -> Fen:
    """Simple interest of some days, rounded once."""
    return numerator_to_fen(day_numerator(principal_fen, rate_ppm, days), day_basis)


def months_interest_fen(principal_fen: Fen, rate_ppm: int, months: int) -> Fen:
    """Simple interest of whole months, rounded once."""
    return Fen(half_up(principal_fen * rate_ppm * months, MONTHS_A_YEAR * PPM))


def balance_interest_fen(
    periods: Sequence[tuple[Fen, int]], *, rate_ppm: int, day_basis: int
) -> Fen:
    """Interest on a balance that changes: the sum of balance × days, rounded once."""
    total = sum(day_numerator(balance, rate_ppm, days) for balance, days in periods)
    return numerator_to_fen(total, day_basis)


def interest_subsidy(
    principal_fen: Fen,
    *,
    loan_rate_ppm: int,
    subsidised_rate_ppm: int,
    months: int,
    max_months: int | None = None,
    prior_months: int = 0,
) -> InterestSubsidy:
    """A term in whole months; the household's months of subsidy are one budget (S29)."""
    left = months if max_months is None else max(0, max_months - prior_months)
    subsidised = min(months, left) if subsidised_rate_ppm else 0
    rate = min(loan_rate_ppm, subsidised_rate_ppm)
    interest = months_interest_fen(principal_fen, loan_rate_ppm, months)
    subsidy = min(interest, months_interest_fen(principal_fen, rate, subsidised))
    working = (
        f"{principal_fen} × {loan_rate_ppm} ppm × {months}/12 = {interest}; "
        f"treasury × {rate} ppm × {subsidised}/12 = {subsidy} fen"
    )
    return InterestSubsidy(interest, subsidy, Fen(interest - subsidy), subsidised, working)


def subsidy_stop(
    principal_fen: Fen, *, rate_ppm: int, day_basis: int, start: date, npl_on: date, as_of: date
) -> SubsidyStop:
    """The treasury pays up to the day the loan became non-performing, the household from it on."""
    end = min(npl_on, as_of)
    subsidised = max(0, (end - start).days)
    own = max(0, (as_of - max(npl_on, start)).days)
    subsidy = days_interest_fen(principal_fen, rate_ppm, subsidised, day_basis)
    household = days_interest_fen(principal_fen, rate_ppm, own, day_basis)
    working = f"{subsidised} days by the treasury = {subsidy}, {own} by the household = {household}"
    return SubsidyStop(subsidised, subsidy, household, f"{working} fen")


def household_debt(
    principal_fen: Fen, *, accrued_interest_fen: Fen, subsidised_interest_fen: Fen
) -> HouseholdDebt:
    """Interest the treasury pays is never the household's debt (S08)."""
    assert 0 <= subsidised_interest_fen <= accrued_interest_fen
    own = Fen(accrued_interest_fen - subsidised_interest_fen)
    debt = Fen(principal_fen + own)
    working = (
        f"{principal_fen} + {accrued_interest_fen} − {subsidised_interest_fen} = {debt} fen; "
        f"the treasury owes {subsidised_interest_fen}"
    )
    return HouseholdDebt(principal_fen, own, debt, subsidised_interest_fen, working)


def collection_discount(
    principal_fen: Fen, *, interest_due_fen: Fen, discount_pct: int
) -> Discount:
    """A discount on unpaid interest only, half up (S35)."""
    discount = Fen(half_up(interest_due_fen * discount_pct, 100))
    payable = Fen(principal_fen + interest_due_fen - discount)
    working = f"{discount_pct} % of {interest_due_fen} = {discount}; payable {payable} fen"
    return Discount(discount, payable, working)
