"""Claims: what others said is kept: where households are, which loans are closed."""

from collections.abc import Sequence
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import ApprovedLoan, ClosedLoan, Debt, Household
from services.claims.store import others as store
from services.claims.store import payments


async def keep_households(session: AsyncSession, households: Sequence[Household]) -> None:
    """Keep what households says."""
    await store.save_households(session, households)


async def delist_households(session: AsyncSession, households: Sequence[tuple[str, UUID]]) -> None:
    """Note which households are off the file."""
    await store.save_status(session, households, "delisted")


async def open_loans(session: AsyncSession, loans: Sequence[ApprovedLoan]) -> None:
    """Keep loans that were taken over at cut-over; they join no list by themselves."""
    await store.add_loans(session, loans)


async def keep_debts(session: AsyncSession, debts: Sequence[Debt]) -> None:
    """Keep what loans says that households owe: quotes are made of it."""
    await payments.put_debts(session, debts)


async def reopen_loans(session: AsyncSession, loans: Sequence[tuple[str, UUID]]) -> None:
    """Something is owed again: later payouts settle it first."""
    await payments.reopen_loans(session, loans)


async def close_loans(session: AsyncSession, closed: Sequence[ClosedLoan]) -> None:
    """Note which loans are closed: a later payout still goes to loans, which gives it all on."""
    await store.close_loans(session, closed)
