"""Loans: what it keeps of others' words alone, and so can be made again from them."""

from services.kernel.projections import Kept, Projection, chosen
from services.loans.events_in import handlers
from services.programmes.loader import Catalogue


def projection(catalogue: Catalogue) -> Projection:
    """Who may borrow and how much, who is listed, which payouts everybody has confirmed."""
    return Projection(
        noun="loans",
        kept=(
            # What a household is exposed to is the sum of our own loans.
            Kept("borrower", not_events=("exposure_fen",)),
            Kept("listing"),
            Kept("payout_confirmed"),
        ),
        handlers=chosen(
            handlers(catalogue),
            "liandong.households.v1.household_registered",
            "liandong.households.v1.household_changed",
            "liandong.households.v1.household_delisted",
            "liandong.households.v1.enterprise_registered",
            "liandong.credit.v1.household_listed",
            "liandong.credit.v1.household_released",
            "liandong.credit.v1.limit_granted",
            "liandong.credit.v1.limit_changed",
            "liandong.credit.v1.limit_expired",
            "liandong.claims.v1.payout_settled",
        ),
    )
