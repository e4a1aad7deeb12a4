"""Funds: what this service says, and reads back. One function per event."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from google.protobuf.message import Message
from liandong.funds.v1 import events_pb2

from services.funds.model import Case, CaseFile, Cover, Fund, Part, Recovery
from services.funds.rules.what_if import Asked, Back, Gone, Item, Paid, Released
from services.kernel import wire
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


def cover_refused(
    cover: Cover,
    reason: str,
    on: date,
    *,
    headroom_fen: Fen,
    capacity_fen: Fen,
    fund: Fund | None,
) -> OutgoingEvent:
    """No fund stands behind a loan, with the numbers."""
    message = events_pb2.CoverRefused(
        loan_id=str(cover.loan_id),
        reason=reason,
        headroom_fen=headroom_fen,
        capacity_fen=capacity_fen,
        covered_fen=fund.covered_fen if fund else 0,
        asked_fen=cover.principal_fen,
        fund_id=str(fund.fund_id) if fund else "",
    )
    return _of_cover("liandong.funds.v1.cover_refused", cover, message, on)


def cover_released(cover: Cover, on: date, *, reason: str) -> OutgoingEvent:
    """Cover went back to its fund."""
    message = events_pb2.CoverReleased(
        loan_id=str(cover.loan_id),
        fund_id=str(cover.fund_id),
        released_fen=cover.principal_fen,
        reason=reason,
    )
    return _of_cover("liandong.funds.v1.cover_released", cover, message, on)


def cover_renewed(cover: Cover, on: date) -> OutgoingEvent:
    """Cover goes on with a new term, or with the loan that renews another."""
    message = events_pb2.CoverRenewed(
        loan_id=str(cover.loan_id),
        renewed_loan_id=str(cover.renews_loan_id or ""),
        fund_id=str(cover.fund_id),
        covered_fen=cover.principal_fen,
        until=wire.date_to_proto(cover.until_on),
    )
    return _of_cover("liandong.funds.v1.cover_renewed", cover, message, on)


def _shares(part: Part) -> list[events_pb2.SharePart]:
    """A part that is paid in part is said as two: what is paid and what is owed."""
    return [
        events_pb2.SharePart(
            party=part.party,
            institution_id=part.institution_id,
            amount_fen=amount,
            paid=paid,
            position=part.position,
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
    by_position = {part.position: part for part in case_file.parts}
    message = events_pb2.RecoveryShared(
        case_id=str(case_file.case.case_id),
        loan_id=str(case_file.case.loan_id),
        amount_fen=recovery.amount_fen - recovery.costs_fen - recovery.household_fen,
        recovery_id=str(recovery.recovery_id),
        source=recovery.source.value,
        recovered_fen=recovery.amount_fen,
        costs_fen=recovery.costs_fen,
        household_fen=recovery.household_fen,
        value_date=wire.date_to_proto(recovery.value_date),
        parts=[
            events_pb2.SharePart(
                party=by_position[position].party,
                institution_id=by_position[position].institution_id,
                amount_fen=amount,
                paid=True,
                position=position,
            )
            for position, amount in recovery.shares
        ],
    )
    return _of_case("liandong.funds.v1.recovery_shared", case_file, message, on)


def recovery_reversed(case: Case, recovery: Recovery, reason: str, on: date) -> OutgoingEvent:
    """The money that a recovery shared went back."""
    message = events_pb2.RecoveryReversed(
        case_id=str(case.case_id),
        loan_id=str(case.loan_id),
        recovery_id=str(recovery.recovery_id),
        amount_fen=recovery.amount_fen - recovery.costs_fen - recovery.household_fen,
        reason=reason,
    )
    return _of_case("liandong.funds.v1.recovery_reversed", CaseFile(case, ()), message, on)


def case_step_taken(case: Case, step: str, on: date) -> OutgoingEvent:
    """A step of a case was taken."""
    message = events_pb2.CaseStepTaken(
        case_id=str(case.case_id),
        loan_id=str(case.loan_id),
        lender_id=case.lender_id,
        step=step,
        state=case.state.value,
        code=case.code,
        due_on=wire.date_to_proto(case.due_on),
    )
    return _of_case("liandong.funds.v1.case_step_taken", CaseFile(case, ()), message, on)


def case_written_off(case: Case, amount_fen: Fen, on: date) -> OutgoingEvent:
    """The rest of a loss was given up."""
    message = events_pb2.CaseWrittenOff(
        case_id=str(case.case_id), loan_id=str(case.loan_id), amount_fen=amount_fen
    )
    return _of_case("liandong.funds.v1.case_written_off", CaseFile(case, ()), message, on)


def share_paid(part: Part, loan_id: UUID, amount_fen: int, on: date) -> OutgoingEvent:
    """What a party owed was paid, or must be paid again."""
    message = events_pb2.SharePaid(
        case_id=str(part.case_id),
        loan_id=str(loan_id),
        position=part.position,
        party=part.party,
        institution_id=part.institution_id,
        amount_fen=amount_fen,
        owed_fen=part.owed_fen,
    )
    return OutgoingEvent(
        event_type="liandong.funds.v1.share_paid",
        aggregate_type="funds.share",
        aggregate_id=f"{part.case_id}:{part.position}",
        sequence=part.version,
        county_code=part.county_code,
        message=message,
        business_date=on,
    )


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


# --- read back ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """An event as the outbox keeps it."""

    event_type: str
    aggregate_id: str
    on: date
    payload: bytes


def read_back(said: Said, moment: int) -> Item:
    """An event of ours as the history that it tells; the moment in milliseconds."""
    on, name, payload = said.on, said.event_type.rsplit(".", 1)[1], said.payload
    if name == "cover_reserved":
        given = events_pb2.CoverReserved.FromString(payload)
        loan, fund = UUID(given.loan_id), UUID(given.fund_id)
        return Asked(on, loan, Fen(given.covered_fen), fund, moment)
    if name == "cover_refused":
        no = events_pb2.CoverRefused.FromString(payload)
        return Asked(on, UUID(no.loan_id), Fen(no.asked_fen), None, moment)
    if name == "cover_released":
        freed = events_pb2.CoverReleased.FromString(payload)
        return Released(on, UUID(freed.loan_id), freed.reason)
    if name == "compensation_paid":
        return Paid(on, UUID(said.aggregate_id))
    if name == "recovery_shared":
        back = events_pb2.RecoveryShared.FromString(payload)
        return Back(
            on,
            UUID(back.case_id),
            UUID(back.recovery_id),
            Fen(back.recovered_fen),
            Fen(back.costs_fen),
            tuple((part.position, Fen(part.amount_fen)) for part in back.parts),
        )
    gone = events_pb2.RecoveryReversed.FromString(payload)
    return Gone(on, UUID(gone.case_id), UUID(gone.recovery_id))
