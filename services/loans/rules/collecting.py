"""Loans: collection: cases and their steps, campaigns, who may write off. Pure decisions."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans.model import CollectionCase, CollectionStep, Loan, LoanState, WriteOff
from services.loans.rules.book import Line, PostingKind, totals
from services.loans.rules.standing import require_active, require_drawn_up
from services.programmes import collection, interest, settlement
from services.programmes.schema.collection import DueClass
from services.programmes.schema.loans import LoanRules
from services.programmes.schema.values import Organ
from services.programmes.settlement import Amounts, AppropriationOrder

NEEDS: dict[str, str] = {"judgment": "court_filed", "enforced": "judgment"}
"""A legal step needs the one before it."""


def new_case(loan: Loan, case_id: UUID, cause: str, day: date) -> CollectionCase:
    """A case that a rule opens."""
    return CollectionCase(
        case_id,
        loan.loan_id,
        loan.household_id,
        loan.lender_id,
        loan.area_code,
        cause,
        day,
    )


def open_case(
    loan: Loan, rules: LoanRules, case_id: UUID, *, cause: str, due_class: str, today: date
) -> CollectionCase:
    """A case that a person opens on a loan that is overdue, bad, written off, or due today."""
    owed = loan.state in (LoanState.ACTIVE, LoanState.WRITTEN_OFF)
    due = loan.next_due_on is not None and loan.next_due_on <= today
    if not owed or not (due or loan.state is LoanState.WRITTEN_OFF or loan.non_performing_on):
        raise Refused(
            "LOAN_NOT_OVERDUE",
            f"the loan is {loan.state}, next due on {loan.next_due_on}",
            message_zh="贷款未到期",
            facts={"next_due_on": str(loan.next_due_on)},
        )
    actions: tuple[str, ...] = ()
    if due_class:
        disposed = collection.disposition(rules.dispositions, DueClass(due_class))
        actions = tuple(action.value for action in disposed.actions)
    return replace(new_case(loan, case_id, cause, today), due_class=due_class, actions=actions)


def require_open(case: CollectionCase) -> None:
    """Refuse a case that has ended."""
    if case.closed_on is not None:
        raise Refused("CASE_CLOSED", f"it ended on {case.closed_on}", message_zh="案件已结")


def step(
    case: CollectionCase,
    before: Sequence[CollectionStep],
    chain: Sequence[Organ],
    *,
    kind: str,
    done_on: date,
    note: str,
    person_id: str,
) -> tuple[CollectionCase, CollectionStep]:
    """Take a step: escalations in the programme's order, legal steps one after the other."""
    require_open(case)
    organ = ""
    needed = NEEDS.get(kind)
    if needed is not None and all(each.kind != needed for each in before):
        raise Refused(
            "NOT_AT_COURT",
            f"{kind} needs {needed} first",
            message_zh="法律程序次序不符",
            facts={"needs": needed},
        )
    if kind == "escalated":
        next_organ = collection.escalate(chain, Organ(case.organ) if case.organ else None)
        if next_organ is None:
            raise Refused(
                "LAST_ORGAN",
                f"nobody comes after {case.organ or 'the first'}",
                message_zh="已无上级处置单位",
            )
        organ = next_organ.value
    taken = CollectionStep(case.steps + 1, kind, done_on, organ, note, person_id)
    now = replace(
        case,
        steps=taken.number,
        organ=organ or case.organ,
        at_court=case.at_court or kind == "court_filed",
    )
    return now, taken


def discount(
    accrued: Loan, rules: LoanRules, today: date, amount_fen: Fen, *, used: bool
) -> tuple[str, Fen]:
    """The day's stage and what it forgives of the unpaid interest; the rest must be paid (S35)."""
    require_active(accrued)
    if accrued.next_due_on is None or accrued.next_due_on >= today:
        raise Refused(
            "LOAN_NOT_OVERDUE",
            f"next due on {accrued.next_due_on}",
            message_zh="贷款未逾期",
            facts={"next_due_on": str(accrued.next_due_on)},
        )
    if used:
        raise Refused(
            "DISCOUNT_USED", "this debt had its discount", message_zh="该笔债务已享受优惠"
        )
    stage = (
        collection.discount_stage(rules.collection_discount, today)
        if rules.collection_discount
        else None
    )
    if stage is None or stage.stage is None:
        working = stage.working if stage else "the programme has no campaign"
        raise Refused("NO_CAMPAIGN_STAGE", working, message_zh="当前无清收优惠阶段")
    held = accrued.interest
    assert held is not None
    off = interest.collection_discount(
        accrued.outstanding_fen,
        interest_due_fen=held.owed_fen,
        discount_pct=stage.discount_pct,
    )
    left = Fen(held.owed_fen - off.discount_fen)
    if amount_fen < left:
        raise Refused(
            "DISCOUNT_NEEDS_PAYMENT",
            f"{amount_fen} fen paid, {left} fen of interest are left: {off.working}",
            message_zh="须付清优惠后的利息",
            facts={"interest_left_fen": str(left), "discount_fen": str(off.discount_fen)},
        )
    return stage.stage, off.discount_fen


def require_bad(loan: Loan) -> None:
    """Refuse a loan that is not non-performing."""
    require_active(loan)
    if loan.non_performing_on is None:
        raise Refused(
            "LOAN_NOT_NON_PERFORMING",
            f"{loan.overdue_days} days overdue, {loan.five_tier_class}",
            message_zh="贷款非不良",
            facts={"overdue_days": str(loan.overdue_days)},
        )
    require_drawn_up(loan)


def require_second(proposed: WriteOff, person_id: str) -> None:
    """Refuse the person who proposed, and what is decided already."""
    if proposed.decided_on is not None:
        raise Refused(
            "WRITE_OFF_DECIDED", f"decided on {proposed.decided_on}", message_zh="核销已决定"
        )
    if proposed.proposed_by == person_id:
        raise Refused(
            "SAME_PERSON", "who proposed it may not decide it", message_zh="核销须双人办理"
        )


def recovery(lines: Sequence[Line], amount_fen: Fen, order: AppropriationOrder) -> Amounts:
    """What of money is a recovery of what was written off, in the programme's order."""
    return settlement.appropriate(amount_fen, not_recovered(lines), order)


def not_recovered(lines: Sequence[Line]) -> Amounts:
    """What was written off and has not come back."""
    gone = totals(lines, frozenset({PostingKind.WRITE_OFF}))
    back = totals(lines, frozenset({PostingKind.RECOVERY}))
    return Amounts(
        interest_fen=Fen(max(0, gone.interest_fen - back.interest_fen)),
        principal_fen=Fen(max(0, gone.principal_fen - back.principal_fen)),
    )
