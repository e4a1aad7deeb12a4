"""Claims: what this service says. One function per event."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from google.protobuf.message import Message
from liandong.claims.v1 import events_pb2

from services.claims.model import (
    Authorisation,
    Claim,
    Complaint,
    Instruction,
    InsuredEntry,
    LineResult,
    MasterPolicy,
    Payout,
    Reversal,
)
from services.kernel import wire
from services.kernel.outbox import OutgoingEvent


def household_insured(
    entry: InsuredEntry,
    policy: MasterPolicy,
    *,
    loan_id: UUID | None,
    cover_kind: str,
    on: date,
) -> OutgoingEvent:
    """A cover came into force for a loan's household, or its sum changed."""
    return OutgoingEvent(
        event_type="liandong.claims.v1.household_insured",
        aggregate_type="claims.insured",
        aggregate_id=str(entry.insured_id),
        sequence=entry.version,
        county_code=entry.county_code,
        message=events_pb2.HouseholdInsured(
            insured_id=str(entry.insured_id),
            household_id=str(entry.household_id),
            loan_id=str(loan_id),
            cover_id=entry.cover_id,
            sum_insured_fen=entry.sum_insured_fen,
            from_date=wire.date_to_proto(entry.from_date),
            until_date=wire.date_to_proto(entry.until_date),
            cover_kind=cover_kind,
            insurer_id=policy.insurer_id,
            policy_id=str(policy.policy_id),
        ),
        business_date=on,
        programme=policy.programme,
    )


def household_uninsured(
    entry: InsuredEntry,
    policy: MasterPolicy,
    *,
    loan_id: UUID,
    cover_kind: str,
    reason: str,
    on: date,
) -> OutgoingEvent:
    """A cover is in force no more for a loan's household."""
    return OutgoingEvent(
        event_type="liandong.claims.v1.household_uninsured",
        aggregate_type="claims.insured",
        aggregate_id=str(entry.insured_id),
        sequence=entry.version,
        county_code=entry.county_code,
        message=events_pb2.HouseholdUninsured(
            insured_id=str(entry.insured_id),
            household_id=str(entry.household_id),
            loan_id=str(loan_id),
            cover_id=entry.cover_id,
            cover_kind=cover_kind,
            last_day=wire.date_to_proto(entry.until_date),
            reason=reason,
        ),
        business_date=on,
        programme=policy.programme,
    )


def claim_reported(claim: Claim) -> OutgoingEvent:
    """A claim was taken in."""
    return OutgoingEvent(
        event_type="liandong.claims.v1.claim_reported",
        aggregate_type="claims.claim",
        aggregate_id=str(claim.claim_id),
        sequence=claim.version,
        county_code=claim.county_code,
        message=events_pb2.ClaimReported(
            claim_id=str(claim.claim_id),
            household_id=str(claim.household_id),
            cover_id=claim.cover_id,
            loss_date=wire.date_to_proto(claim.loss_date),
            insurer_id=claim.insurer_id,
        ),
        business_date=claim.reported_on,
        programme=claim.programme,
    )


def claim_approved(claim: Claim) -> OutgoingEvent:
    """A claim was approved; its payout follows."""
    return OutgoingEvent(
        event_type="liandong.claims.v1.claim_approved",
        aggregate_type="claims.claim",
        aggregate_id=str(claim.claim_id),
        sequence=claim.version,
        county_code=claim.county_code,
        message=events_pb2.ClaimApproved(
            claim_id=str(claim.claim_id),
            payout_id=str(claim.payout_id),
            payable_fen=claim.payable_fen,
        ),
        business_date=claim.decided_on,
        programme=claim.programme,
    )


def claim_refused(claim: Claim) -> OutgoingEvent:
    """A claim was refused."""
    return OutgoingEvent(
        event_type="liandong.claims.v1.claim_refused",
        aggregate_type="claims.claim",
        aggregate_id=str(claim.claim_id),
        sequence=claim.version,
        county_code=claim.county_code,
        message=events_pb2.ClaimRefused(claim_id=str(claim.claim_id), reason=claim.reason),
        business_date=claim.decided_on,
        programme=claim.programme,
    )


def _of_claim(
    name: str,
    claim: Claim,
    message: events_pb2.ClaimWithdrawn | events_pb2.ClaimReopened | events_pb2.ClaimOverdue,
    on: date,
) -> OutgoingEvent:
    return OutgoingEvent(
        event_type=f"liandong.claims.v1.{name}",
        aggregate_type="claims.claim",
        aggregate_id=str(claim.claim_id),
        sequence=claim.version,
        county_code=claim.county_code,
        message=message,
        business_date=on,
        programme=claim.programme,
    )


def claim_withdrawn(claim: Claim, on: date) -> OutgoingEvent:
    """A claim was taken back."""
    message = events_pb2.ClaimWithdrawn(claim_id=str(claim.claim_id))
    return _of_claim("claim_withdrawn", claim, message, on)


def claim_reopened(claim: Claim, on: date) -> OutgoingEvent:
    """A closed claim is open again."""
    message = events_pb2.ClaimReopened(claim_id=str(claim.claim_id))
    return _of_claim("claim_reopened", claim, message, on)


def claim_overdue(claim: Claim, on: date) -> OutgoingEvent:
    """A claim was not paid by its day."""
    message = events_pb2.ClaimOverdue(
        claim_id=str(claim.claim_id),
        insurer_id=claim.insurer_id,
        due_on=wire.date_to_proto(claim.due_on),
    )
    return _of_claim("claim_overdue", claim, message, on)


def line_result(result: LineResult, *, on: date) -> OutgoingEvent:
    """A line's result over a period, for the stabilisation pool."""
    return OutgoingEvent(
        event_type="liandong.claims.v1.line_result",
        aggregate_type="claims.line",
        aggregate_id=str(result.line_id),
        sequence=1,
        county_code=result.county_code,
        message=events_pb2.LineResult(
            line_id=str(result.line_id),
            insurer_id=result.insurer_id,
            premium_fen=result.premium_fen,
            payouts_fen=result.payouts_fen,
            cover_id=result.cover_id,
            programme_id=result.programme_id,
            area_code=result.area_code,
            from_date=wire.date_to_proto(result.from_date),
            until_date=wire.date_to_proto(result.until_date),
        ),
        business_date=on,
        programme=result.programme,
    )


def payout_authorised(authorisation: Authorisation, *, on: date) -> OutgoingEvent:
    """Loans may allocate a payout, the bank first."""
    payout = authorisation.payout
    return OutgoingEvent(
        event_type="liandong.claims.v1.payout_authorised",
        aggregate_type="claims.payout",
        aggregate_id=str(payout.payout_id),
        sequence=payout.version,
        county_code=payout.county_code,
        message=events_pb2.PayoutAuthorised(
            payout_id=str(payout.payout_id),
            household_id=str(payout.household_id),
            amount_fen=payout.amount_fen,
            value_date=wire.date_to_proto(payout.value_date),
            groups=[
                events_pb2.PayeeGroup(loan_ids=[str(loan_id) for loan_id in group])
                for group in authorisation.groups
            ],
            insurer_id=payout.insurer_id,
            loss_date=wire.date_to_proto(payout.loss_date),
        ),
        business_date=on,
        programme=payout.programme,
    )


def payout_settled(payout: Payout, *, on: date) -> OutgoingEvent:
    """Every lender and the household have what is theirs."""
    message = events_pb2.PayoutSettled(
        payout_id=str(payout.payout_id),
        lenders_fen=payout.lenders_fen,
        household_fen=payout.household_fen,
        parts=_settled_parts(payout),
    )
    return _of_payout(payout, "liandong.claims.v1.payout_settled", message, on)


def payout_corrected(
    payout: Payout, freed: Instruction, groups: Sequence[Sequence[UUID]], *, on: date
) -> OutgoingEvent:
    """A lender kept less than it was sent; loans divides the rest."""
    message = events_pb2.PayoutCorrected(
        payout_id=str(payout.payout_id),
        correction=freed.correction,
        loan_id=str(freed.loan_id),
        kept_fen=freed.confirmed_fen,
        freed_fen=freed.amount_fen - freed.confirmed_fen,
        groups=[
            events_pb2.PayeeGroup(loan_ids=[str(loan_id) for loan_id in group]) for group in groups
        ],
    )
    return _of_payout(payout, "liandong.claims.v1.payout_corrected", message, on)


def payment_unanswered(payout: Payout, silent: Instruction, *, on: date) -> OutgoingEvent:
    """Nobody knows whether a payee has its money."""
    message = events_pb2.PaymentUnanswered(
        payout_id=str(payout.payout_id),
        instruction_id=str(silent.instruction_id),
        payee_id=silent.payee_id,
        amount_fen=silent.amount_fen,
        sent_on=wire.date_to_proto(silent.sent_on),
    )
    return _of_payout(payout, "liandong.claims.v1.payment_unanswered", message, on)


def payout_reversed(payout: Payout, reversal: Reversal, *, on: date) -> OutgoingEvent:
    """A settled payout is taken back: the mirror of what everybody had of it."""
    message = events_pb2.PayoutReversed(
        payout_id=str(payout.payout_id),
        reason=reversal.reason,
        lenders_fen=payout.lenders_fen,
        household_fen=payout.household_fen,
        parts=_settled_parts(payout),
        value_date=wire.date_to_proto(on),
    )
    return _of_payout(payout, "liandong.claims.v1.payout_reversed", message, on)


def _settled_parts(payout: Payout) -> list[events_pb2.SettledPart]:
    return [
        events_pb2.SettledPart(
            loan_id=str(part.loan_id),
            lender_id=part.lender_id,
            amount_fen=part.amount_fen,
            subrogated_fen=part.subrogated_fen,
        )
        for part in payout.parts
    ]


def _of_payout(payout: Payout, event_type: str, message: Message, on: date) -> OutgoingEvent:
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type="claims.payout",
        aggregate_id=str(payout.payout_id),
        sequence=payout.version,
        county_code=payout.county_code,
        message=message,
        business_date=on,
        programme=payout.programme,
    )


def complaint_opened(complaint: Complaint, *, programme: str) -> OutgoingEvent:
    """A household is owed an answer by a day."""
    message = events_pb2.ComplaintOpened(
        complaint_id=str(complaint.complaint_id),
        subject_id=str(complaint.subject_id),
        household_id=str(complaint.household_id),
        insurer_id=complaint.insurer_id,
        reason=complaint.reason,
        due_on=wire.date_to_proto(complaint.due_on),
    )
    name = "liandong.claims.v1.complaint_opened"
    return _of_complaint(complaint, (name, 1), message, programme, complaint.filed_on)


def complaint_answered(complaint: Complaint, *, programme: str) -> OutgoingEvent:
    """A complaint has its answer."""
    assert complaint.answered_on is not None
    message = events_pb2.ComplaintAnswered(
        complaint_id=str(complaint.complaint_id),
        subject_id=str(complaint.subject_id),
        household_id=str(complaint.household_id),
        insurer_id=complaint.insurer_id,
        outcome=complaint.outcome,
        due_on=wire.date_to_proto(complaint.due_on),
        answered_on=wire.date_to_proto(complaint.answered_on),
    )
    name = "liandong.claims.v1.complaint_answered"
    return _of_complaint(complaint, (name, 2), message, programme, complaint.answered_on)


def _of_complaint(
    complaint: Complaint, nth: tuple[str, int], message: Message, programme: str, on: date
) -> OutgoingEvent:
    """Opened once and answered once: the name, and which of the two it is."""
    event_type, sequence = nth
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type="claims.complaint",
        aggregate_id=str(complaint.complaint_id),
        sequence=sequence,
        county_code=complaint.county_code,
        message=message,
        business_date=on,
        programme=programme,
    )
