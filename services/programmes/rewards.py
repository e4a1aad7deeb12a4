"""Rewards: grants by condition and payer, what good payers get, relief in hardship."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from services.kernel.money import Fen, half_up
from services.programmes.schema.rewards import (
    Grant,
    GrantKind,
    HardshipRelief,
    PaymentCard,
    Reward,
    SubsidyBudget,
)
from services.programmes.schema.values import BorrowerClass, Organ, known

PCT = 100


@dataclass(frozen=True, slots=True)
class GrantDue:
    """A grant that is due, from whom; the amount of a service or of interest is not money here."""

    grant: str
    payer: Organ
    amount_fen: Fen | None
    working: str


@dataclass(frozen=True, slots=True)
class Relief:
    """What a household in hardship is let off, and what it still pays."""

    reduction_fen: Fen
    interest_fen: Fen
    flexible_repayment: bool
    working: str


@dataclass(frozen=True, slots=True)
class BudgetCheck:
    """Whether a year's subsidy budget reaches the floor, and what it lacks."""

    enough: bool
    missing_fen: Fen
    working: str


def grants_due(
    grants: Sequence[Grant],
    *,
    borrower_class: BorrowerClass,
    met: Collection[str],
    costs_fen: dict[GrantKind, Fen] | None = None,
    had: Collection[str] = (),
) -> tuple[GrantDue, ...]:
    """The grants whose conditions are all met; a share is of what the borrower was charged."""
    costs = costs_fen or {}
    due: list[GrantDue] = []
    for grant in grants:
        if grant.borrower_classes and borrower_class not in grant.borrower_classes:
            continue
        if not set(grant.requires) <= set(met) or (grant.once and grant.id in had):
            continue
        amount = _amount(grant, costs.get(grant.kind, Fen(0)))
        needs = ", ".join(grant.requires) or "no condition"
        said = grant.kind.value if amount is None else f"{amount} fen"
        due.append(GrantDue(grant.id, known(grant.payer), amount, f"{needs}: {said}"))
    return tuple(due)


def _amount(grant: Grant, cost_fen: Fen) -> Fen | None:
    if grant.amount_fen is not None:
        return known(grant.amount_fen)
    if grant.share_pct is not None:
        return Fen(half_up(cost_fen * known(grant.share_pct), PCT))
    return None


def rewards_earned(rewards: Sequence[Reward], *, met: Collection[str]) -> tuple[Reward, ...]:
    """The rewards whose conditions are all met."""
    return tuple(reward for reward in rewards if set(reward.requires) <= set(met))


def card_price(card: PaymentCard, price_fen: Fen) -> Fen:
    """A price at the card's discount, half up."""
    return Fen(price_fen - half_up(price_fen * card.discount_pct, PCT))


def relief(
    clause: HardshipRelief | None, *, met: Collection[str], interest_due_fen: Fen
) -> Relief | None:
    """The relief of a household in hardship; None where it does not apply."""
    if clause is None or not set(clause.requires) <= set(met):
        return None
    pct = 0 if clause.interest_reduction_pct is None else known(clause.interest_reduction_pct)
    reduction = Fen(half_up(interest_due_fen * pct, PCT))
    working = f"{pct} % of {interest_due_fen} = {reduction} fen"
    left = Fen(interest_due_fen - reduction)
    return Relief(reduction, left, clause.flexible_repayment, working)


def budget_check(clause: SubsidyBudget, *, budgeted_fen: Fen) -> BudgetCheck:
    """A year's budget at the floor is enough (S01)."""
    missing = Fen(max(0, clause.min_yearly_fen - budgeted_fen))
    working = f"{budgeted_fen} of at least {clause.min_yearly_fen} fen by {clause.payer.value}"
    return BudgetCheck(missing == 0, missing, working)
