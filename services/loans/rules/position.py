"""Loans: between a loan as it is stored and its book. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from services.kernel.money import Fen
from services.loans.model import Interest, Loan, LoanState
from services.loans.rules import book, schedule
from services.loans.rules.book import BookTerms, Position, Posting, PostingKind, Replayed
from services.programmes import settlement
from services.programmes.terms import Terms

NOTHING = Fen(0)

BORNE_BY_PAYER = frozenset({PostingKind.REPAYMENT, PostingKind.PAYOUT, PostingKind.DISCOUNT})


def book_terms(loan: Loan, terms: Terms) -> BookTerms:
    """What the loan's contract fixed for its book."""
    return BookTerms(
        day_basis=terms.loans.day_basis,
        order=settlement.appropriation(terms.loans.appropriation_order),
        subsidised=loan.subsidised,
    )


def position_of(loan: Loan) -> Position:
    """A loan's book as the loan has it; the loan has been paid out."""
    held = loan.interest
    assert held is not None
    return Position(
        accrued_through=held.accrued_through,
        rate_ppm=loan.rate_ppm,
        outstanding_fen=loan.outstanding_fen,
        household_numerator=held.household_numerator,
        household_posted_fen=held.household_posted_fen,
        treasury_numerator=held.treasury_numerator,
        treasury_posted_fen=held.treasury_posted_fen,
        owed_fen=held.owed_fen,
        suspense_fen=loan.suspense_fen,
        subsidised=loan.subsidised and loan.non_performing_on is None,
    )


def with_position(loan: Loan, position: Position) -> Loan:
    """The loan with another position of its book, settled or owed again as that has it."""
    settled = position.outstanding_fen == 0 and position.owed_fen == 0
    state = loan.state
    if state in (LoanState.ACTIVE, LoanState.SETTLED):
        state = LoanState.SETTLED if settled else LoanState.ACTIVE
    return replace(
        loan,
        state=state,
        rate_ppm=position.rate_ppm,
        outstanding_fen=position.outstanding_fen,
        suspense_fen=position.suspense_fen,
        overdue_days=0 if settled else loan.overdue_days,
        interest=Interest(
            accrued_through=position.accrued_through,
            household_numerator=position.household_numerator,
            household_posted_fen=position.household_posted_fen,
            treasury_numerator=position.treasury_numerator,
            treasury_posted_fen=position.treasury_posted_fen,
            owed_fen=position.owed_fen,
        ),
    )


def instalments(loan: Loan) -> tuple[schedule.Instalment, ...]:
    """What was agreed to fall due, from the first disbursement on."""
    assert loan.disbursed_on is not None
    return schedule.plan(
        loan.principal_fen,
        rate_ppm=loan.rate_ppm,
        start=loan.disbursed_on,
        term_months=loan.term_months,
        method=schedule.Method(loan.method),
    )


def next_due(
    loan: Loan, terms: BookTerms, postings: Sequence[Posting], through: date
) -> date | None:
    """
    The first agreed day whose principal and interest are not paid in full, past or coming.

    Interest counts as the book had charged it by that day; early money counts ahead. Of equal
    instalments it is the sum that counts; the last one evens out.
    """
    if loan.state is not LoanState.ACTIVE:
        return None
    replayed = book.replay(terms, postings, through)
    paid = book.totals(replayed.lines, BORNE_BY_PAYER)
    agreed, begun, ahead = _agreed(loan, replayed)
    principal = total = 0
    # While the treasury bears the interest there is no sum of both: the principal alone is owed.
    level = loan.method == schedule.Method.EQUAL_INSTALMENT and not loan.subsidised
    for instalment in agreed:
        principal += instalment.principal_fen
        total += instalment.total_fen
        if instalment.due_on > through:
            return instalment.due_on
        if level and instalment.due_on != loan.matures_on:
            # The agreed sum is owed, however its parts fall by the days of a month.
            if paid.total_fen + ahead < total:
                return instalment.due_on
            continue
        if paid.principal_fen + ahead < principal:
            return instalment.due_on
        if paid.interest_fen < charged_by(terms, postings, max(instalment.due_on, begun)):
            return instalment.due_on
    return loan.matures_on


def _agreed(loan: Loan, replayed: Replayed) -> tuple[Sequence[schedule.Instalment], date, int]:
    """
    What was agreed and not paid before our book, the day on which that begins, what was paid ahead.

    Interest that was owed at an opening belongs to the oldest day that was not paid then.
    """
    planned = instalments(loan)
    first = replayed.lines[0].posting
    if first.kind is not PostingKind.OPENING or not first.reference:
        return planned, date.min, 0
    oldest = date.fromisoformat(first.reference)
    left = [each for each in planned if each.due_on >= oldest]
    ahead = sum(each.principal_fen for each in left) - first.fixed.principal_fen
    return left, first.value_date, ahead


def charged_by(terms: BookTerms, postings: Sequence[Posting], day: date) -> int:
    """Interest that the household was charged up to a day, paid or not."""
    earlier = [each for each in postings if each.value_date <= day]
    if not book.counting(earlier):
        return 0
    replayed = book.replay(terms, earlier, day)
    opened = sum(
        line.posting.fixed.interest_fen
        for line in replayed.lines
        if line.posting.kind is PostingKind.OPENING
    )
    return replayed.position.household_posted_fen + opened


def cash_moved(before: Replayed, after: Replayed) -> dict[PostingKind, tuple[int, int, int]]:
    """
    By kind, how interest, principal and suspense of the postings changed between two replays.

    Positive is more taken from what is owed, or more held in suspense.
    """
    moved: dict[PostingKind, tuple[int, int, int]] = {}
    for sign, replayed in ((-1, before), (1, after)):
        for line in replayed.lines:
            kind = line.posting.kind
            raised = 1 if line.posting.kind in RAISING else 0
            taken = line.posting.fixed if raised else line.taken
            way = -sign if raised else sign
            interest, principal, suspense = moved.get(kind, (0, 0, 0))
            moved[kind] = (
                interest + way * taken.interest_fen,
                principal + way * taken.principal_fen,
                suspense + sign * line.suspense_fen,
            )
    return moved


RAISING = frozenset({PostingKind.DISBURSEMENT, PostingKind.OPENING, PostingKind.PAYOUT_UNDONE})
