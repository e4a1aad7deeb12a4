"""Funds: what it keeps of others' words alone, and so can be made again from them."""

from liandong.loans.v1 import events_pb2 as loans

from services.funds.events_in import handlers
from services.funds.operations import accounts_lending as lending
from services.kernel.inbox import Handler
from services.kernel.projections import Kept, Projection, chosen
from services.programmes.loader import Catalogue


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
        handlers={
            **chosen(
                handlers(catalogue),
                "liandong.loans.v1.loan_applied",
                "liandong.loans.v1.loan_overdue",
                "liandong.loans.v1.loan_repaid",
                "liandong.loans.v1.repayment_reversed",
                "liandong.loans.v1.payout_allocated",
                "liandong.loans.v1.payout_allocation_reversed",
                "liandong.claims.v1.line_result",
                "liandong.claims.v1.household_insured",
                "liandong.claims.v1.household_uninsured",
            ),
            # Of these only what is owed; what they do to covers is decided here, not copied.
            "liandong.loans.v1.loan_disbursed": Handler(
                loans.LoanDisbursed, lending.loan_disbursed
            ),
            "liandong.loans.v1.loan_drawn": Handler(loans.LoanDrawn, lending.loan_drawn),
            "liandong.loans.v1.loan_opened": Handler(loans.LoanOpened, lending.loan_opened),
            "liandong.loans.v1.loan_renewed": Handler(loans.LoanRenewed, lending.loan_renewed),
            "liandong.loans.v1.loan_reopened": Handler(loans.LoanReopened, lending.owed_again),
            "liandong.loans.v1.loan_refused": Handler(loans.LoanRefused, lending.nothing_owed),
            "liandong.loans.v1.loan_settled": Handler(loans.LoanSettled, lending.nothing_owed),
            "liandong.loans.v1.loan_written_off": Handler(
                loans.LoanWrittenOff, lending.nothing_owed
            ),
        },
        # Statements and payments are kept of covered loans only.
        given=("cover",),
    )
