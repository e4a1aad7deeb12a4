"""Loans: what is owed, and what money does to it. Pure decisions."""

from collections.abc import Mapping, Sequence
from datetime import date
from uuid import UUID

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans.model import (
    AllocatedPart,
    Allocation,
    Compensation,
    Loan,
    LoanState,
    Payout,
)
from services.loans.rules import book, position
from services.loans.rules.book import Line, Posting, PostingKind
from services.programmes import settlement

NOTHING = Fen(0)


def accrue(loan: Loan, through: date, day_basis: int) -> Loan:
    """
    Charge interest up to a day; the treasury bears it while the loan is subsidised (S08, S29).

    A day before the last one accrued changes nothing.
    """
    if loan.interest is not None and through <= loan.interest.accrued_through:
        return loan
    accrued = book.accrue(position.position_of(loan), through, day_basis)
    return position.with_position(loan, accrued)


def take(loan: Loan, taken: settlement.Amounts) -> Loan:
    """Put money toward a loan; what was compensated goes back to those who paid first."""
    held = loan.interest
    assert held is not None
    outstanding = Fen(loan.outstanding_fen - taken.principal_fen)
    owed = Fen(held.owed_fen - taken.interest_fen)
    assert outstanding >= 0
    assert owed >= 0
    settled = outstanding == 0 and owed == 0 and loan.undrawn_fen == 0
    return replace(
        loan,
        outstanding_fen=outstanding,
        interest=replace(held, owed_fen=owed),
        state=LoanState.SETTLED if settled else loan.state,
        subrogated_fen=Fen(loan.subrogated_fen - subrogated_part(loan, taken.total_fen)),
        overdue_days=0 if settled else loan.overdue_days,
    )


def subrogated_part(loan: Loan, amount_fen: int) -> Fen:
    """Of money taken for a loan, what belongs to those who compensated the lender (S21)."""
    return Fen(min(amount_fen, loan.subrogated_fen))


def debt(loan: Loan) -> settlement.Amounts:
    """What the household owes on a loan, as posted."""
    if loan.state is not LoanState.ACTIVE or loan.interest is None:
        return settlement.Amounts()
    return settlement.Amounts(
        interest_fen=loan.interest.owed_fen, principal_fen=loan.outstanding_fen
    )


def check_money_in(
    loan: Loan, value_date: date, *, today: date, closed_through: date | None
) -> None:
    """Refuse money for a loan that was never paid out, or dated where nothing may be booked."""
    if loan.disbursed_on is None or loan.interest is None:
        raise Refused("LOAN_NOT_ACTIVE", f"the loan is {loan.state}", message_zh="贷款未在还款期")
    check_value_date(loan.disbursed_on, value_date, today=today, closed_through=closed_through)


def check_value_date(
    first: date, value_date: date, *, today: date, closed_through: date | None
) -> None:
    """Refuse a day before the loan was paid out, after the business date or in a closed period."""
    if closed_through is not None and value_date <= closed_through:
        raise Refused(
            "PERIOD_CLOSED",
            f"{value_date} is in a closed period: the books are closed through {closed_through}",
            message_zh="会计期间已关闭",
            facts={"closed_through": str(closed_through)},
        )
    if not first <= value_date <= today:
        raise Refused(
            "VALUE_DATE_OUT_OF_RANGE",
            f"{value_date} is not between {first} and {today}",
            message_zh="起息日超出范围",
            facts={"earliest": str(first), "latest": str(today)},
        )


def repayment_to_undo(postings: Sequence[Posting], number: int) -> Posting:
    """The repayment with a number, or a refusal: not one, or undone already."""
    wrong = next((each for each in postings if each.number == number), None)
    kinds = (PostingKind.REPAYMENT, PostingKind.RECOVERY)
    if wrong is None or wrong.kind not in kinds or wrong.reverses is not None:
        raise Refused(
            "NOT_A_REPAYMENT",
            f"posting {number} of the loan is no repayment",
            message_zh="该笔不是还款",
        )
    if any(each.reverses == number for each in postings):
        raise Refused(
            "POSTING_REVERSED_ALREADY",
            f"posting {number} of the loan was undone before",
            message_zh="该笔已冲正",
        )
    if _is_collected(wrong.reference):
        raise Refused(
            "NOT_A_REPAYMENT",
            f"posting {number} of the loan is money that somebody collected: the funds shared it",
            message_zh="该笔为代偿后的追回款,不是还款",
        )
    return wrong


_COLLECTED = "recovery:"


def collected_reference(recovery_id: UUID) -> str:
    """What a posting says that money was collected after a compensation, and shared before."""
    return f"{_COLLECTED}{recovery_id}"


def _is_collected(reference: str) -> bool:
    prefix, _, name = reference.partition(_COLLECTED)
    try:
        return prefix == "" and collected_reference(UUID(name)) == reference
    except ValueError:
        return False


def check_refund(loan: Loan, amount_fen: Fen) -> None:
    """Refuse to give back more than was paid too much."""
    if amount_fen > loan.suspense_fen:
        raise Refused(
            "ABOVE_SUSPENSE",
            f"{amount_fen} fen asked for, {loan.suspense_fen} fen were paid too much",
            message_zh="退款超过多付金额",
            facts={"suspense_fen": str(loan.suspense_fen)},
        )


def check_undoing(before: Sequence[Line], after: Sequence[Line]) -> None:
    """Refuse an undoing of money of which a part was given back already."""
    refunded = book.given_back_of_debt(after) - book.given_back_of_debt(before)
    if refunded > 0:
        raise Refused(
            "REFUNDED_ALREADY",
            f"{refunded} fen of what would be undone were given back to the payer",
            message_zh="多付款已退还,不能冲正",
            facts={"refunded_fen": str(refunded)},
        )


def allocate(
    payout: Payout, loans: Mapping[UUID, Loan], order: settlement.AppropriationOrder
) -> tuple[Allocation, dict[UUID, Loan]]:
    """
    Put a payout toward the loans of its groups, the rest to the household.

    The loans are accrued to the value date by the caller; unknown and settled ones owe nothing.
    """
    groups = [[str(each) for each in group if each in loans] for group in payout.groups]
    debts = {str(loan_id): debt(loan) for loan_id, loan in loans.items()}
    divided = settlement.settle(payout.amount_fen, groups, debts, order)
    after: dict[UUID, Loan] = {}
    parts: list[AllocatedPart] = []
    for part in divided.parts:
        before = loans[UUID(part.debt_id)]
        now = take(before, part.taken)
        after[before.loan_id] = now
        parts.append(
            AllocatedPart(
                loan_id=before.loan_id,
                lender_id=before.lender_id,
                interest_fen=part.taken.interest_fen,
                principal_fen=part.taken.principal_fen,
                subrogated_fen=subrogated_part(before, part.taken.total_fen),
                outstanding_fen=now.outstanding_fen,
            )
        )
    allocation = Allocation(payout, tuple(parts), divided.household_fen)
    assert sum(part.amount_fen for part in parts) + divided.household_fen == payout.amount_fen
    return allocation, after


def excess_fen(loan: Loan) -> Fen:
    """What others compensated and the borrower does not owe: the lender has it from both."""
    if loan.state is LoanState.WRITTEN_OFF:
        return Fen(0)
    return Fen(max(0, loan.subrogated_fen - loan.owed_fen))


def without_excess(loan: Loan, fen: Fen) -> Loan:
    """The lender owes the excess itself; of the loan it belongs to nobody any more."""
    assert 0 < fen <= excess_fen(loan)
    return replace(loan, subrogated_fen=Fen(loan.subrogated_fen - fen))


def compensate(
    loan: Loan, compensation: Compensation, written_off_fen: Fen = NOTHING
) -> tuple[Loan, Fen]:
    """
    The lender has been compensated; what is owed now belongs to those who paid.

    So does what may still be recovered of what was written off. Beside the loan: what they paid and
    nobody owes, for the borrower had paid it before.
    """
    theirs = Fen(min(compensation.loss_fen, loan.owed_fen + written_off_fen))
    excess = Fen(compensation.loss_fen - theirs)
    return replace(loan, compensated=True, subrogated_fen=theirs), excess
