"""Loans: the book of one loan: its postings in order of value, replayed to what is owed. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from services.kernel.money import Fen
from services.kernel.values import light, replace
from services.programmes import interest, settlement
from services.programmes.settlement import Amounts, AppropriationOrder

NOTHING = Fen(0)
NO_AMOUNTS = Amounts()


class PostingKind(StrEnum):
    """What a posting does to a loan."""

    DISBURSEMENT = "disbursement"
    """Principal paid out, in one or in batches."""
    OPENING = "opening"
    """
    Principal and interest owed when the loan came in from another book.

    Its reference is the oldest agreed day that was not paid there, as an ISO date.
    """
    REPAYMENT = "repayment"
    PAYOUT = "payout"
    """An insurer's money; what was taken stays taken, however the rest is restated."""
    PAYOUT_UNDONE = "payout_undone"
    """The mirror of a payout's stored split."""
    DISCOUNT = "discount"
    """Unpaid interest forgiven in a campaign."""
    WRITE_OFF = "write_off"
    """Owed, and no longer carried as an asset; later money is a recovery."""
    REFUND = "refund"
    """
    Money given back out of what was paid too much.

    What a restated book no longer has too much of was owed after all, and is owed again.
    """
    RATE = "rate"
    """Another yearly rate from this day on."""
    SUBSIDY_STOP = "subsidy_stop"
    """The treasury stops bearing interest; the household goes on from this day."""
    CARRIED_OUT = "carried_out"
    """Principal goes over to the loan that renews this one; no cash moves."""
    CARRIED_IN = "carried_in"
    """Principal comes over from the loan that this one renews; no cash moves."""
    RECOVERY = "recovery"
    """Money for what was written off; its split is fixed, for nothing is owed any more."""


MONEY_IN = frozenset({PostingKind.REPAYMENT, PostingKind.PAYOUT})
REFUNDS = frozenset({PostingKind.REFUND})
MONEY_MOVED = MONEY_IN | REFUNDS


@light
@dataclass(frozen=True, slots=True)
class Posting:
    """One fact of a loan's book; rows are only added, a reversal names what it undoes."""

    number: int
    """From 1, in order of booking."""
    kind: PostingKind
    value_date: date
    amount_fen: Fen = NOTHING
    fixed: Amounts = NO_AMOUNTS
    """The split of all kinds but money in and refunds, whose split the book decides."""
    rate_ppm: int = 0
    """Of a rate posting, and of the first posting of a book."""
    reverses: int | None = None
    """The posting that this one undoes as if it had never been; its own kind is the same."""
    reference: str = ""
    """What caused it: a payout, a case, a campaign's stage; empty for none."""


@light
@dataclass(frozen=True, slots=True)
class BookTerms:
    """What a contract fixed for its book; the rate comes with the first posting."""

    day_basis: int
    order: AppropriationOrder
    subsidised: bool
    subsidy_rate_ppm: int = 0
    """What the treasury bears at most; 0: all of the rate."""


@light
@dataclass(frozen=True, slots=True)
class Line:
    """What became of one posting."""

    posting: Posting
    taken: Amounts
    """What was put toward the debt; negative where a refund gave back what was owed."""
    suspense_fen: Fen
    """Paid too much by this posting."""
    outstanding_fen: Fen
    interest_owed_fen: Fen


@light
@dataclass(frozen=True, slots=True)
class Position:
    """What the book comes to on a day."""

    accrued_through: date
    rate_ppm: int
    outstanding_fen: Fen = NOTHING
    household_numerator: int = 0
    household_posted_fen: Fen = NOTHING
    treasury_numerator: int = 0
    treasury_posted_fen: Fen = NOTHING
    owed_fen: Fen = NOTHING
    suspense_fen: Fen = NOTHING
    subsidised: bool = False
    subsidy_rate_ppm: int = 0

    @property
    def borne_ppm(self) -> int:
        """The yearly rate that the treasury bears now; never more than the loan costs (S30)."""
        if not self.subsidised:
            return 0
        return min(self.rate_ppm, self.subsidy_rate_ppm or self.rate_ppm)

    @property
    def debt(self) -> Amounts:
        """What the household owes, as posted."""
        return Amounts(interest_fen=self.owed_fen, principal_fen=self.outstanding_fen)


@light
@dataclass(frozen=True, slots=True)
class Replayed:
    """A replay: the position, and each posting that counts with its split."""

    position: Position
    lines: tuple[Line, ...]


def counting(postings: Iterable[Posting]) -> list[Posting]:
    """The postings that count, in order of value: neither reversed nor reversals."""
    held = list(postings)
    undone = {posting.reverses for posting in held if posting.reverses is not None}
    return sorted(
        (each for each in held if each.reverses is None and each.number not in undone),
        key=lambda posting: (posting.value_date, posting.number),
    )


def replay(terms: BookTerms, postings: Sequence[Posting], through: date) -> Replayed:
    """
    Work a loan's book from its first posting to a day.

    The same postings give the same position whatever order they were booked in.
    """
    ordered = counting(postings)
    assert ordered, "a book begins with a posting"
    position = Position(
        ordered[0].value_date,
        0,
        subsidised=terms.subsidised,
        subsidy_rate_ppm=terms.subsidy_rate_ppm,
    )
    lines: list[Line] = []
    repaid = NOTHING
    for posting in ordered:
        position = accrue(position, posting.value_date, terms.day_basis)
        position, line = apply(position, posting, terms.order, repaid)
        repaid = Fen(repaid + _repaid(line))
        lines.append(line)
    return Replayed(accrue(position, through, terms.day_basis), tuple(lines))


def accrue(position: Position, through: date, day_basis: int) -> Position:
    """Charge interest up to a day; rounded once on the sum, so segments add no error."""
    days = (through - position.accrued_through).days
    if days <= 0:
        return position
    borne = position.borne_ppm
    own = position.rate_ppm - borne
    household = position.household_numerator + interest.day_numerator(
        position.outstanding_fen, own, days
    )
    treasury = position.treasury_numerator + interest.day_numerator(
        position.outstanding_fen, borne, days
    )
    household_fen = interest.numerator_to_fen(household, day_basis)
    return replace(
        position,
        accrued_through=through,
        household_numerator=household,
        household_posted_fen=household_fen,
        treasury_numerator=treasury,
        treasury_posted_fen=interest.numerator_to_fen(treasury, day_basis),
        owed_fen=Fen(position.owed_fen + household_fen - position.household_posted_fen),
    )


def apply(
    position: Position,
    posting: Posting,
    order: AppropriationOrder,
    repaid_fen: Fen = NOTHING,
) -> tuple[Position, Line]:
    """
    Let one posting act on a position that is accrued to its day.

    `repaid_fen` is the principal that money has paid before it; only a refund of more than was
    paid too much asks for it, and the book on top of which something is posted has none.
    """
    taken, suspense = Amounts(), NOTHING
    match posting.kind:
        case (
            PostingKind.DISBURSEMENT
            | PostingKind.OPENING
            | PostingKind.PAYOUT_UNDONE
            | PostingKind.CARRIED_IN
        ):
            position = _raised(position, posting)
        case PostingKind.REPAYMENT | PostingKind.PAYOUT:
            taken = settlement.appropriate(posting.amount_fen, position.debt, order)
            suspense = Fen(posting.amount_fen - taken.total_fen)
            position = _lowered(position, taken, suspense)
        case PostingKind.DISCOUNT | PostingKind.WRITE_OFF | PostingKind.CARRIED_OUT:
            taken = _at_most(posting.fixed, position.debt)
            position = _lowered(position, taken, NOTHING)
        case PostingKind.RECOVERY:
            taken = posting.fixed
            suspense = Fen(posting.amount_fen - taken.total_fen)
            position = replace(position, suspense_fen=Fen(position.suspense_fen + suspense))
        case PostingKind.REFUND:
            suspense = Fen(-min(posting.amount_fen, position.suspense_fen))
            taken = _owed_again(Fen(posting.amount_fen + suspense), repaid_fen)
            position = _lowered(position, taken, suspense)
        case PostingKind.RATE:
            position = replace(position, rate_ppm=posting.rate_ppm)
        case PostingKind.SUBSIDY_STOP:
            position = replace(position, subsidised=False)
    line = Line(posting, taken, suspense, position.outstanding_fen, position.owed_fen)
    return position, line


def _raised(position: Position, posting: Posting) -> Position:
    more = posting.fixed
    return replace(
        position,
        rate_ppm=posting.rate_ppm or position.rate_ppm,
        outstanding_fen=Fen(position.outstanding_fen + more.principal_fen),
        owed_fen=Fen(position.owed_fen + more.interest_fen),
    )


def _lowered(position: Position, taken: Amounts, suspense: Fen) -> Position:
    return replace(
        position,
        outstanding_fen=Fen(position.outstanding_fen - taken.principal_fen),
        owed_fen=Fen(position.owed_fen - taken.interest_fen),
        suspense_fen=Fen(position.suspense_fen + suspense),
    )


def _repaid(line: Line) -> int:
    """The principal that a posting paid, or gave back to be owed again."""
    if line.posting.kind is PostingKind.PAYOUT_UNDONE:
        return -line.posting.fixed.principal_fen
    return line.taken.principal_fen if line.posting.kind in MONEY_MOVED else 0


def _owed_again(fen: Fen, repaid_fen: Fen) -> Amounts:
    """What was given back of a debt, as taken: principal as far as that was paid, else interest."""
    principal = min(fen, max(0, repaid_fen))
    return Amounts(interest_fen=Fen(principal - fen), principal_fen=Fen(-principal))


def _at_most(wanted: Amounts, owed: Amounts) -> Amounts:
    return Amounts(
        interest_fen=min(wanted.interest_fen, owed.interest_fen),
        principal_fen=min(wanted.principal_fen, owed.principal_fen),
    )


def totals(lines: Iterable[Line], kinds: frozenset[PostingKind] = MONEY_IN) -> Amounts:
    """What the postings of some kinds took in all."""
    total = Amounts()
    for line in lines:
        if line.posting.kind in kinds:
            total = total.plus(line.taken)
    return total


def given_back_of_debt(lines: Iterable[Line]) -> Fen:
    """What refunds gave back that the book has as owed, so that it is owed again."""
    return Fen(-totals(lines, REFUNDS).total_fen)
