"""Loans: how a loan stands: its class, what a person may judge, what follows. Pure decisions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import cast

from services.kernel.errors import Refused
from services.kernel.values import light
from services.loans.model import Action, Judgement, Loan, LoanState
from services.programmes import collection, delinquency
from services.programmes.schema.loans import LoanRules, Npl
from services.programmes.schema.monitoring import FiveTier
from services.programmes.schema.values import known
from services.programmes.terms import Terms

TIERS = tuple(FiveTier)
UNJUDGED = Judgement()

FREEZING: Mapping[str, str] = {
    "deceased": "household_deceased",
    "delisted": "household_delisted",
    "flagged": "household_flagged",
    "exited": "household_exited",
}
"""Standing of a household to the cause for which its loans are frozen and reviewed (MAS.reg.1)."""

OPEN_STATES = (
    LoanState.IN_REVIEW,
    LoanState.AWAITING_COVER,
    LoanState.APPROVED,
    LoanState.ACTIVE,
)


@light
@dataclass(frozen=True, slots=True)
class Standing:
    """A loan's class and whether it is non-performing, by the days and by what was judged."""

    tier: FiveTier
    non_performing: bool


def worst(*tiers: FiveTier | str) -> FiveTier:
    """The worst of some classes; an empty one says nothing."""
    return max((FiveTier(each) for each in tiers if each), key=TIERS.index)


def standing(terms: Terms, *, days: int, judgement: Judgement = UNJUDGED) -> Standing:
    """By the days overdue, and never better than a person judged (S14); bad by the pack (C21)."""
    by_days = delinquency.band_of(days, known(terms.monitoring.five_tier)).tier
    tier = worst(by_days, judgement.judged_class) if judgement.judged_class else by_days
    npl = cast("Npl", known(terms.loans.npl))
    bad = delinquency.is_non_performing(npl, days=days, tier=tier)
    kept = judgement.kept_non_performing and tier in delinquency.NON_PERFORMING
    return Standing(tier, bad or kept)


def judge(loan: Loan, to: str, terms: Terms) -> Judgement:
    """Take a person's class; one that is better than the days say is refused."""
    require_active(loan)
    by_days = delinquency.band_of(loan.overdue_days, known(terms.monitoring.five_tier)).tier
    if TIERS.index(FiveTier(to)) < TIERS.index(by_days):
        raise Refused(
            "CLASS_BETTER_THAN_DAYS",
            f"{loan.overdue_days} days overdue are {by_days}, which {to} is better than",
            message_zh="分类不得优于逾期天数对应的级次",
            facts={"overdue_days": str(loan.overdue_days), "class_by_days": str(by_days)},
        )
    return Judgement(to, False)


def require_active(loan: Loan) -> None:
    """Refuse a loan that is not paid out and owed."""
    if loan.state is not LoanState.ACTIVE:
        raise Refused(
            "LOAN_NOT_ACTIVE",
            f"the loan is {loan.state}",
            message_zh="贷款未在还款期",
            facts={"state": str(loan.state)},
        )


def require_drawn_up(loan: Loan) -> None:
    """Refuse while a part may still be paid out: it is drawn or given up first."""
    if loan.undrawn_fen > 0:
        raise Refused(
            "UNDRAWN_LEFT",
            f"{loan.undrawn_fen} fen may still be paid out; give them up first",
            message_zh="尚有未支用额度,请先放弃未支用部分",
            facts={"undrawn_fen": str(loan.undrawn_fen)},
        )


def follow_ups(loan: Loan, rules: LoanRules, *, was_overdue: bool, newly_bad: bool, day: date) \
        -> list[Action]:  # fmt: skip
    """What the programme does now that a loan became overdue or non-performing, in its order."""
    tier = FiveTier(loan.five_tier_class)
    due = set(collection.follow(rules, days=loan.overdue_days, tier=tier).actions)
    found: list[Action] = []
    if not was_overdue and loan.next_due_on is not None:
        for place, overdue_action in enumerate(rules.overdue_actions, 1):
            if overdue_action.value in due:
                since = loan.next_due_on
                action = overdue_action.value
                found.append(Action(loan.loan_id, "overdue", since, place, action, day))
    if newly_bad:
        for place, npl_action in enumerate(rules.npl_actions, 1):
            found.append(Action(loan.loan_id, "non_performing", day, place, npl_action.value, day))
    return found
