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
    Key,
    LoanPayment,
    Recovered,
    Statement,
)
from services.funds.operations import cases, cover, shared
from services.kernel.inbox import Handler, Handlers, Incoming
from services.kernel.money import Fen
from services.programmes.loader import Catalogue


async def _days(session: AsyncSession, events: Sequence[Incoming[Any]]) -> dict[str, date]:
    said_on = {event.envelope.county_code: event.envelope.day for event in events}
    return await shared.days(session, said_on)


def _loans(events: Sequence[Incoming[Any]]) -> list[Key]:
    return [(event.envelope.county_code, UUID(event.message.loan_id)) for event in events]


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
    )


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


def _recovered(event: Incoming[claims.PayoutSettled]) -> list[Recovered]:
    return [
        Recovered(
            county_code=event.envelope.county_code,
            loan_id=UUID(part.loan_id),
            payout_id=event.message.payout_id,
            amount_fen=Fen(part.subrogated_fen),
        )
        for part in event.message.parts
        if part.subrogated_fen > 0
    ]


async def _released(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
    """A loan was refused or settled: its cover, if it had any, goes back."""
    await cover.release_covers(session, _loans(events), await _days(session, events))


async def _loan_overdue(
    session: AsyncSession, events: Sequence[Incoming[loans.LoanOverdue]]
) -> None:
    await cover.keep_statements(session, [_statement(event) for event in events])


async def _loan_repaid(session: AsyncSession, events: Sequence[Incoming[loans.LoanRepaid]]) -> None:
    payments = [_payment(event, event.message, payout_id="") for event in events]
    await cover.keep_payments(session, payments)


async def _payout_allocated(
    session: AsyncSession, events: Sequence[Incoming[loans.PayoutAllocated]]
) -> None:
    payments = [
        _payment(event, part, payout_id=event.message.payout_id)
        for event in events
        for part in event.message.parts
    ]
    await cover.keep_payments(session, payments)


async def _payout_allocation_reversed(
    session: AsyncSession, events: Sequence[Incoming[loans.PayoutAllocationReversed]]
) -> None:
    for event in events:
        await cover.undo_payout(
            session,
            event.envelope.county_code,
            event.message.payout_id,
            event_id=event.envelope.event_id,
            on=event.envelope.day,
        )


async def _breaker_tripped(
    session: AsyncSession, events: Sequence[Incoming[loans.BreakerTripped]]
) -> None:
    on = await _days(session, events)
    for event in events:
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
    await cases.share_recoveries(session, recovered, await _days(session, events))


def handlers(catalogue: Catalogue) -> Handlers:
    """What is heard, and by which function."""

    async def cover_requested(
        session: AsyncSession, events: Sequence[Incoming[loans.CoverRequested]]
    ) -> None:
        wanted = [_asked(event) for event in events]
        on = await _days(session, events)
        await cover.reserve_covers(session, catalogue, wanted, on)

    async def loan_disbursed(
        session: AsyncSession, events: Sequence[Incoming[loans.LoanDisbursed]]
    ) -> None:
        on = await _days(session, events)
        await cover.mark_disbursed(session, catalogue, _loans(events), on)

    async def loan_reopened(
        session: AsyncSession, events: Sequence[Incoming[loans.LoanReopened]]
    ) -> None:
        on = await _days(session, events)
        await cover.cover_again(session, catalogue, _loans(events), on)

    return {
        "liandong.loans.v1.cover_requested": Handler(loans.CoverRequested, cover_requested),
        "liandong.loans.v1.loan_refused": Handler(loans.LoanRefused, _released),
        "liandong.loans.v1.loan_disbursed": Handler(loans.LoanDisbursed, loan_disbursed),
        "liandong.loans.v1.loan_overdue": Handler(loans.LoanOverdue, _loan_overdue),
        "liandong.loans.v1.loan_repaid": Handler(loans.LoanRepaid, _loan_repaid),
        "liandong.loans.v1.payout_allocated": Handler(loans.PayoutAllocated, _payout_allocated),
        "liandong.loans.v1.payout_allocation_reversed": Handler(
            loans.PayoutAllocationReversed, _payout_allocation_reversed
        ),
        "liandong.loans.v1.loan_settled": Handler(loans.LoanSettled, _released),
        "liandong.loans.v1.loan_reopened": Handler(loans.LoanReopened, loan_reopened),
        "liandong.loans.v1.breaker_tripped": Handler(loans.BreakerTripped, _breaker_tripped),
        "liandong.claims.v1.payout_settled": Handler(claims.PayoutSettled, _payout_settled),
    }
