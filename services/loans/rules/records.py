"""Loans: what a list of loans is held against: a loan as it stood at the end of a day. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from services.kernel.errors import invalid_field
from services.kernel.money import Fen
from services.kernel.statements import (
    Cause,
    Difference,
    Field,
    Kind,
    Line,
    Record,
    Statement,
    of_cells,
    within,
)
from services.kernel.values import replace
from services.loans.model import Loan, LoanState
from services.loans.rules import balance, book, position
from services.loans.rules.book import Posting, PostingKind
from services.loans.rules.schedule import Plan
from services.programmes import delinquency
from services.programmes.terms import Terms

OTHER_LENDER: Final = "another"
"""What a lender is told of a loan that is not its own."""

FIELDS: Final = (
    Field("lender_id", Cause.WRONG_LENDER),
    Field("household_id", Cause.BORROWER),
    Field("area_code", Cause.VILLAGE, same=within),
    Field("product_id", Cause.PRODUCT),
    Field("purpose", Cause.PURPOSE),
    Field("principal_fen", Cause.PRINCIPAL, is_money=True),
    Field("outstanding_fen", Cause.OUTSTANDING, is_money=True),
    Field("interest_fen", Cause.INTEREST, is_money=True),
    Field("rate_ppm", Cause.RATE),
    Field("term_months", Cause.TERM),
    Field("disbursed_on", Cause.DISBURSED_ON),
    Field("matures_on", Cause.MATURES_ON),
    Field("state", Cause.STATE),
    Field("five_tier_class", Cause.CLASS),
    Field("overdue_days", Cause.OVERDUE_DAYS),
    Field("subsidised", Cause.SUBSIDY),
)

MONEY: Final = frozenset(
    {
        Cause.MISSING_HERE,
        Cause.MISSING_THERE,
        Cause.DOUBLED,
        Cause.WRONG_LENDER,
        Cause.BORROWER,
        Cause.PRINCIPAL,
        Cause.OUTSTANDING,
        Cause.INTEREST,
        Cause.RATE,
        Cause.STATE,
        Cause.SUBSIDY,
    }
)
"""Differences by which somebody has or owes more than the other side says."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A loan with what is needed to say how it stood on a day."""

    loan: Loan
    class_then: str
    """The class that was said of it last by then."""
    postings: Sequence[Posting] | None
    """Its book, where something happened to it after the day; None: the loan as it is tells."""
    agreed: Plan | None = None


def parts(line: Line, record: Record) -> Sequence[Difference]:
    """Where a line of a list and our loan part."""
    return of_cells(line, record, FIELDS)


def check_line(statement: Statement, line: Line) -> None:
    """Refuse a line of another lender, and one that does not say whose it is."""
    named = line.cells["lender_id"]
    if statement.kind is Kind.OWN and named != statement.institution_id:
        raise invalid_field(
            "LINE_OF_ANOTHER_LENDER",
            "lender_id",
            named,
            f"must be {statement.institution_id}, whose list it is",
            "该行属于其他承贷机构",
        )
    if not named:
        raise invalid_field(
            "LENDER_MISSING", "lender_id", "", "must be named in a national list", "须注明承贷机构"
        )


def on_day(shelf: Shelf, terms: Terms, day: date) -> Loan:
    """A loan as it stood at the end of a day; it had been paid out by then."""
    loan = replace(shelf.loan, five_tier_class=shelf.class_then)
    if shelf.postings is None:
        then = balance.accrue(loan, day, terms.loans.day_basis)
        due = then.next_due_on
    else:
        known = [each for each in shelf.postings if each.value_date <= day]
        counted = book.counting(known)
        if not counted:
            return replace(loan, state=LoanState.APPROVED, outstanding_fen=Fen(0))
        terms_of = position.book_terms(loan, terms)
        replayed = book.replay(terms_of, known, day)
        off = any(each.kind is PostingKind.WRITE_OFF for each in counted)
        began = LoanState.WRITTEN_OFF if off else LoanState.ACTIVE
        then = position.with_position(replace(loan, state=began), replayed.position)
        due = position.next_due(then, terms_of, known, day, shelf.agreed)
    late = then.state is LoanState.ACTIVE and due is not None and due < day
    days = delinquency.overdue_days(due, day) if late and due is not None else 0
    return replace(then, overdue_days=days)


def record_of(shelf: Shelf, terms: Terms, statement: Statement) -> Record:
    """What a list of a day is held against; of another lender's loan its lender learns nothing."""
    loan, day = shelf.loan, statement.as_of
    own = statement.kind is Kind.NATIONAL or loan.lender_id == statement.institution_id
    if not own:
        return Record(str(loan.loan_id), {"lender_id": OTHER_LENDER}, expected=False)
    cells = {
        "lender_id": loan.lender_id,
        "household_id": str(loan.household_id),
        "area_code": loan.area_code,
        "product_id": loan.product_id,
        "purpose": loan.purpose,
        "principal_fen": str(loan.principal_fen),
        "term_months": str(loan.term_months),
    }
    if loan.disbursed_on is None or loan.disbursed_on > day:
        state = LoanState.APPROVED if loan.disbursed_on else loan.state
        return Record(str(loan.loan_id), {**cells, "state": str(state)}, expected=False)
    then = on_day(shelf, terms, day)
    stopped = loan.subsidy_ended_on is not None and loan.subsidy_ended_on <= day
    assert then.matures_on is not None
    return Record(
        str(loan.loan_id),
        {
            **cells,
            "outstanding_fen": str(then.outstanding_fen),
            "interest_fen": str(then.interest.owed_fen if then.interest else 0),
            "rate_ppm": str(then.rate_ppm),
            "disbursed_on": str(loan.disbursed_on),
            "matures_on": str(then.matures_on),
            "state": str(then.state),
            "five_tier_class": then.five_tier_class,
            "overdue_days": str(then.overdue_days),
            "subsidised": "yes" if loan.subsidised and not stopped else "no",
        },
        expected=then.state is LoanState.ACTIVE,
    )
