"""Loans: between a loan as it is stored and its book. Pure."""

from collections.abc import Sequence
from datetime import date

from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans.model import Interest, Loan, LoanState
from services.loans.rules import book, schedule
from services.loans.rules.book import BookTerms, Line, Position, Posting, PostingKind, Replayed
from services.loans.rules.schedule import Plan
from services.programmes import interest, settlement
from services.programmes.terms import Terms

NOTHING = Fen(0)

BORNE_BY_PAYER = frozenset(
    {
        PostingKind.REPAYMENT,
        PostingKind.PAYOUT,
        PostingKind.REFUND,
        PostingKind.DISCOUNT,
        PostingKind.WRITE_OFF,
        PostingKind.CARRIED_OUT,
    }
)


def book_terms(loan: Loan, terms: Terms) -> BookTerms:
    """What the loan's contract fixed for its book."""
    return BookTerms(
        day_basis=terms.loans.day_basis,
        order=settlement.appropriation(terms.loans.appropriation_order),
        subsidised=loan.subsidised,
        subsidy_rate_ppm=loan.subsidy_rate_ppm,
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
        subsidised=loan.subsidised and loan.subsidy_ended_on is None,
        subsidy_rate_ppm=loan.subsidy_rate_ppm,
    )


def with_position(loan: Loan, position: Position) -> Loan:
    """The loan with another position of its book, settled or owed again as that has it."""
    undrawn = loan.undrawn_fen
    if loan.revolving_until is not None:
        # What is paid back may be drawn again, through the limit's last day.
        valid = position.accrued_through <= loan.revolving_until
        undrawn = Fen(max(0, loan.principal_fen - position.outstanding_fen) if valid else 0)
    settled = position.outstanding_fen == 0 and position.owed_fen == 0 and undrawn == 0
    state = loan.state
    if state in (LoanState.ACTIVE, LoanState.SETTLED):
        state = LoanState.SETTLED if settled else LoanState.ACTIVE
    return replace(
        loan,
        state=state,
        rate_ppm=position.rate_ppm,
        outstanding_fen=position.outstanding_fen,
        undrawn_fen=undrawn,
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


def due_days(loan: Loan) -> list[date]:
    """The agreed days, of a limit those up to its last valid day."""
    assert loan.disbursed_on is not None
    assert loan.matures_on is not None
    method = schedule.Method(loan.method)
    if loan.revolving_until is None:
        return schedule.due_days(loan.disbursed_on, loan.term_months, method)
    days = schedule.due_days(
        loan.disbursed_on, _months(loan.disbursed_on, loan.matures_on) + 1, method
    )
    return [*(day for day in days if day < loan.matures_on), loan.matures_on]


def instalments(loan: Loan, agreed: Plan | None = None) -> tuple[schedule.Instalment, ...]:
    """What was agreed to fall due: by the last agreement, or from the first disbursement on."""
    if agreed is not None:
        return agreed.instalments()
    assert loan.disbursed_on is not None
    if loan.revolving_until is not None:
        days = due_days(loan) if loan.outstanding_fen else []
        return tuple(_of_limit(loan, place, days) for place in range(len(days)))
    return schedule.plan(
        Fen(loan.principal_fen - loan.undrawn_fen),
        rate_ppm=loan.rate_ppm,
        start=loan.disbursed_on,
        term_months=loan.term_months,
        method=schedule.Method(loan.method),
    )


def _of_limit(loan: Loan, place: int, days: Sequence[date]) -> schedule.Instalment:
    """As planned while what is drawn today stays drawn: interest each time, the principal last."""
    start = days[place - 1] if place else loan.disbursed_on
    assert start is not None
    last = place + 1 == len(days)
    return schedule.Instalment(
        place + 1,
        days[place],
        loan.outstanding_fen if last else NOTHING,
        interest.months_interest_fen(
            loan.outstanding_fen, loan.rate_ppm, _months(start, days[place])
        ),
    )


def _months(start: date, end: date) -> int:
    """Months from one to another, begun ones counted by the calendar."""
    return (end.year - start.year) * 12 + end.month - start.month


def next_due(
    loan: Loan,
    terms: BookTerms,
    postings: Sequence[Posting],
    through: date,
    agreed: Plan | None = None,
) -> date | None:
    """
    The first agreed day whose principal and interest are not paid in full, past or coming.

    Interest counts as the book had charged it by that day; early money counts ahead. Of equal
    instalments it is the sum that counts; the last one evens out.
    """
    if loan.state is not LoanState.ACTIVE:
        return None
    replayed = book.replay(terms, postings, through)
    paid = book.totals(replayed.lines, BORNE_BY_PAYER).minus(_undone(replayed))
    if loan.revolving_until is not None and agreed is None:
        for day in due_days(loan):
            if day > through or paid.interest_fen < charged_by(terms, postings, day):
                return day
        return loan.matures_on
    planned, begun, ahead = _agreed(loan, replayed, agreed)
    paid_fen = paid.principal_fen + ahead
    interest_fen: int = paid.interest_fen
    if agreed is not None:
        # Under a later agreement what was paid before it counts as its principal has it.
        paid_fen = agreed.principal_fen - replayed.position.outstanding_fen
        interest_fen -= charged_by(terms, postings, agreed.starts_on)
    principal = total = 0
    # While the treasury bears the interest there is no sum of both: the principal alone is owed.
    level = loan.method == schedule.Method.EQUAL_INSTALMENT and not loan.subsidised
    for instalment in planned:
        principal += instalment.principal_fen
        total += instalment.total_fen
        if instalment.due_on > through:
            return instalment.due_on
        if level and instalment.due_on != loan.matures_on:
            # The agreed sum is owed, however its parts fall by the days of a month.
            if paid_fen + interest_fen < total:
                return instalment.due_on
            continue
        if paid_fen < principal:
            return instalment.due_on
        if paid.interest_fen < charged_by(terms, postings, max(instalment.due_on, begun)):
            return instalment.due_on
    return loan.matures_on


def _undone(replayed: Replayed) -> settlement.Amounts:
    """What payouts had paid that were undone since."""
    total = settlement.Amounts()
    for line in replayed.lines:
        if line.posting.kind is PostingKind.PAYOUT_UNDONE:
            total = total.plus(line.posting.fixed)
    return total


def _agreed(
    loan: Loan, replayed: Replayed, agreed: Plan | None
) -> tuple[Sequence[schedule.Instalment], date, int]:
    """
    What was agreed and not paid before our book, the day on which that begins, what was paid ahead.

    Interest that was owed at an opening belongs to the oldest day that was not paid then.
    """
    planned = instalments(loan, agreed)
    first = replayed.lines[0].posting
    if agreed is not None or first.kind is not PostingKind.OPENING or not first.reference:
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
            raised = kind in RAISING
            taken = line.posting.fixed if raised else line.taken
            way = -sign if raised else sign
            interest, principal, suspense = moved.get(kind, (0, 0, 0))
            moved[kind] = (
                interest + way * taken.interest_fen,
                principal + way * taken.principal_fen,
                suspense + sign * line.suspense_fen,
            )
    return moved


RAISING = frozenset(
    {
        PostingKind.DISBURSEMENT,
        PostingKind.OPENING,
        PostingKind.PAYOUT_UNDONE,
        PostingKind.CARRIED_IN,
    }
)


def split(posting: Posting, line: Line | None) -> settlement.Amounts:
    """What a posting put toward the debt, or added to it; never negative."""
    if line is None or posting.kind in RAISING:
        return posting.fixed
    if posting.kind is PostingKind.REFUND:
        return settlement.Amounts().minus(line.taken)
    return line.taken
