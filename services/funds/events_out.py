"""Funds: what this service says. One function per event: type, aggregate, sequence, message."""

from datetime import date

from google.protobuf.message import Message
from liandong.funds.v1 import events_pb2

from services.funds.model import CaseFile, Cover, Fund, Part, Recovery
from services.kernel.money import Fen
from services.kernel.outbox import OutgoingEvent


def _of_cover(event_type: str, cover: Cover, message: Message, on: date) -> OutgoingEvent:
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type="funds.cover",
        aggregate_id=str(cover.loan_id),
        sequence=cover.version,
        county_code=cover.county_code,
        message=message,
        business_date=on,
        programme=cover.programme,
    )


def _of_fund(event_type: str, fund: Fund, message: Message, on: date) -> OutgoingEvent:
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type="funds.fund",
        aggregate_id=str(fund.fund_id),
        sequence=fund.version,
        county_code=fund.county_code,
        message=message,
        business_date=on,
    )


def _of_case(event_type: str, case_file: CaseFile, message: Message, on: date) -> OutgoingEvent:
    case = case_file.case
    return OutgoingEvent(
        event_type=event_type,
        aggregate_type="funds.compensation_case",
        aggregate_id=str(case.case_id),
        sequence=case.version,
        county_code=case.county_code,
        message=message,
        business_date=on,
        programme=case.programme,
    )


def cover_reserved(cover: Cover, on: date) -> OutgoingEvent:
    """A fund stands behind a loan."""
    message = events_pb2.CoverReserved(
        loan_id=str(cover.loan_id), fund_id=str(cover.fund_id), covered_fen=cover.principal_fen
    )
    return _of_cover("liandong.funds.v1.cover_reserved", cover, message, on)


def cover_refused(cover: Cover, reason: str, headroom_fen: Fen, on: date) -> OutgoingEvent:
    """No fund stands behind a loan."""
    message = events_pb2.CoverRefused(
        loan_id=str(cover.loan_id), reason=reason, headroom_fen=headroom_fen
    )
    return _of_cover("liandong.funds.v1.cover_refused", cover, message, on)


def cover_released(cover: Cover, on: date) -> OutgoingEvent:
    """Cover went back to its fund."""
    message = events_pb2.CoverReleased(
        loan_id=str(cover.loan_id), fund_id=str(cover.fund_id), released_fen=cover.principal_fen
    )
    return _of_cover("liandong.funds.v1.cover_released", cover, message, on)


def _shares(part: Part) -> list[events_pb2.SharePart]:
    """A part that is paid in part is said as two: what is paid and what is owed."""
    return [
        events_pb2.SharePart(
            party=part.party, institution_id=part.institution_id, amount_fen=amount, paid=paid
        )
        for amount, paid in ((part.paid_fen, True), (part.owed_fen, False))
        if amount
    ]


def compensation_paid(case_file: CaseFile, on: date) -> OutgoingEvent:
    """A loss was shared; the parts sum to it."""
    message = events_pb2.CompensationPaid(
        case_id=str(case_file.case.case_id),
        loan_id=str(case_file.case.loan_id),
        loss_fen=case_file.case.loss_fen,
        parts=[share for part in case_file.parts for share in _shares(part)],
    )
    return _of_case("liandong.funds.v1.compensation_paid", case_file, message, on)


def recovery_shared(case_file: CaseFile, recovery: Recovery, on: date) -> OutgoingEvent:
    """Money that came back was given to those who bore the loss."""
    message = events_pb2.RecoveryShared(
        case_id=str(case_file.case.case_id),
        loan_id=str(case_file.case.loan_id),
        amount_fen=recovery.amount_fen - recovery.household_fen,
    )
    return _of_case("liandong.funds.v1.recovery_shared", case_file, message, on)


def leverage_reached(fund: Fund, capacity_fen: Fen, on: date) -> OutgoingEvent:
    """A fund had to refuse cover."""
    message = events_pb2.LeverageReached(
        fund_id=str(fund.fund_id), capacity_fen=capacity_fen, covered_fen=fund.covered_fen
    )
    return _of_fund("liandong.funds.v1.leverage_reached", fund, message, on)


def fund_suspended(fund: Fund, on: date) -> OutgoingEvent:
    """A fund was short."""
    message = events_pb2.FundSuspended(fund_id=str(fund.fund_id), owed_fen=fund.owed_fen)
    return _of_fund("liandong.funds.v1.fund_suspended", fund, message, on)


def top_up_due(fund: Fund, amount_fen: Fen, on: date) -> OutgoingEvent:
    """A fund needs money."""
    message = events_pb2.TopUpDue(fund_id=str(fund.fund_id), amount_fen=amount_fen)
    return _of_fund("liandong.funds.v1.top_up_due", fund, message, on)
