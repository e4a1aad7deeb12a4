"""Covers: sums insured, premium, what a claim pays, and by when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from services.kernel.errors import Refused
from services.kernel.money import PPM, Fen, half_up
from services.programmes.calendars import Calendar, working_days_after
from services.programmes.schema.insurance import (
    HOUSEHOLD,
    ClaimTier,
    Cover,
    PayeeGroup,
    SumInsured,
    SumInsuredFixed,
    SumInsuredOfLoan,
    groups_of,
)
from services.programmes.schema.values import known


@dataclass(frozen=True, slots=True)
class Premium:
    """A year's premium, and whether its rate is allowed."""

    premium_fen: Fen
    allowed: bool
    max_premium_fen: Fen | None
    working: str


@dataclass(frozen=True, slots=True)
class Payable:
    """What a claim pays, and which bound decided."""

    payable_fen: Fen
    binding: str
    working: str


@dataclass(frozen=True, slots=True)
class ClaimDeadline:
    """A claim's tier and the last day to pay it."""

    tier: str
    working_days: int
    due_on: date
    working: str


def sum_insured_fen(
    rule: SumInsured, *, loan_principal_fen: Fen | None = None, stated_fen: Fen | None = None
) -> Fen:
    """The sum insured of one borrower by the cover's rule."""
    if isinstance(rule, SumInsuredOfLoan):
        assert loan_principal_fen is not None, "a sum insured of the loan needs the loan"
        return Fen(half_up(loan_principal_fen * rule.pct, 100))
    if isinstance(rule, SumInsuredFixed):
        return rule.amount_fen
    if stated_fen is None:
        raise Refused("SUM_INSURED_MISSING", "this cover's policy states the sum insured")
    return stated_fen


def premium(base_fen: Fen, rate_ppm: int, *, max_rate_ppm: int | None = None) -> Premium:
    """Base times rate, half up; a rate above the programme's cap is not allowed."""
    amount = Fen(half_up(base_fen * rate_ppm, PPM))
    allowed = max_rate_ppm is None or rate_ppm <= max_rate_ppm
    most = None if max_rate_ppm is None else Fen(half_up(base_fen * max_rate_ppm, PPM))
    working = f"{base_fen} × {rate_ppm} ppm = {amount} fen, at most {most}"
    return Premium(amount, allowed, most, working)


def payable(
    assessed_fen: Fen,
    *,
    sum_insured_fen: Fen | None = None,
    cap_fen: Fen | None = None,
    person_left_fen: Fen | None = None,
    period_left_fen: Fen | None = None,
) -> Payable:
    """The least of the assessed loss, the sum insured and what is left of the caps (S38)."""
    bounds = [("assessed", assessed_fen)]
    for name, bound in (
        ("sum_insured", sum_insured_fen),
        ("cap", cap_fen),
        ("person_cap", person_left_fen),
        ("period_cap", period_left_fen),
    ):
        bounds += [(name, bound)] if bound is not None else []
    binding, amount = min(bounds, key=lambda bound: bound[1])
    listed = ", ".join(f"{name} {value}" for name, value in bounds)
    return Payable(amount, binding, f"min({listed}) = {amount} fen")


def cap_left_fen(cap_fen: Fen | None, paid_fen: Fen) -> Fen | None:
    """What is left of a cap after what was paid under it; None without a cap."""
    return None if cap_fen is None else Fen(max(0, cap_fen - paid_fen))


def claim_deadline(
    amount_fen: Fen, tiers: Sequence[ClaimTier], *, accepted_on: date, calendar: Calendar
) -> ClaimDeadline:
    """The first tier that holds the amount; 0 working days is the same day (S39)."""
    tier = next(each for each in tiers if each.max_fen is None or amount_fen <= each.max_fen)
    due_on = working_days_after(calendar, accepted_on, tier.working_days)
    working = f"{amount_fen} fen: {tier.tier}, {tier.working_days} working days, by {due_on}"
    return ClaimDeadline(tier.tier, tier.working_days, due_on, working)


def payees(
    order: Sequence[PayeeGroup], *, assigned: bool, sweep_trigger: str, difficulty: bool
) -> tuple[tuple[str, ...], ...]:
    """Who is paid in which order; without assignment or trigger everything is the household's."""
    sweeps = assigned and (sweep_trigger == "always" or difficulty)
    return groups_of(tuple(order)) if sweeps else ((HOUSEHOLD,),)


def payees_of(
    cover: Cover, *, consented: bool, sweep_trigger: str, difficulty: bool
) -> tuple[tuple[str, ...], ...]:
    """The same by a cover's clause; no valid assignment by the insured means not assigned (S06)."""
    assigned = known(cover.assigned) and consented
    order = known(cover.payees) if assigned else (HOUSEHOLD,)
    return payees(order, assigned=assigned, sweep_trigger=sweep_trigger, difficulty=difficulty)


def in_catalogue(cover: Cover, on: date) -> bool:
    """Whether a cover may be sold on a day."""
    after_start = cover.valid_from is None or cover.valid_from <= on
    return after_start and (cover.valid_to is None or on <= cover.valid_to)
