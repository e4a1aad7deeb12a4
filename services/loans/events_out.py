"""Loans: what this service says. One function per event: type and message."""

from collections.abc import Sequence
from datetime import date

from google.protobuf.message import Message
from liandong.loans.v1 import events_pb2

from services.kernel import wire
from services.kernel.money import Fen
from services.kernel.outbox import OutgoingEvent
from services.loans.model import (
    Action,
    Allocation,
    Breaker,
    BreakerRecord,
    ClassChange,
    Collateral,
    CollectionCase,
    CollectionStep,
    Loan,
    Repayment,
    Review,
    SubsidyClaim,
    Warned,
)
from services.loans.rules.book import Posting
from services.loans.rules.entitlements import Entitlement
from services.loans.rules.issues import Decided, Done, Issue
from services.loans.rules.notices import Notice
from services.loans.rules.publications import Publication
from services.loans.rules.relending import Facility, Moved
from services.loans.rules.tasks import Task, TaskStep
from services.loans.rules.warnings import DepartmentWarning
from services.programmes.settlement import Amounts


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
        product_id=loan.product_id,
        outlet_code=loan.outlet_code,
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


def loan_disbursed(loan: Loan, day: date, amount_fen: Fen | None = None) -> OutgoingEvent:
    """The loan was paid out, or the first part of it."""
    message = events_pb2.LoanDisbursed(
        loan_id=str(loan.loan_id),
        household_id=str(loan.household_id),
        lender_id=loan.lender_id,
        principal_fen=loan.principal_fen if amount_fen is None else amount_fen,
        rate_ppm=loan.rate_ppm,
        disbursed_on=wire.date_to_proto(loan.disbursed_on),
        matures_on=wire.date_to_proto(loan.matures_on),
    )
    return _of_loan(loan, "liandong.loans.v1.loan_disbursed", message, day)


def loan_drawn(loan: Loan, amount_fen: Fen, day: date) -> OutgoingEvent:
    """A further part of the loan was paid out."""
    message = events_pb2.LoanDrawn(
        loan_id=str(loan.loan_id),
        household_id=str(loan.household_id),
        lender_id=loan.lender_id,
        amount_fen=amount_fen,
        outstanding_fen=loan.outstanding_fen,
        undrawn_fen=loan.undrawn_fen,
        drawn_on=wire.date_to_proto(day),
    )
    return _of_loan(loan, "liandong.loans.v1.loan_drawn", message, day)


def application_suspended(loan: Loan, wanted: str, day: date) -> OutgoingEvent:
    """The borrower must supply something; the clock stands."""
    message = events_pb2.ApplicationSuspended(
        loan_id=str(loan.loan_id), household_id=str(loan.household_id), wanted=wanted
    )
    return _of_loan(loan, "liandong.loans.v1.application_suspended", message, day)


def application_resumed(loan: Loan, day: date) -> OutgoingEvent:
    """It was supplied; the clock runs again."""
    message = events_pb2.ApplicationResumed(
        loan_id=str(loan.loan_id), sla_due_on=wire.date_to_proto(loan.sla_due_on)
    )
    return _of_loan(loan, "liandong.loans.v1.application_resumed", message, day)


def loan_repaid(
    loan: Loan,
    repayment: Repayment,
    *,
    principal_fen: int,
    interest_fen: int,
    subrogated_fen: int,
    suspense_fen: int,
    day: date,
    recovered_fen: int = 0,
    number: int = 0,
    lowered: Amounts | None = None,
) -> OutgoingEvent:
    """A repayment was posted; `lowered` is by how much less is owed where anything was owed."""
    message = events_pb2.LoanRepaid(
        loan_id=str(loan.loan_id),
        amount_fen=repayment.amount_fen,
        principal_fen=principal_fen,
        interest_fen=interest_fen,
        outstanding_fen=loan.outstanding_fen,
        value_date=wire.date_to_proto(repayment.value_date),
        subrogated_fen=subrogated_fen,
        suspense_fen=suspense_fen,
        recovered_fen=recovered_fen,
        number=number,
        recovery_id=repayment.recovery_id,
        principal_less_fen=lowered.principal_fen if lowered else None,
        interest_less_fen=lowered.interest_fen if lowered else None,
    )
    return _of_loan(loan, "liandong.loans.v1.loan_repaid", message, day)


def loan_due_soon(
    loan: Loan,
    day: date,
    *,
    to: Sequence[str] = (),
    to_borrower: bool = False,
    channels: Sequence[str] = (),
    at_maturity: bool = False,
) -> OutgoingEvent:
    """The loan falls due within the programme's lead time, or today."""
    message = events_pb2.LoanDueSoon(
        loan_id=str(loan.loan_id),
        matures_on=wire.date_to_proto(loan.matures_on),
        owed_fen=loan.owed_fen,
        to=to,
        to_borrower=to_borrower,
        channels=channels,
        at_maturity=at_maturity,
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


def loan_reclassified(loan: Loan, change: ClassChange) -> OutgoingEvent:
    """The loan moved to another class."""
    day = change.changed_on
    message = events_pb2.LoanReclassified(
        loan_id=str(loan.loan_id),
        five_tier_class=change.now,
        was_class=change.was,
        overdue_days=change.overdue_days,
        evidence_on=wire.date_to_proto(day),
        rule_version=change.rule_version,
        judged=bool(change.person_id),
    )
    return _of_loan(loan, "liandong.loans.v1.loan_reclassified", message, day)


def loan_settled(loan: Loan, settled_on: date, day: date) -> OutgoingEvent:
    """Nothing is owed any more."""
    message = events_pb2.LoanSettled(
        loan_id=str(loan.loan_id), settled_on=wire.date_to_proto(settled_on)
    )
    return _of_loan(loan, "liandong.loans.v1.loan_settled", message, day)


def repayment_reversed(
    loan: Loan, wrong: Posting, day: date, back: tuple[int, int, int]
) -> OutgoingEvent:
    """A repayment was undone: `back` is owed again (principal, interest), and was others'."""
    principal_fen, interest_fen, subrogated_fen = back
    message = events_pb2.RepaymentReversed(
        loan_id=str(loan.loan_id),
        reversed_number=wrong.number,
        amount_fen=wrong.amount_fen,
        outstanding_fen=loan.outstanding_fen,
        interest_fen=loan.owed_fen - loan.outstanding_fen,
        principal_back_fen=principal_fen,
        interest_back_fen=interest_fen,
        subrogated_fen=subrogated_fen,
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
        borrower_class=loan.borrower_class,
        disbursed_on=wire.date_to_proto(loan.disbursed_on),
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
        parts=_lender_parts(allocation),
        corrections=allocation.corrections,
    )
    return _of_allocation(
        allocation, "liandong.loans.v1.payout_allocated", message, county_code, day
    )


def payout_allocation_reversed(
    allocation: Allocation, county_code: str, day: date, *, corrected: bool
) -> OutgoingEvent:
    """A payout's allocation is undone; the parts are those that it had."""
    message = events_pb2.PayoutAllocationReversed(
        payout_id=str(allocation.payout.payout_id),
        household_fen=allocation.household_fen,
        parts=_lender_parts(allocation),
        corrected=corrected,
    )
    name = "liandong.loans.v1.payout_allocation_reversed"
    return _of_allocation(allocation, name, message, county_code, day)


def _lender_parts(allocation: Allocation) -> list[events_pb2.LenderPart]:
    return [
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
    ]


def _of_allocation(
    allocation: Allocation, event_type: str, message: Message, county_code: str, day: date
) -> OutgoingEvent:
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type="loans.payout_allocation",
        aggregate_id=str(allocation.payout.payout_id),
        sequence=allocation.version,
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


# --- after disbursement ---------------------------------------------------------------------------


def loan_non_performing(loan: Loan, day: date) -> OutgoingEvent:
    """The loan is bad by the programme's definition."""
    message = events_pb2.LoanNonPerforming(
        loan_id=str(loan.loan_id),
        household_id=str(loan.household_id),
        evidence_on=wire.date_to_proto(day),
        overdue_days=loan.overdue_days,
        five_tier_class=loan.five_tier_class,
        rule_version=loan.programme,
        principal_fen=loan.outstanding_fen,
    )
    return _of_loan(loan, "liandong.loans.v1.loan_non_performing", message, day)


def loan_performing(loan: Loan, day: date) -> OutgoingEvent:
    """The loan is bad no more."""
    message = events_pb2.LoanPerforming(
        loan_id=str(loan.loan_id),
        evidence_on=wire.date_to_proto(day),
        five_tier_class=loan.five_tier_class,
        rule_version=loan.programme,
    )
    return _of_loan(loan, "liandong.loans.v1.loan_performing", message, day)


def loan_action_taken(loan: Loan, action: Action) -> OutgoingEvent:
    """One of the programme's steps on an overdue or bad loan."""
    message = events_pb2.LoanActionTaken(
        loan_id=str(loan.loan_id),
        household_id=str(loan.household_id),
        action=action.action,
        place=action.place,
        cause=action.cause,
        since=wire.date_to_proto(action.since),
        rule_version=loan.programme,
    )
    return _of_loan(loan, "liandong.loans.v1.loan_action_taken", message, action.taken_on)


def subsidy_stopped(loan: Loan, cause: str, day: date) -> OutgoingEvent:
    """The treasury bears no more of the interest."""
    message = events_pb2.SubsidyStopped(
        loan_id=str(loan.loan_id),
        household_id=str(loan.household_id),
        stopped_on=wire.date_to_proto(loan.subsidy_ended_on),
        cause=cause,
    )
    return _of_loan(loan, "liandong.loans.v1.subsidy_stopped", message, day)


def loan_frozen(loan: Loan, review: Review, day: date) -> OutgoingEvent:
    """The loan waits for a review."""
    message = events_pb2.LoanFrozen(
        loan_id=str(loan.loan_id), review_id=str(review.review_id), cause=review.cause
    )
    return _of_loan(loan, "liandong.loans.v1.loan_frozen", message, day)


def loan_unfrozen(loan: Loan, review: Review, day: date) -> OutgoingEvent:
    """The review ended."""
    message = events_pb2.LoanUnfrozen(
        loan_id=str(loan.loan_id), review_id=str(review.review_id), outcome=review.outcome
    )
    return _of_loan(loan, "liandong.loans.v1.loan_unfrozen", message, day)


def early_warning_raised(loan: Loan, warned: Warned) -> OutgoingEvent:
    """Something wants attention."""
    message = events_pb2.EarlyWarningRaised(loan_id=str(loan.loan_id), kind=warned.kind)
    return _of_loan(loan, "liandong.loans.v1.early_warning_raised", message, warned.raised_on)


def loan_extended(loan: Loan, matured_on: date, day: date) -> OutgoingEvent:
    """The maturity was moved."""
    message = events_pb2.LoanExtended(
        loan_id=str(loan.loan_id),
        matured_on=wire.date_to_proto(matured_on),
        matures_on=wire.date_to_proto(loan.matures_on),
    )
    return _of_loan(loan, "liandong.loans.v1.loan_extended", message, day)


def loan_renewed(loan: Loan, renewed: Loan, months_left: int, day: date) -> OutgoingEvent:
    """The loan renews another."""
    message = events_pb2.LoanRenewed(
        loan_id=str(loan.loan_id),
        renewed_loan_id=str(renewed.loan_id),
        principal_fen=loan.principal_fen,
        matures_on=wire.date_to_proto(loan.matures_on),
        subsidy_months_left=months_left,
    )
    return _of_loan(loan, "liandong.loans.v1.loan_renewed", message, day)


def loan_restructured(loan: Loan, day: date) -> OutgoingEvent:
    """The loan has new terms."""
    message = events_pb2.LoanRestructured(
        loan_id=str(loan.loan_id),
        matures_on=wire.date_to_proto(loan.matures_on),
        method=loan.method,
        rate_ppm=loan.rate_ppm,
        principal_fen=loan.outstanding_fen,
    )
    return _of_loan(loan, "liandong.loans.v1.loan_restructured", message, day)


def interest_forgiven(loan: Loan, amount_fen: int, cause: str, day: date) -> OutgoingEvent:
    """Unpaid interest was forgiven."""
    message = events_pb2.InterestForgiven(
        loan_id=str(loan.loan_id),
        amount_fen=amount_fen,
        cause=cause,
        interest_fen=loan.owed_fen - loan.outstanding_fen,
    )
    return _of_loan(loan, "liandong.loans.v1.interest_forgiven", message, day)


def collection_case_opened(loan: Loan, case: CollectionCase, day: date) -> OutgoingEvent:
    """Collection begins."""
    message = events_pb2.CollectionCaseOpened(
        loan_id=str(loan.loan_id),
        case_id=str(case.case_id),
        household_id=str(case.household_id),
        cause=case.cause,
        due_class=case.due_class,
        actions=case.actions,
    )
    return _of_loan(loan, "liandong.loans.v1.collection_case_opened", message, day)


def collection_step_taken(
    loan: Loan, case: CollectionCase, step: CollectionStep, day: date
) -> OutgoingEvent:
    """A step of a collection."""
    message = events_pb2.CollectionStepTaken(
        loan_id=str(loan.loan_id), case_id=str(case.case_id), kind=step.kind, organ=step.organ
    )
    return _of_loan(loan, "liandong.loans.v1.collection_step_taken", message, day)


def collection_case_closed(loan: Loan, case: CollectionCase, day: date) -> OutgoingEvent:
    """Collection ended."""
    message = events_pb2.CollectionCaseClosed(loan_id=str(loan.loan_id), case_id=str(case.case_id))
    return _of_loan(loan, "liandong.loans.v1.collection_case_closed", message, day)


def loan_written_off(loan: Loan, principal_fen: int, interest_fen: int, day: date) -> OutgoingEvent:
    """The loan is no asset any more."""
    message = events_pb2.LoanWrittenOff(
        loan_id=str(loan.loan_id),
        household_id=str(loan.household_id),
        principal_fen=principal_fen,
        interest_fen=interest_fen,
    )
    return _of_loan(loan, "liandong.loans.v1.loan_written_off", message, day)


def collateral_registered(loan: Loan, collateral: Collateral, day: date) -> OutgoingEvent:
    """Something secures the loan."""
    message = events_pb2.CollateralRegistered(
        loan_id=str(loan.loan_id),
        collateral_id=str(collateral.collateral_id),
        asset=collateral.asset,
        value_fen=collateral.value_fen,
        secures_fen=collateral.secures_fen,
        source=collateral.source,
    )
    return _of_loan(loan, "liandong.loans.v1.collateral_registered", message, day)


def collateral_revalued(
    loan: Loan, collateral: Collateral, day: date, *, enough: bool
) -> OutgoingEvent:
    """What secures the loan was valued anew."""
    message = events_pb2.CollateralRevalued(
        loan_id=str(loan.loan_id),
        collateral_id=str(collateral.collateral_id),
        value_fen=collateral.value_fen,
        secures_fen=collateral.secures_fen,
        source=collateral.source,
        enough=enough,
    )
    return _of_loan(loan, "liandong.loans.v1.collateral_revalued", message, day)


def collateral_released(loan: Loan, collateral: Collateral, day: date) -> OutgoingEvent:
    """It secures the loan no more."""
    message = events_pb2.CollateralReleased(
        loan_id=str(loan.loan_id), collateral_id=str(collateral.collateral_id)
    )
    return _of_loan(loan, "liandong.loans.v1.collateral_released", message, day)


def deposit_yield_due(loan: Loan, collateral: Collateral, day: date) -> OutgoingEvent:
    """Deposited assets bore another month's interest."""
    message = events_pb2.DepositYieldDue(
        loan_id=str(loan.loan_id),
        collateral_id=str(collateral.collateral_id),
        keeper_id=collateral.keeper_id,
        month=collateral.months_borne,
        amount_fen=collateral.month_yield_fen,
    )
    return _of_loan(loan, "liandong.loans.v1.deposit_yield_due", message, day)


def deposit_interest_refunded(loan: Loan, collateral: Collateral, day: date) -> OutgoingEvent:
    """The keeper pays the loan's interest back."""
    message = events_pb2.DepositInterestRefunded(
        loan_id=str(loan.loan_id),
        collateral_id=str(collateral.collateral_id),
        keeper_id=collateral.keeper_id,
        amount_fen=collateral.refunded_fen,
    )
    return _of_loan(loan, "liandong.loans.v1.deposit_interest_refunded", message, day)


def compensation_exceeded(
    loan: Loan, excess_fen: int, value_date: date, day: date
) -> OutgoingEvent:
    """The lender owes those who compensated it what the borrower never owed."""
    message = events_pb2.CompensationExceeded(
        loan_id=str(loan.loan_id),
        lender_id=loan.lender_id,
        excess_fen=excess_fen,
        subrogated_fen=loan.subrogated_fen,
        value_date=wire.date_to_proto(value_date),
    )
    return _of_loan(loan, "liandong.loans.v1.compensation_exceeded", message, day)


def _of_claim(
    claim: SubsidyClaim, county_code: str, event_type: str, message: Message, day: date
) -> OutgoingEvent:
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type="loans.subsidy_claim",
        aggregate_id=str(claim.claim_id),
        sequence=1 if claim.paid_on is None else 2,
        county_code=county_code,
        message=message,
        business_date=day,
    )


def subsidy_claimed(claim: SubsidyClaim, county_code: str, day: date) -> OutgoingEvent:
    """A lender claims a quarter's subsidy."""
    message = events_pb2.SubsidyClaimed(
        claim_id=str(claim.claim_id),
        lender_id=claim.lender_id,
        programme_id=claim.programme_id,
        year=claim.year,
        quarter=claim.quarter,
        amount_fen=claim.amount_fen,
    )
    return _of_claim(claim, county_code, "liandong.loans.v1.subsidy_claimed", message, day)


def subsidy_paid(claim: SubsidyClaim, county_code: str, day: date) -> OutgoingEvent:
    """The finance bureau paid a claim."""
    message = events_pb2.SubsidyPaid(
        claim_id=str(claim.claim_id), lender_id=claim.lender_id, amount_fen=claim.amount_fen
    )
    return _of_claim(claim, county_code, "liandong.loans.v1.subsidy_paid", message, day)


def breaker_reset(breaker: Breaker, record: BreakerRecord, month_ends: int) -> OutgoingEvent:
    """Lending goes on in a scope."""
    return OutgoingEvent(
        event_type="liandong.loans.v1.breaker_reset",
        aggregate_type="loans.breaker",
        aggregate_id=f"{breaker.scope}:{breaker.scope_id}",
        sequence=breaker.version,
        county_code=breaker.county_code,
        message=events_pb2.BreakerReset(
            scope=breaker.scope,
            scope_id=breaker.scope_id,
            epoch=breaker.epoch,
            month_ends_below=month_ends,
            rule_version=record.rule_version,
        ),
        business_date=record.recorded_on,
    )


# --- notices, warnings, publications --------------------------------------------------------------


def notice_failed(notice: Notice, county_code: str, day: date) -> OutgoingEvent:
    """A notice is not tried any more."""
    return OutgoingEvent(
        event_type="liandong.loans.v1.notice_failed",
        aggregate_type="loans.notice",
        aggregate_id=str(notice.notice_id),
        sequence=1,
        county_code=county_code,
        message=events_pb2.NoticeFailed(
            notice_id=str(notice.notice_id),
            loan_id=str(notice.loan_id or ""),
            kind=notice.kind,
            channel=notice.channel,
            reason=notice.reason,
        ),
        business_date=day,
        programme=notice.programme,
    )


def _of_warning(
    warning: DepartmentWarning, county_code: str, event_type: str, message: Message, day: date
) -> OutgoingEvent:
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type="loans.department_warning",
        aggregate_id=str(warning.warning_id),
        sequence=warning.version,
        county_code=county_code,
        message=message,
        business_date=day,
    )


def department_warning_received(
    warning: DepartmentWarning, county_code: str, day: date
) -> OutgoingEvent:
    """A department warned of an industry or a disaster."""
    message = events_pb2.DepartmentWarningReceived(
        warning_id=str(warning.warning_id),
        kind=warning.kind,
        risk=warning.risk,
        department=warning.department,
        area_codes=warning.area_codes,
        industries=warning.industries,
        project_ids=warning.project_ids,
        starts_on=wire.date_to_proto(warning.starts_on),
        ends_on=wire.date_to_proto(warning.ends_on),
    )
    name = "liandong.loans.v1.department_warning_received"
    return _of_warning(warning, county_code, name, message, day)


def department_warning_spread(
    warning: DepartmentWarning, county_code: str, day: date
) -> OutgoingEvent:
    """It has reached all its loans."""
    message = events_pb2.DepartmentWarningSpread(
        warning_id=str(warning.warning_id), loans=warning.loans, households=warning.households
    )
    name = "liandong.loans.v1.department_warning_spread"
    return _of_warning(warning, county_code, name, message, day)


def department_warning_withdrawn(
    warning: DepartmentWarning, county_code: str, day: date
) -> OutgoingEvent:
    """It does not hold any more."""
    message = events_pb2.DepartmentWarningWithdrawn(
        warning_id=str(warning.warning_id), reason=warning.reason
    )
    name = "liandong.loans.v1.department_warning_withdrawn"
    return _of_warning(warning, county_code, name, message, day)


def _of_publication(
    found: Publication, county_code: str, event_type: str, message: Message, day: date
) -> OutgoingEvent:
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type="loans.publication",
        aggregate_id=str(found.publication_id),
        sequence=found.version,
        county_code=county_code,
        message=message,
        business_date=day,
        programme=found.rule_version,
    )


def publication_published(found: Publication, county_code: str, day: date) -> OutgoingEvent:
    """Something was made public."""
    message = events_pb2.PublicationPublished(
        publication_id=str(found.publication_id),
        kind=found.kind,
        programme_id=found.programme_id,
        area_code=found.area_code,
        first=wire.date_to_proto(found.first),
        last=wire.date_to_proto(found.last),
        ends_on=wire.date_to_proto(found.ends_on),
    )
    name = "liandong.loans.v1.publication_published"
    return _of_publication(found, county_code, name, message, day)


def publication_withdrawn(found: Publication, county_code: str, day: date) -> OutgoingEvent:
    """It was taken back."""
    message = events_pb2.PublicationWithdrawn(
        publication_id=str(found.publication_id), reason=found.reason
    )
    name = "liandong.loans.v1.publication_withdrawn"
    return _of_publication(found, county_code, name, message, day)


# --- entitlements, relending ----------------------------------------------------------------------


def _of_entitlement(
    found: Entitlement, county_code: str, event_type: str, message: Message, day: date
) -> OutgoingEvent:
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type="loans.entitlement",
        aggregate_id=str(found.entitlement_id),
        sequence=found.version,
        county_code=county_code,
        message=message,
        business_date=day,
        programme=found.rule_version,
    )


def entitlement_due(found: Entitlement, county_code: str, day: date) -> OutgoingEvent:
    """A borrower is entitled to something."""
    message = events_pb2.EntitlementDue(
        entitlement_id=str(found.entitlement_id),
        household_id=str(found.household_id),
        rule_id=found.rule_id,
        payer=found.payer,
        amount_fen=found.amount_fen,
        effects=found.effects,
    )
    name = "liandong.loans.v1.entitlement_due"
    return _of_entitlement(found, county_code, name, message, day)


def entitlement_approved(found: Entitlement, county_code: str, day: date) -> OutgoingEvent:
    """A second person approved it."""
    message = events_pb2.EntitlementApproved(
        entitlement_id=str(found.entitlement_id), household_id=str(found.household_id)
    )
    name = "liandong.loans.v1.entitlement_approved"
    return _of_entitlement(found, county_code, name, message, day)


def entitlement_paid(found: Entitlement, county_code: str, day: date) -> OutgoingEvent:
    """It was paid or given."""
    message = events_pb2.EntitlementPaid(
        entitlement_id=str(found.entitlement_id),
        household_id=str(found.household_id),
        amount_fen=found.amount_fen,
        paid_on=wire.date_to_proto(found.paid_on),
    )
    name = "liandong.loans.v1.entitlement_paid"
    return _of_entitlement(found, county_code, name, message, day)


def entitlement_withdrawn(found: Entitlement, county_code: str, day: date) -> OutgoingEvent:
    """It is not wanted any more."""
    message = events_pb2.EntitlementWithdrawn(
        entitlement_id=str(found.entitlement_id), reason=found.reason
    )
    name = "liandong.loans.v1.entitlement_withdrawn"
    return _of_entitlement(found, county_code, name, message, day)


def _of_facility(
    facility: Facility, county_code: str, event_type: str, message: Message, day: date
) -> OutgoingEvent:
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type="loans.relending_facility",
        aggregate_id=str(facility.facility_id),
        sequence=facility.version,
        county_code=county_code,
        message=message,
        business_date=day,
        programme=facility.rule_version,
    )


def relending_facility_opened(facility: Facility, county_code: str, day: date) -> OutgoingEvent:
    """The central bank opened a line."""
    message = events_pb2.RelendingFacilityOpened(
        facility_id=str(facility.facility_id),
        lender_id=facility.lender_id,
        source=facility.source,
        limit_fen=facility.limit_fen,
        rate_ppm=facility.rate_ppm,
    )
    name = "liandong.loans.v1.relending_facility_opened"
    return _of_facility(facility, county_code, name, message, day)


def relending_moved(facility: Facility, moved: Moved, county_code: str) -> OutgoingEvent:
    """A lender drew or paid back."""
    message = events_pb2.RelendingMoved(
        facility_id=str(facility.facility_id),
        draw=moved.draw,
        amount_fen=moved.amount_fen,
        owed_fen=moved.owed_fen,
        free_fen=moved.free_fen,
        value_date=wire.date_to_proto(moved.value_date),
    )
    name = "liandong.loans.v1.relending_moved"
    return _of_facility(facility, county_code, name, message, moved.booked_on)


def relending_facility_closed(facility: Facility, county_code: str, day: date) -> OutgoingEvent:
    """A line was closed."""
    message = events_pb2.RelendingFacilityClosed(facility_id=str(facility.facility_id))
    name = "liandong.loans.v1.relending_facility_closed"
    return _of_facility(facility, county_code, name, message, day)


# --- tasks and issues -----------------------------------------------------------------------------


def _of_task(task: Task, event_type: str, message: Message, day: date) -> OutgoingEvent:
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type="loans.task",
        aggregate_id=str(task.task_id),
        sequence=task.version,
        county_code=task.county_code,
        message=message,
        business_date=day,
        programme=task.programme,
    )


def task_opened(task: Task) -> OutgoingEvent:
    """A task is to be done."""
    message = events_pb2.TaskOpened(
        task_id=str(task.task_id),
        kind=task.kind,
        area_code=task.area_code,
        loan_id=str(task.loan_id or ""),
        institution_id=task.institution_id,
        due_on=wire.date_to_proto(task.due_on),
        cause=task.cause,
    )
    return _of_task(task, "liandong.loans.v1.task_opened", message, task.opened_on)


def task_assigned(task: Task, day: date) -> OutgoingEvent:
    """A task has an owner and a deputy."""
    message = events_pb2.TaskAssigned(
        task_id=str(task.task_id),
        institution_id=task.institution_id,
        owner_id=task.owner_id,
        deputy_id=task.deputy_id,
    )
    return _of_task(task, "liandong.loans.v1.task_assigned", message, day)


def task_signed(task: Task, step: TaskStep) -> OutgoingEvent:
    """A level signed."""
    message = events_pb2.TaskSigned(
        task_id=str(task.task_id),
        loan_id=str(task.loan_id or ""),
        organ=step.organ,
        level=task.signed,
        levels=len(task.levels),
    )
    return _of_task(task, "liandong.loans.v1.task_signed", message, step.taken_on)


def task_escalated(task: Task, step: TaskStep) -> OutgoingEvent:
    """Somebody hears that a task is late."""
    message = events_pb2.TaskEscalated(
        task_id=str(task.task_id),
        kind=task.kind,
        organ=step.organ,
        institution_id=step.institution_id,
        due_on=wire.date_to_proto(task.due_on),
    )
    return _of_task(task, "liandong.loans.v1.task_escalated", message, step.taken_on)


def task_closed(task: Task, step: TaskStep) -> OutgoingEvent:
    """A task was done."""
    message = events_pb2.TaskClosed(
        task_id=str(task.task_id),
        kind=task.kind,
        loan_id=str(task.loan_id or ""),
        findings=step.findings,
        in_time=step.in_time,
    )
    return _of_task(task, "liandong.loans.v1.task_closed", message, step.taken_on)


def overdue_reported(task: Task, step: TaskStep) -> OutgoingEvent:
    """The report of a day was filed."""
    assert step.figures is not None
    figures = step.figures
    message = events_pb2.OverdueReported(
        task_id=str(task.task_id),
        programme=task.programme,
        overdue_count=figures.due_count - figures.collected_count,
        overdue_fen=figures.due_fen - figures.collected_fen,
    )
    return _of_task(task, "liandong.loans.v1.overdue_reported", message, step.taken_on)


def _of_issue(issue: Issue, event_type: str, message: Message, day: date) -> OutgoingEvent:
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type="loans.issue",
        aggregate_id=str(issue.issue_id),
        sequence=issue.version,
        county_code=issue.county_code,
        message=message,
        business_date=day,
        programme=issue.programme,
    )


def issue_registered(issue: Issue) -> OutgoingEvent:
    """An issue was found."""
    message = events_pb2.IssueRegistered(
        issue_id=str(issue.issue_id),
        loan_id=str(issue.loan_id or ""),
        area_code=issue.area_code,
        code=issue.code,
        ledger=issue.ledger,
        due_on=wire.date_to_proto(issue.due_on),
    )
    return _of_issue(issue, "liandong.loans.v1.issue_registered", message, issue.registered_on)


def issue_deadline_set(issue: Issue, day: date) -> OutgoingEvent:
    """A person set an issue's deadline."""
    message = events_pb2.IssueDeadlineSet(
        issue_id=str(issue.issue_id), due_on=wire.date_to_proto(issue.due_on)
    )
    return _of_issue(issue, "liandong.loans.v1.issue_deadline_set", message, day)


def issue_rectified(issue: Issue, done: Done) -> OutgoingEvent:
    """An issue is said to be rectified."""
    message = events_pb2.IssueRectified(
        issue_id=str(issue.issue_id), loan_id=str(issue.loan_id or ""), in_time=done.in_time
    )
    return _of_issue(issue, "liandong.loans.v1.issue_rectified", message, done.taken_on)


def issue_sent_back(issue: Issue, day: date) -> OutgoingEvent:
    """An issue did not hold as rectified."""
    message = events_pb2.IssueSentBack(issue_id=str(issue.issue_id))
    return _of_issue(issue, "liandong.loans.v1.issue_sent_back", message, day)


def issue_closed(issue: Issue) -> OutgoingEvent:
    """An issue is off the list."""
    assert issue.closed_on is not None
    message = events_pb2.IssueClosed(
        issue_id=str(issue.issue_id), loan_id=str(issue.loan_id or ""), code=issue.code
    )
    return _of_issue(issue, "liandong.loans.v1.issue_closed", message, issue.closed_on)


def disposition_decided(loan: Loan, decided: Decided) -> OutgoingEvent:
    """A problem loan has its disposition."""
    message = events_pb2.DispositionDecided(
        loan_id=str(loan.loan_id), due_class=decided.due_class, actions=decided.actions
    )
    return _of_loan(loan, "liandong.loans.v1.disposition_decided", message, decided.decided_on)
