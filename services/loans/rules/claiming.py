"""Loans: which claims of subsidy and budgets are allowed. Pure decisions."""

from datetime import date

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.loans.model import SubsidyClaim
from services.programmes import rewards
from services.programmes.schema.loans import LoanRules


def floor_of(rules: LoanRules) -> Fen:
    """What a programme asks a county to set aside a year at least; 0 for nothing."""
    return rules.subsidy_budget.min_yearly_fen if rules.subsidy_budget else Fen(0)


def check_budget(rules: LoanRules, budget_fen: Fen, *, paid_fen: Fen) -> Fen:
    """Refuse a budget below the floor, or below what was paid of it; the floor."""
    if rules.subsidy_budget is not None:
        checked = rewards.budget_check(rules.subsidy_budget, budgeted_fen=budget_fen)
        if not checked.enough:
            raise Refused(
                "BELOW_BUDGET_FLOOR",
                checked.working,
                message_zh="贴息预算低于方案规定的下限",
                facts={"missing_fen": str(checked.missing_fen)},
            )
    if budget_fen < paid_fen:
        raise Refused(
            "BELOW_CLAIMS",
            f"{paid_fen} fen were paid of it",
            message_zh="贴息预算低于已拨付金额",
            facts={"paid_fen": str(paid_fen)},
        )
    return floor_of(rules)


def check_over(through: date, today: date) -> None:
    """Refuse a quarter that is not over."""
    if through >= today:
        raise Refused(
            "QUARTER_NOT_OVER",
            f"the quarter ends on {through}, the business date is {today}",
            message_zh="该季度尚未结束",
            facts={"ends_on": str(through)},
        )


def check_not_claimed(later: SubsidyClaim | None) -> None:
    """Refuse a quarter that was claimed, or before one that was."""
    if later is not None:
        raise Refused(
            "QUARTER_CLAIMED",
            f"{later.year} quarter {later.quarter} was claimed on {later.claimed_on}",
            message_zh="该季度贴息已申请",
            facts={"claim_id": str(later.claim_id)},
        )


def check_amount(claim: SubsidyClaim) -> None:
    """Refuse a claim of nothing: what corrections leave over waits for the next quarter."""
    if claim.amount_fen <= 0:
        raise Refused(
            "NOTHING_TO_CLAIM",
            f"the treasury owes {claim.amount_fen} fen for it",
            message_zh="无可申请的贴息",
            facts={"amount_fen": str(claim.amount_fen)},
        )


def check_unpaid(claim: SubsidyClaim) -> None:
    """Refuse to pay twice."""
    if claim.paid_on is not None:
        raise Refused("CLAIM_PAID", f"paid on {claim.paid_on}", message_zh="贴息已拨付")


def check_within(claim: SubsidyClaim, *, budget_fen: Fen, paid_fen: Fen) -> None:
    """Refuse to pay more than the year's budget holds, where one is set."""
    if budget_fen and paid_fen + claim.amount_fen > budget_fen:
        raise Refused(
            "SUBSIDY_BUDGET_EXCEEDED",
            f"{paid_fen} + {claim.amount_fen} of {budget_fen} fen",
            message_zh="超出年度贴息预算",
            facts={"balance_fen": str(budget_fen - paid_fen)},
        )
