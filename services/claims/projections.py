"""Claims: what it keeps of others' words alone, and so can be made again from them."""

from collections.abc import Sequence

from liandong.loans.v1 import events_pb2 as loans
from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.events_in import handlers, keep_parts_owed
from services.kernel.inbox import Handler, Incoming
from services.kernel.projections import Kept, Projection, chosen
from services.programmes.loader import Catalogue


async def _allocated(
    session: AsyncSession, events: Sequence[Incoming[loans.PayoutAllocated]]
) -> None:
    # Only what loans are owed then; the payout that is divided is our own.
    await keep_parts_owed(session, events)


def projection(catalogue: Catalogue) -> Projection:
    """Where households are and are paid, which loans there are, and what is owed on them."""
    heard = handlers(catalogue)
    return Projection(
        noun="claims",
        kept=(Kept("household"), Kept("loan"), Kept("loan_debt"), Kept("payee_account")),
        handlers={
            **chosen(heard, *(set(heard) - {"liandong.loans.v1.payout_allocated"})),
            "liandong.loans.v1.payout_allocated": Handler(loans.PayoutAllocated, _allocated),
        },
    )
