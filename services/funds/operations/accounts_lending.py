"""Funds: what is heard of every loan, covered or not, and of insurers' lines."""

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import Key
from services.funds.rules.accounts_values import LineResult
from services.funds.store import accounts as store
from services.funds.store import accounts_lending as lending
from services.funds.store.accounts_lending import Lent, LoanFacts
from services.kernel.inbox import Incoming
from services.kernel.money import Fen


def _key(event: Incoming[Any]) -> Key:
    return event.envelope.county_code, UUID(event.message.loan_id)


def _programme(event: Incoming[Any]) -> str:
    return str(event.envelope.programme).partition("@")[0]


def _facts(event: Incoming[Any]) -> LoanFacts:
    message = event.message
    return LoanFacts(
        *_key(event),
        programme_id=_programme(event),
        lender_id=message.lender_id,
        household_id=message.household_id,
        area_code=getattr(message, "area_code", ""),
        product_id=getattr(message, "product_id", ""),
    )


def _lent(event: Incoming[Any], amount_fen: int, on: Any) -> Lent:
    return Lent(
        county_code=event.envelope.county_code,
        event_id=event.envelope.event_id,
        loan_id=UUID(event.message.loan_id),
        programme_id=_programme(event),
        lender_id=event.message.lender_id,
        amount_fen=amount_fen,
        lent_on=date(on.year, on.month, on.day) if on.year else event.envelope.day,
    )


async def loan_applied(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
    """Where a borrower lives and which product it wants."""
    await lending.note_loans(session, [_facts(event) for event in events])


async def loan_disbursed(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
    """Money went out."""
    await lending.note_loans(session, [_facts(event) for event in events])
    await lending.add_lent(
        session, [_lent(e, e.message.principal_fen, e.message.disbursed_on) for e in events]
    )
    await lending.change_outstanding(session, [(_key(e), e.message.principal_fen) for e in events])


async def loan_drawn(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
    """More money went out."""
    await lending.note_loans(session, [_facts(event) for event in events])
    await lending.add_lent(
        session, [_lent(e, e.message.amount_fen, e.message.drawn_on) for e in events]
    )
    await lending.set_outstanding(session, [(_key(e), e.message.outstanding_fen) for e in events])


async def loan_opened(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
    """A loan of the time before came into the books."""
    await lending.note_loans(session, [_facts(event) for event in events])
    await lending.add_lent(
        session, [_lent(e, e.message.principal_fen, e.message.disbursed_on) for e in events]
    )
    await lending.set_outstanding(session, [(_key(e), e.message.outstanding_fen) for e in events])


async def loan_renewed(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
    """A new loan carries an old one's principal; no money went out."""
    for event in events:
        message = event.message
        pair = (UUID(message.loan_id), UUID(message.renewed_loan_id), message.principal_fen)
        await lending.renew(session, event.envelope.county_code, [pair])


async def owes_now(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
    """A repayment was posted or undone, or a settled loan reopened: what is owed was said."""
    await lending.set_outstanding(session, [(_key(e), e.message.outstanding_fen) for e in events])


async def nothing_owed(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
    """A loan was settled or written off."""
    await lending.set_outstanding(session, [(_key(event), 0) for event in events])


async def payout_allocated(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
    """An insurance payout lowered loans."""
    await lending.change_outstanding(
        session,
        [
            ((event.envelope.county_code, UUID(part.loan_id)), -part.principal_fen)
            for event in events
            for part in event.message.parts
        ],
    )


async def payout_undone(session: AsyncSession, county_code: str, payout_id: str) -> None:
    """A payout was taken back: its loans owe again; asked before the payment is undone."""
    back = await lending.paid_by_payout(session, county_code, payout_id)
    await lending.change_outstanding(
        session, [((county_code, loan_id), amount) for loan_id, amount in back]
    )


async def line_result(session: AsyncSession, events: Sequence[Incoming[Any]]) -> None:
    """What an insurer's line came to; a second word on it replaces the first."""
    await store.keep_line_results(
        session,
        [
            LineResult(
                county_code=event.envelope.county_code,
                line_id=event.message.line_id,
                insurer_id=event.message.insurer_id,
                programme_id=getattr(event.message, "programme_id", "") or _programme(event),
                premium_fen=Fen(event.message.premium_fen),
                payouts_fen=Fen(event.message.payouts_fen),
                compensated_fen=Fen(0),
                said_on=event.envelope.day,
            )
            for event in events
        ],
    )
