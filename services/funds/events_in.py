"""Funds: what this service hears. The table at the end is the whole list."""

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from liandong.claims.v1 import events_pb2 as claims
from liandong.loans.v1 import events_pb2 as loans
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import (
    Amounts,
    Cover,
    CoverState,
    Insured,
    Key,
    LoanPayment,
    Recovered,
    Source,
    Statement,
    TakenUp,
)
from services.funds.operations import accounts_lending as lending
from services.funds.operations import cover, recoveries, shared
from services.kernel import wire
from services.kernel.inbox import Handler, Handlers, Incoming
from services.kernel.money import Fen
from services.kernel.projections import Kept, Projection
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.schema.insurance import LOAN_LINKED


async def _days(session: AsyncSession, events: Sequence[Incoming[Any]]) -> dict[str, date]:
    said_on = {event.envelope.county_code: event.envelope.day for event in events}
    return await shared.days(session, said_on)


def _loans(events: Sequence[Incoming[Any]]) -> list[Key]:
    return [(event.envelope.county_code, UUID(event.message.loan_id)) for event in events]


def _keyed(events: Sequence[Incoming[Any]]) -> list[tuple[Key, Incoming[Any]]]:
    return list(zip(_loans(events), events, strict=True))


def _asked(event: Incoming[loans.CoverRequested]) -> Cover:
    return Cover(
        county_code=event.envelope.county_code,
        loan_id=UUID(event.message.loan_id),
        lender_id=event.message.lender_id,
        borrower_class=event.message.borrower_class,
        area_code=event.message.area_code,
        programme=event.envelope.programme,
        principal_fen=Fen(event.message.principal_fen),
        model_id="",
        fund_id=None,
        state=CoverState.ASKED,
        disbursed=False,
        version=0,
        borrower_id=_uuid(event.message.household_id),
        product_id=event.message.product_id,
        outlet_code=event.message.outlet_code,
    )


def _opened(event: Incoming[loans.LoanOpened]) -> Cover:
    """Cover of a loan that was lent before our books began: an opening entry."""
    return Cover(
        county_code=event.envelope.county_code,
        loan_id=UUID(event.message.loan_id),
        lender_id=event.message.lender_id,
        borrower_class=event.message.borrower_class,
        area_code=event.message.area_code,
        programme=event.envelope.programme,
        principal_fen=Fen(event.message.principal_fen),
        model_id="",
        fund_id=None,
        state=CoverState.ASKED,
        disbursed=True,
        version=0,
        borrower_id=_uuid(event.message.household_id),
        product_id=event.message.product_id,
        until_on=_date(event.message, "matures_on"),
        opening=True,
    )


def _uuid(text: str) -> UUID | None:
    return UUID(text) if text else None


def _date(message: Any, field: str) -> date | None:
    if not message.HasField(field):
        return None
    return wire.date_from_proto(field, getattr(message, field))


def _statement(event: Incoming[loans.LoanOverdue]) -> Statement:
    return Statement(
        county_code=event.envelope.county_code,
        loan_id=UUID(event.message.loan_id),
        loan_sequence=event.envelope.sequence,
        stated_on=event.envelope.day,
        overdue_days=event.message.overdue_days,
        non_performing=event.message.non_performing,
        owed=Amounts(Fen(event.message.principal_fen), Fen(event.message.interest_fen)),
    )


def _payment(
    event: Incoming[Any], paid: loans.LoanRepaid | loans.LenderPart, *, payout_id: str
) -> LoanPayment:
    return LoanPayment(
        county_code=event.envelope.county_code,
        loan_id=UUID(paid.loan_id),
        event_id=event.envelope.event_id,
        payout_id=payout_id,
        business_date=event.envelope.day,
        paid=Amounts(Fen(paid.principal_fen), Fen(paid.interest_fen)),
    )


def _repaid(event: Incoming[loans.LoanRepaid]) -> LoanPayment:
    """By how much less is owed, as a reversal takes back; events of before have the split only."""
    said, payment = event.message, _payment(event, event.message, payout_id="")
    if not said.HasField("principal_less_fen"):
        return payment
    return replace(payment, paid=Amounts(Fen(said.principal_less_fen), Fen(said.interest_less_fen)))


def _undone(event: Incoming[loans.RepaymentReversed]) -> LoanPayment:
    """What a repayment had paid is owed again from the day on which it was undone."""
    return LoanPayment(
        county_code=event.envelope.county_code,
        loan_id=UUID(event.message.loan_id),
        event_id=event.envelope.event_id,
        payout_id="",
        business_date=event.envelope.day,
        paid=Amounts(Fen(-event.message.principal_back_fen), Fen(-event.message.interest_back_fen)),
    )


def _repaid_back(event: Incoming[loans.LoanRepaid]) -> Recovered:
    """What the household paid its lender for those who had compensated it."""
    return Recovered(
        county_code=event.envelope.county_code,
        loan_id=UUID(event.message.loan_id),
        reference=str(event.message.number),
        amount_fen=Fen(event.message.subrogated_fen),
        source=Source.REPAYMENT,
        value_date=_date(event.message, "value_date"),
    )


def _was_too_much(said: loans.LoanRepaid) -> bool:
    """Whether the loan had less for those who paid than was shared of what was collected."""
    return bool(said.recovery_id) and said.subrogated_fen < said.amount_fen


def _taken_up(event: Incoming[loans.LoanRepaid]) -> TakenUp:
    return TakenUp(
        county_code=event.envelope.county_code,
        loan_id=UUID(event.message.loan_id),
        recovery_id=UUID(event.message.recovery_id),
        number=event.message.number,
        amount_fen=Fen(event.message.subrogated_fen),
    )


def _recovered(event: Incoming[claims.PayoutSettled]) -> list[Recovered]:
    return [
        Recovered(
            county_code=event.envelope.county_code,
            loan_id=UUID(part.loan_id),
            reference=event.message.payout_id,
            amount_fen=Fen(part.subrogated_fen),
        )
        for part in event.message.parts
        if part.subrogated_fen > 0
    ]


async def _released(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
    """A loan was refused or settled: its cover, if it had any, goes back."""
    await lending.nothing_owed(session, events)
    await cover.release_covers(session, _loans(events), await _days(session, events))


async def _loan_overdue(
    session: AsyncSession, events: Sequence[Incoming[loans.LoanOverdue]]
) -> None:
    await cover.keep_statements(session, [_statement(event) for event in events])


async def _loan_repaid(session: AsyncSession, events: Sequence[Incoming[loans.LoanRepaid]]) -> None:
    payments = [_repaid(event) for event in events]
    await lending.owes_now(session, events)
    await cover.keep_payments(session, payments)
    # What a recovery here had brought about was shared when it was recorded.
    back = [
        _repaid_back(event)
        for event in events
        if event.message.subrogated_fen and not event.message.recovery_id
    ]
    less = [_taken_up(event) for event in events if _was_too_much(event.message)]
    if not back and not less:
        return
    days = await _days(session, events)
    await recoveries.share_recoveries(session, back, days)
    if less:
        await recoveries.take_up(session, less, days)


async def _compensation_exceeded(
    session: AsyncSession, events: Sequence[Incoming[loans.CompensationExceeded]]
) -> None:
    """The lender has what was compensated and was never owed: it is theirs who paid."""
    back = [
        Recovered(
            county_code=event.envelope.county_code,
            loan_id=UUID(event.message.loan_id),
            # No posting's number: who undoes a repayment later owes it to the lender.
            reference=f"excess:{event.envelope.event_id}",
            amount_fen=Fen(event.message.excess_fen),
            source=Source.REPAYMENT,
            value_date=_date(event.message, "value_date"),
        )
        for event in events
    ]
    await recoveries.share_recoveries(session, back, await _days(session, events))


async def _repayment_reversed(
    session: AsyncSession, events: Sequence[Incoming[loans.RepaymentReversed]]
) -> None:
    await lending.owes_now(session, events)
    await cover.keep_payments(session, [_undone(event) for event in events])
    undone = [
        (
            event.envelope.county_code,
            UUID(event.message.loan_id),
            str(event.message.reversed_number),
        )
        for event in events
        if event.message.subrogated_fen
    ]
    await recoveries.undo_repayments(session, undone, await _days(session, events))


async def _standing(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
    """How loans stand: non-performing or not, their class, written off; the last word counts."""
    rows: dict[Key, tuple[str, UUID, bool | None, str | None, date | None]] = {}
    for event in events:
        said, name = event.message, event.envelope.event_type.rsplit(".", 1)[1]
        bad = {"loan_non_performing": True, "loan_performing": False}.get(name)
        tier = None if name == "loan_written_off" else said.five_tier_class
        written_off = event.envelope.day if name == "loan_written_off" else None
        key = (event.envelope.county_code, UUID(said.loan_id))
        rows[key] = (*key, bad, tier, written_off)
    await cover.keep_standing(session, list(rows.values()))


async def _written_off(
    session: AsyncSession, events: Sequence[Incoming[loans.LoanWrittenOff]]
) -> None:
    await lending.nothing_owed(session, events)
    await _standing(session, events)


def _insured(event: Incoming[claims.HouseholdInsured]) -> Insured:
    return Insured(
        county_code=event.envelope.county_code,
        loan_id=UUID(event.message.loan_id),
        cover_id=event.message.cover_id,
        insurer_id=event.message.insurer_id,
        sum_insured_fen=Fen(event.message.sum_insured_fen),
        from_on=_date(event.message, "from_date"),
        until_on=_date(event.message, "until_date"),
    )


async def _household_insured(
    session: AsyncSession, events: Sequence[Incoming[claims.HouseholdInsured]]
) -> None:
    """Insurance of the loan itself is a pot of its loss; all other covers are claims' own."""
    linked = [e for e in events if e.message.cover_kind in LOAN_LINKED and e.message.loan_id]
    await cover.keep_insured(session, [_insured(event) for event in linked])


async def _household_uninsured(
    session: AsyncSession, events: Sequence[Incoming[claims.HouseholdUninsured]]
) -> None:
    ended = [
        (
            event.envelope.county_code,
            UUID(event.message.loan_id),
            event.message.cover_id,
            _date(event.message, "last_day"),
        )
        for event in events
        if event.message.cover_kind in LOAN_LINKED and event.message.loan_id
    ]
    await cover.end_insured(session, ended)


async def _payout_allocated(
    session: AsyncSession, events: Sequence[Incoming[loans.PayoutAllocated]]
) -> None:
    payments = [
        _payment(event, part, payout_id=event.message.payout_id)
        for event in events
        for part in event.message.parts
    ]
    await lending.payout_allocated(session, events)
    await cover.keep_payments(session, payments)


async def _payout_allocation_reversed(
    session: AsyncSession, events: Sequence[Incoming[loans.PayoutAllocationReversed]]
) -> None:
    for event in events:
        county_code, payout_id = event.envelope.county_code, event.message.payout_id
        await lending.payout_undone(session, county_code, payout_id)
        await cover.undo_payout(
            session,
            county_code,
            payout_id,
            event_id=event.envelope.event_id,
            on=event.envelope.day,
        )


async def _breaker_tripped(
    session: AsyncSession, events: Sequence[Incoming[loans.BreakerTripped]]
) -> None:
    on = await _days(session, events)
    for event in events:
        if not any(effect in STOPPING for effect in event.message.effects):
            continue
        await cover.void_unused(
            session,
            event.envelope.county_code,
            scope=event.message.scope,
            scope_id=event.message.scope_id,
            on=on[event.envelope.county_code],
        )


async def _payout_settled(
    session: AsyncSession, events: Sequence[Incoming[claims.PayoutSettled]]
) -> None:
    recovered = [each for event in events for each in _recovered(event)]
    await recoveries.share_recoveries(session, recovered, await _days(session, events))


async def _payout_reversed(
    session: AsyncSession, events: Sequence[Incoming[claims.PayoutReversed]]
) -> None:
    """A settled payout was undone: what was shared of it goes back the way it came."""
    payouts = [
        (event.envelope.county_code, event.message.payout_id, event.message.reason)
        for event in events
    ]
    await recoveries.undo_payouts(session, payouts, await _days(session, events))


STOPPING = ("stop_grant", "stop_approve", "stop_draw", "stop_disburse")


def _renewal(key: Key, event: Incoming[Any]) -> cover.Renewal:
    """A loan's new term, and which loan it renews where it does."""
    return cover.Renewal(
        *key,
        until_on=_date(event.message, "matures_on"),
        renews=_uuid(getattr(event.message, "renewed_loan_id", "")),
    )


def _of_cover(catalogue: Catalogue) -> Handlers:
    """What is heard of cover, which needs the programmes."""

    async def cover_requested(
        session: AsyncSession, events: Sequence[Incoming[loans.CoverRequested]]
    ) -> None:
        wanted = [_asked(event) for event in events]
        on = await _days(session, events)
        await cover.reserve_covers(session, catalogue, wanted, on)

    async def loan_disbursed(
        session: AsyncSession, events: Sequence[Incoming[loans.LoanDisbursed]]
    ) -> None:
        await lending.loan_disbursed(session, events)
        on = await _days(session, events)
        until = {key: _date(event.message, "matures_on") for key, event in _keyed(events)}
        known = {key: day for key, day in until.items() if day is not None}
        await cover.mark_disbursed(session, catalogue, _loans(events), on, known)

    async def loan_drawn(
        session: AsyncSession, events: Sequence[Incoming[loans.LoanDrawn]]
    ) -> None:
        """A limit that something is drawn on is used: a trip no longer takes its cover."""
        await lending.loan_drawn(session, events)
        on = await _days(session, events)
        await cover.mark_disbursed(session, catalogue, _loans(events), on)

    async def loan_opened(
        session: AsyncSession, events: Sequence[Incoming[loans.LoanOpened]]
    ) -> None:
        await lending.loan_opened(session, events)
        on = await _days(session, events)
        wanted = [_opened(event) for event in events]
        await cover.open_covers(session, catalogue, wanted, on)

    async def loan_renewed(
        session: AsyncSession, events: Sequence[Incoming[loans.LoanRenewed]]
    ) -> None:
        await lending.loan_renewed(session, events)
        renewals = [_renewal(*each) for each in _keyed(events)]
        await cover.renew_covers(session, catalogue, renewals, await _days(session, events))

    async def loan_extended(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
        renewals = [_renewal(*each) for each in _keyed(events)]
        await cover.renew_covers(session, catalogue, renewals, await _days(session, events))

    async def loan_reopened(
        session: AsyncSession, events: Sequence[Incoming[loans.LoanReopened]]
    ) -> None:
        await lending.owes_now(session, events)
        on = await _days(session, events)
        await cover.reopen_covers(session, catalogue, _loans(events), on)

    return {
        "liandong.loans.v1.cover_requested": Handler(loans.CoverRequested, cover_requested),
        "liandong.loans.v1.loan_disbursed": Handler(loans.LoanDisbursed, loan_disbursed),
        "liandong.loans.v1.loan_opened": Handler(loans.LoanOpened, loan_opened),
        "liandong.loans.v1.loan_drawn": Handler(loans.LoanDrawn, loan_drawn),
        "liandong.loans.v1.loan_renewed": Handler(loans.LoanRenewed, loan_renewed),
        "liandong.loans.v1.loan_extended": Handler(loans.LoanExtended, loan_extended),
        "liandong.loans.v1.loan_restructured": Handler(loans.LoanRestructured, loan_extended),
        "liandong.loans.v1.loan_reopened": Handler(loans.LoanReopened, loan_reopened),
    }


def handlers(catalogue: Catalogue) -> Handlers:
    """What is heard, and by which function."""
    return {
        **_of_cover(catalogue),
        "liandong.loans.v1.loan_refused": Handler(loans.LoanRefused, _released),
        "liandong.loans.v1.loan_overdue": Handler(loans.LoanOverdue, _loan_overdue),
        "liandong.loans.v1.loan_repaid": Handler(loans.LoanRepaid, _loan_repaid),
        "liandong.loans.v1.payout_allocated": Handler(loans.PayoutAllocated, _payout_allocated),
        "liandong.loans.v1.payout_allocation_reversed": Handler(
            loans.PayoutAllocationReversed, _payout_allocation_reversed
        ),
        "liandong.loans.v1.loan_settled": Handler(loans.LoanSettled, _released),
        "liandong.loans.v1.breaker_tripped": Handler(loans.BreakerTripped, _breaker_tripped),
        "liandong.loans.v1.repayment_reversed": Handler(
            loans.RepaymentReversed, _repayment_reversed
        ),
        "liandong.loans.v1.compensation_exceeded": Handler(
            loans.CompensationExceeded, _compensation_exceeded
        ),
        "liandong.loans.v1.loan_non_performing": Handler(loans.LoanNonPerforming, _standing),
        "liandong.loans.v1.loan_performing": Handler(loans.LoanPerforming, _standing),
        "liandong.loans.v1.loan_reclassified": Handler(loans.LoanReclassified, _standing),
        "liandong.loans.v1.loan_written_off": Handler(loans.LoanWrittenOff, _written_off),
        "liandong.loans.v1.loan_applied": Handler(loans.LoanApplied, lending.loan_applied),
        "liandong.claims.v1.line_result": Handler(claims.LineResult, lending.line_result),
        "liandong.claims.v1.payout_settled": Handler(claims.PayoutSettled, _payout_settled),
        "liandong.claims.v1.payout_reversed": Handler(claims.PayoutReversed, _payout_reversed),
        "liandong.claims.v1.household_insured": Handler(
            claims.HouseholdInsured, _household_insured
        ),
        "liandong.claims.v1.household_uninsured": Handler(
            claims.HouseholdUninsured, _household_uninsured
        ),
    }


def copying(catalogue: Catalogue) -> Handlers:
    """Those that keep what others said, as far as they do; covers and recoveries are our own."""
    heard = handlers(catalogue)
    whole = (
        "liandong.loans.v1.loan_applied",
        "liandong.loans.v1.loan_overdue",
        "liandong.loans.v1.loan_repaid",
        "liandong.loans.v1.repayment_reversed",
        "liandong.loans.v1.payout_allocated",
        "liandong.loans.v1.payout_allocation_reversed",
        "liandong.claims.v1.line_result",
        "liandong.claims.v1.household_insured",
        "liandong.claims.v1.household_uninsured",
    )
    return {
        **{event_type: heard[event_type] for event_type in whole},
        "liandong.loans.v1.loan_disbursed": Handler(loans.LoanDisbursed, lending.loan_disbursed),
        "liandong.loans.v1.loan_drawn": Handler(loans.LoanDrawn, lending.loan_drawn),
        "liandong.loans.v1.loan_opened": Handler(loans.LoanOpened, lending.loan_opened),
        "liandong.loans.v1.loan_renewed": Handler(loans.LoanRenewed, lending.loan_renewed),
        "liandong.loans.v1.loan_reopened": Handler(loans.LoanReopened, lending.owes_now),
        "liandong.loans.v1.loan_refused": Handler(loans.LoanRefused, lending.nothing_owed),
        "liandong.loans.v1.loan_settled": Handler(loans.LoanSettled, lending.nothing_owed),
        "liandong.loans.v1.loan_written_off": Handler(loans.LoanWrittenOff, lending.nothing_owed),
    }


def projection(catalogue: Catalogue) -> Projection:
    """What lenders have lent and are owed, and what insurers of the loans themselves bear."""
    return Projection(
        noun="funds",
        kept=(
            Kept("lent_loan"),
            Kept("lent_amount"),
            Kept("loan_insurance"),
            Kept("loan_statement"),
            Kept("loan_payment"),
            # What was paid for a line is our own doing.
            Kept("line_result", not_events=("compensated_fen",)),
        ),
        handlers=copying(catalogue),
        # Statements and payments are kept of covered loans only.
        given=("cover",),
    )
