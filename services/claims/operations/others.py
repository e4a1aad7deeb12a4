"""Claims: what others said is kept: where households are, which loans are closed."""

from collections.abc import Sequence
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import ApprovedLoan, ClosedLoan, Household
from services.claims.store import others as store


async def keep_households(session: AsyncSession, households: Sequence[Household]) -> None:
    """Keep what households says."""
    await store.save_households(session, households)


async def delist_households(session: AsyncSession, households: Sequence[tuple[str, UUID]]) -> None:
    """Note which households are off the file."""
    await store.save_status(session, households, "delisted")


async def open_loans(session: AsyncSession, loans: Sequence[ApprovedLoan]) -> None:
    """Keep loans that were taken over at cut-over; they join no list by themselves."""
    await store.add_loans(session, loans)


async def close_loans(session: AsyncSession, closed: Sequence[ClosedLoan]) -> None:
    """Note which loans are closed: a later payout still goes to loans, which gives it all on."""
    await store.close_loans(session, closed)
