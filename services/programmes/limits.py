"""Limits: how much, to whom, for what, at what age."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from services.kernel.money import Fen
from services.programmes.schema.loans import Purpose
from services.programmes.schema.values import known


@dataclass(frozen=True, slots=True)
class AmountCheck:
    """Whether an amount fits, the most that would, and which bound holds it."""

    allowed: bool
    max_amount_fen: Fen
    binding: str
    working: str


@dataclass(frozen=True, slots=True)
class PurposeCheck:
    """Whether a purpose is allowed, and if not, why."""

    allowed: bool
    reason: str | None
    working: str


@dataclass(frozen=True, slots=True)
class AgeCheck:
    """A person's full years, and whether they are within the limit."""

    age: int
    allowed: bool
    working: str


def amount_check(
    requested_fen: Fen,
    *,
    credit_limit_fen: Fen,
    product_cap_fen: Fen | None,
    outstanding_fen: Fen,
) -> AmountCheck:
    """The smaller of limit and cap, less what is outstanding with all lenders (S13, S55)."""
    cap = credit_limit_fen if product_cap_fen is None else product_cap_fen
    binding = "credit_limit" if credit_limit_fen <= cap else "product_cap"
    bound = min(credit_limit_fen, cap)
    most = Fen(max(0, bound - outstanding_fen))
    allowed = 0 < requested_fen <= most
    working = (
        f"min(limit {credit_limit_fen}, cap {product_cap_fen}) − outstanding {outstanding_fen}"
        f" = {most} fen, {binding} binds; {requested_fen} asked"
    )
    return AmountCheck(allowed, most, binding, working)


def purpose_check(
    purpose: str,
    *,
    prohibited: Sequence[str],
    allowed: Sequence[str] | None = None,
    used_in_area: str | None = None,
    required_area: str | None = None,
) -> PurposeCheck:
    """Prohibited first, then a list of what is allowed, then where the money is used."""
    reason = None
    if purpose in prohibited:
        reason = "prohibited_purpose"
    elif allowed is not None and purpose not in allowed:
        reason = "purpose_not_listed"
    elif required_area is not None and not within(used_in_area or "", required_area):
        reason = "outside_area"
    where = f" in {used_in_area}, required {required_area}" if required_area else ""
    return PurposeCheck(reason is None, reason, f"{purpose}{where}: {reason or 'allowed'}")


def purpose_check_of(
    clause: Purpose,
    purpose: str,
    *,
    used_in_area: str | None = None,
    required_area: str | None = None,
) -> PurposeCheck:
    """The same by a product's clause; refused while its list of purposes is open."""
    allowed = None if clause.allowed is None else known(clause.allowed)
    return purpose_check(
        purpose,
        prohibited=clause.prohibited,
        allowed=allowed,
        used_in_area=used_in_area,
        required_area=required_area,
    )


def required_area(scope: str | None, household_area: str) -> str | None:
    """The area a programme ties the money to, taken from the household's own code."""
    digits = {"county": 6, "township": 9, "village": 12}
    return None if scope is None else household_area[: digits[scope]]


def within(area: str, container: str) -> bool:
    """Codes are prefixes: a village lies in its township, a township in its county."""
    return bool(container) and area.startswith(container)


def age_check(birth_date: date, on: date, max_age: int) -> AgeCheck:
    """Full years on a day; the limit itself is allowed (S32)."""
    age = full_years(birth_date, on)
    working = f"born {birth_date}, {age} full years on {on}, at most {max_age}"
    return AgeCheck(age, age <= max_age, working)


def full_years(birth_date: date, on: date) -> int:
    """Completed years; who is born on 29 February completes one on 1 March of a common year."""
    return on.year - birth_date.year - ((on.month, on.day) < (birth_date.month, birth_date.day))
