"""Loans: what is read. Nothing here writes."""

from dataclasses import dataclass
from datetime import date

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.loans.model import Loan, LoanState
from services.loans.rules import balance
from services.programmes.loader import Catalogue


@dataclass(frozen=True, slots=True)
class Payoff:
    """What settles a loan on a day, and what the treasury owes beside it (S08)."""

    principal_fen: Fen
    interest_fen: Fen
    subsidised_interest_fen: Fen
    working: str


def payoff(loan: Loan, on: date, catalogue: Catalogue) -> Payoff:
    """The quote; refused for a loan that is not owed or a day before the last posting."""
    if loan.state is not LoanState.ACTIVE or loan.interest is None:
        raise Refused("LOAN_NOT_ACTIVE", f"the loan is {loan.state}", message_zh="贷款未在还款期")
    through = loan.interest.accrued_through
    if on < through:
        raise Refused(
            "VALUE_DATE_OUT_OF_RANGE",
            f"{on} is before {through}, the last day that was posted",
            message_zh="起息日超出范围",
        )
    terms = catalogue.terms(loan.county_code, loan.programme)
    accrued = balance.accrue(loan, on, terms.loans.day_basis)
    assert accrued.interest is not None
    owed = accrued.interest.owed_fen
    treasury = accrued.interest.treasury_posted_fen
    days = (on - through).days
    working = (
        f"{loan.outstanding_fen} × {loan.rate_ppm} ppm × {days}/{terms.loans.day_basis} since "
        f"{through}; the household owes {owed} fen of interest, the treasury {treasury}"
    )
    return Payoff(loan.outstanding_fen, owed, treasury, working)
