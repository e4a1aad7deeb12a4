"""Loans: what is read. Nothing here writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.loans.model import Loan
from services.loans.rules import book, position
from services.loans.rules.book import Line, Posting
from services.programmes.loader import Catalogue


@dataclass(frozen=True, slots=True)
class Payoff:
    """What settles a loan on a day, and what the treasury owes beside it (S08)."""

    principal_fen: Fen
    interest_fen: Fen
    subsidised_interest_fen: Fen
    working: str


def payoff(loan: Loan, postings: Sequence[Posting], on: date, catalogue: Catalogue) -> Payoff:
    """The quote for any day since the loan was paid out, from its book as it stands."""
    if loan.disbursed_on is None:
        raise Refused("LOAN_NOT_ACTIVE", f"the loan is {loan.state}", message_zh="贷款未在还款期")
    # A loan that was taken over has no book here before that day.
    begun = max([loan.disbursed_on, *(posting.value_date for posting in postings[:1])])
    if on < begun:
        raise Refused(
            "VALUE_DATE_OUT_OF_RANGE",
            f"{on} is before {begun}, when the loan was paid out or taken over",
            message_zh="起息日超出范围",
        )
    terms = position.book_terms(loan, catalogue.terms(loan.county_code, loan.programme))
    known = [each for each in postings if each.value_date <= on]
    held = book.replay(terms, known, on).position
    working = "; ".join(
        [
            f"{held.outstanding_fen} fen at {held.rate_ppm} ppm, days/{terms.day_basis}",
            f"charged to the household {held.household_posted_fen}, owed {held.owed_fen}",
            f"borne by the treasury {held.treasury_posted_fen} fen",
        ]
    )
    return Payoff(held.outstanding_fen, held.owed_fen, held.treasury_posted_fen, working)


def statement(
    loan: Loan, postings: Sequence[Posting], catalogue: Catalogue
) -> list[tuple[Posting, Line | None]]:
    """Every posting in order of booking, with what it took; None for those that do not count."""
    if not book.counting(postings):
        return [(posting, None) for posting in postings]
    terms = position.book_terms(loan, catalogue.terms(loan.county_code, loan.programme))
    through = max(posting.value_date for posting in postings)
    lines = {line.posting.number: line for line in book.replay(terms, postings, through).lines}
    return [(posting, lines.get(posting.number)) for posting in postings]
