"""Credit: what it keeps of others' words alone, and so can be made again from them."""

from services.credit.events_in import handlers
from services.kernel.projections import Kept, Projection, chosen
from services.programmes.loader import Catalogue


def projection(catalogue: Catalogue) -> Projection:
    """What was lent on limits, what payouts took off it, and where lending is stopped."""
    return Projection(
        noun="credit",
        kept=(Kept("exposure"), Kept("exposure_payout"), Kept("stop")),
        handlers=chosen(
            handlers(catalogue),
            "liandong.loans.v1.loan_approved",
            "liandong.loans.v1.loan_refused",
            "liandong.loans.v1.loan_disbursed",
            "liandong.loans.v1.loan_repaid",
            "liandong.loans.v1.loan_overdue",
            "liandong.loans.v1.loan_settled",
            "liandong.loans.v1.breaker_tripped",
            "liandong.loans.v1.breaker_reset",
            "liandong.loans.v1.payout_allocated",
            "liandong.loans.v1.payout_allocation_reversed",
        ),
    )
