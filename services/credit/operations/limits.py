"""Credit: what lenders have lent, as loans tells it."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit.store import limits as store

Loan = tuple[UUID, UUID, str, str, int]
"""Loan, household, lender, programme, principal."""


async def take_approved(session: AsyncSession, county_code: str, loans: Sequence[Loan]) -> None:
    """Loans that were approved: committed until they are paid out or refused."""
    await store.put_commitments(session, county_code, loans)


async def take_refused(session: AsyncSession, county_code: str, loan_ids: Sequence[UUID]) -> None:
    """Loans that came to nothing."""
    await store.drop_commitments(session, county_code, loan_ids)


async def take_disbursed(session: AsyncSession, county_code: str, loans: Sequence[Loan]) -> None:
    """Loans that were paid out."""
    await store.put_draws(session, county_code, loans)


async def take_repaid(
    session: AsyncSession, county_code: str, principal: Sequence[tuple[UUID, int]]
) -> None:
    """Principal that was repaid."""
    await store.add_repaid(session, county_code, principal)


async def take_payouts(
    session: AsyncSession, county_code: str, parts: Sequence[tuple[UUID, UUID, int]]
) -> None:
    """Principal that insurance payouts took off loans."""
    await store.add_payout_parts(session, county_code, parts)


async def take_reversals(
    session: AsyncSession, county_code: str, payouts: Sequence[tuple[UUID, bool]]
) -> None:
    """Payouts that were undone, each with whether it is divided anew at once."""
    await store.reverse_payouts(session, county_code, payouts)


async def take_overdue(
    session: AsyncSession, county_code: str, loans: Sequence[tuple[UUID, date, bool]]
) -> None:
    """Loans that were overdue at a day close."""
    await store.note_overdue(session, county_code, loans)


async def take_breakers(
    session: AsyncSession, county_code: str, stops: Sequence[tuple[str, str, bool]]
) -> None:
    """Breakers that stop, or stop stopping, new grants."""
    await store.put_stops(session, county_code, stops)


async def take_settled(
    session: AsyncSession, county_code: str, loans: Sequence[tuple[UUID, date]]
) -> None:
    """Loans that are owed nothing any more."""
    await store.note_settled(session, county_code, loans)
