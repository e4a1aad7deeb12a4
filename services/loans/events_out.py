"""Loans: what this service says. One function per event: type and message."""

from collections.abc import Sequence
from datetime import date

from google.protobuf.message import Message
from liandong.loans.v1 import events_pb2

from services.kernel import wire
from services.kernel.outbox import OutgoingEvent
from services.loans.model import Allocation, Breaker, Loan, Repayment
from services.loans.rules.book import Posting


def _of_loan(loan: Loan, event_type: str, message: Message, day: date) -> OutgoingEvent:
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type="loans.loan",
        aggregate_id=str(loan.loan_id),
        sequence=loan.version,
        county_code=loan.county_code,
        message=message,
        business_date=day,
        programme=loan.programme,
    )


def loan_applied(loan: Loan, day: date) -> OutgoingEvent:
    """A household applied."""
    message = events_pb2.LoanApplied(
        loan_id=str(loan.loan_id),
        household_id=str(loan.household_id),
        lender_id=loan.lender_id,
        product_id=loan.product_id,
        principal_fen=loan.principal_fen,
        area_code=loan.area_code,
    )
    return _of_loan(loan, "liandong.loans.v1.loan_applied", message, day)


def cover_requested(loan: Loan, day: date) -> OutgoingEvent:
    """The fund is asked before the last step."""
    message = events_pb2.CoverRequested(
        loan_id=str(loan.loan_id),
        household_id=str(loan.household_id),
        lender_id=loan.lender_id,
        principal_fen=loan.principal_fen,
        borrower_class=loan.borrower_class,
        area_code=loan.area_code,
    )
    return _of_loan(loan, "liandong.loans.v1.cover_requested", message, day)


def loan_approved(loan: Loan, day: date) -> OutgoingEvent:
    """The chain approved."""
    message = events_pb2.LoanApproved(
        loan_id=str(loan.loan_id),
        household_id=str(loan.household_id),
        lender_id=loan.lender_id,
        principal_fen=loan.principal_fen,
        term_months=loan.term_months,
        area_code=loan.area_code,
        assignment_evidence=loan.assignment_evidence,
        required_covers=loan.required_covers,
    )
    return _of_loan(loan, "liandong.loans.v1.loan_approved", message, day)


def loan_refused(loan: Loan, day: date) -> OutgoingEvent:
    """The loan was refused, with all reasons."""
    message = events_pb2.LoanRefused(
        loan_id=str(loan.loan_id),
        household_id=str(loan.household_id),
        reasons=loan.refusal_reasons,
    )
    return _of_loan(loan, "liandong.loans.v1.loan_refused", message, day)


def loan_disbursed(loan: Loan, day: date) -> OutgoingEvent:
    """The loan was paid out."""
    message = events_pb2.LoanDisbursed(
        loan_id=str(loan.loan_id),
        household_id=str(loan.household_id),
        lender_id=loan.lender_id,
        principal_fen=loan.principal_fen,
        rate_ppm=loan.rate_ppm,
        disbursed_on=wire.date_to_proto(loan.disbursed_on),
        matures_on=wire.date_to_proto(loan.matures_on),
    )
    return _of_loan(loan, "liandong.loans.v1.loan_disbursed", message, day)


def loan_repaid(
    loan: Loan,
    repayment: Repayment,
    *,
    principal_fen: int,
    interest_fen: int,
    subrogated_fen: int,
    suspense_fen: int,
    day: date,
) -> OutgoingEvent:
    """A repayment was posted."""
    message = events_pb2.LoanRepaid(
        loan_id=str(loan.loan_id),
        amount_fen=repayment.amount_fen,
        principal_fen=principal_fen,
        interest_fen=interest_fen,
        outstanding_fen=loan.outstanding_fen,
        value_date=wire.date_to_proto(repayment.value_date),
        subrogated_fen=subrogated_fen,
        suspense_fen=suspense_fen,
    )
    return _of_loan(loan, "liandong.loans.v1.loan_repaid", message, day)


def loan_due_soon(loan: Loan, day: date) -> OutgoingEvent:
    """The loan falls due within the programme's lead time."""
    message = events_pb2.LoanDueSoon(
        loan_id=str(loan.loan_id),
        matures_on=wire.date_to_proto(loan.matures_on),
        owed_fen=loan.owed_fen,
    )
    return _of_loan(loan, "liandong.loans.v1.loan_due_soon", message, day)


def loan_overdue(loan: Loan, day: date) -> OutgoingEvent:
    """The loan is overdue at a day close."""
    message = events_pb2.LoanOverdue(
        loan_id=str(loan.loan_id),
        overdue_days=loan.overdue_days,
        principal_fen=loan.outstanding_fen,
        interest_fen=loan.owed_fen - loan.outstanding_fen,
        non_performing=loan.non_performing_on is not None,
    )
    return _of_loan(loan, "liandong.loans.v1.loan_overdue", message, day)


def loan_reclassified(loan: Loan, day: date) -> OutgoingEvent:
    """The loan moved to another class."""
    message = events_pb2.LoanReclassified(
        loan_id=str(loan.loan_id), five_tier_class=loan.five_tier_class
    )
    return _of_loan(loan, "liandong.loans.v1.loan_reclassified", message, day)


def loan_settled(loan: Loan, settled_on: date, day: date) -> OutgoingEvent:
    """Nothing is owed any more."""
    message = events_pb2.LoanSettled(
        loan_id=str(loan.loan_id), settled_on=wire.date_to_proto(settled_on)
    )
    return _of_loan(loan, "liandong.loans.v1.loan_settled", message, day)


def repayment_reversed(loan: Loan, wrong: Posting, day: date) -> OutgoingEvent:
    """A repayment was undone."""
    message = events_pb2.RepaymentReversed(
        loan_id=str(loan.loan_id),
        reversed_number=wrong.number,
        amount_fen=wrong.amount_fen,
        outstanding_fen=loan.outstanding_fen,
        interest_fen=loan.owed_fen - loan.outstanding_fen,
    )
    return _of_loan(loan, "liandong.loans.v1.repayment_reversed", message, day)


def loan_reopened(loan: Loan, day: date) -> OutgoingEvent:
    """Something is owed again on a loan that was settled."""
    message = events_pb2.LoanReopened(
        loan_id=str(loan.loan_id),
        household_id=str(loan.household_id),
        lender_id=loan.lender_id,
        outstanding_fen=loan.outstanding_fen,
        interest_fen=loan.owed_fen - loan.outstanding_fen,
    )
    return _of_loan(loan, "liandong.loans.v1.loan_reopened", message, day)


def loan_opened(loan: Loan, opening_on: date, day: date) -> OutgoingEvent:
    """A loan was taken over from the book before ours."""
    message = events_pb2.LoanOpened(
        loan_id=str(loan.loan_id),
        household_id=str(loan.household_id),
        lender_id=loan.lender_id,
        product_id=loan.product_id,
        principal_fen=loan.principal_fen,
        outstanding_fen=loan.outstanding_fen,
        interest_fen=loan.owed_fen - loan.outstanding_fen,
        area_code=loan.area_code,
        opening_on=wire.date_to_proto(opening_on),
        matures_on=wire.date_to_proto(loan.matures_on),
    )
    return _of_loan(loan, "liandong.loans.v1.loan_opened", message, day)


def book_difference_found(loan: Loan, reference: str, count: int, day: date) -> OutgoingEvent:
    """An entry of the lender's core system differs from our computation."""
    message = events_pb2.BookDifferenceFound(
        loan_id=str(loan.loan_id),
        lender_id=loan.lender_id,
        reference=reference,
        differences=count,
    )
    return _of_loan(loan, "liandong.loans.v1.book_difference_found", message, day)


def loan_cured(loan: Loan, day: date) -> OutgoingEvent:
    """What was overdue is paid."""
    message = events_pb2.LoanCured(loan_id=str(loan.loan_id))
    return _of_loan(loan, "liandong.loans.v1.loan_cured", message, day)


def payout_allocated(allocation: Allocation, county_code: str, day: date) -> OutgoingEvent:
    """A payout was put toward its loans."""
    message = events_pb2.PayoutAllocated(
        payout_id=str(allocation.payout.payout_id),
        household_fen=allocation.household_fen,
        amount_fen=allocation.payout.amount_fen,
        parts=[
            events_pb2.LenderPart(
                loan_id=str(part.loan_id),
                lender_id=part.lender_id,
                amount_fen=part.amount_fen,
                interest_fen=part.interest_fen,
                principal_fen=part.principal_fen,
                subrogated_fen=part.subrogated_fen,
                outstanding_fen=part.outstanding_fen,
            )
            for part in allocation.parts
        ],
    )
    return OutgoingEvent(
        event_type="liandong.loans.v1.payout_allocated",
        aggregate_type="loans.payout_allocation",
        aggregate_id=str(allocation.payout.payout_id),
        sequence=1,
        county_code=county_code,
        message=message,
        business_date=day,
    )


def breakers_tripped(breakers: Sequence[Breaker], day: date) -> list[OutgoingEvent]:
    """Lending stopped in scopes."""
    return [
        OutgoingEvent(
            event_type="liandong.loans.v1.breaker_tripped",
            aggregate_type="loans.breaker",
            aggregate_id=f"{breaker.scope}:{breaker.scope_id}",
            sequence=breaker.version,
            county_code=breaker.county_code,
            message=events_pb2.BreakerTripped(
                scope=breaker.scope,
                scope_id=breaker.scope_id,
                effects=breaker.effects,
                numerator=breaker.numerator,
                denominator=breaker.denominator,
                epoch=breaker.epoch,
            ),
            business_date=day,
        )
        for breaker in breakers
    ]
