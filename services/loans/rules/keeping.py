"""Loans: a lender's core system as the book, held against our own computation. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.loans.model import Loan
from services.loans.rules import book
from services.loans.rules.book import BookTerms, Line, Posting

NOTHING = Fen(0)


class Keeper(StrEnum):
    """Who keeps the book of a lender's loans."""

    LIANDONG = "liandong"
    LENDER_CORE = "lender_core"


class CoreKind(StrEnum):
    """What a core system booked."""

    DISBURSEMENT = "disbursement"
    REPAYMENT = "repayment"
    REVERSAL = "reversal"
    INTEREST = "interest"
    CLASS = "class"


class Cause(StrEnum):
    """Why two books differ."""

    DISBURSED = "disbursed"
    PRINCIPAL_TAKEN = "principal_taken"
    INTEREST_TAKEN = "interest_taken"
    INTEREST_CHARGED = "interest_charged"
    OUTSTANDING = "outstanding"
    CLASS = "class"
    NOT_ALLOWED = "not_allowed"


@dataclass(frozen=True, slots=True)
class LenderBook:
    """A decision who keeps a lender's book from a day on."""

    lender_id: str
    keeper: Keeper
    from_day: date
    decided_on: date
    decided_by: str


@dataclass(frozen=True, slots=True)
class CoreEntry:
    """One entry of a lender's core system."""

    reference: str
    loan_id: UUID
    kind: CoreKind
    value_date: date
    amount_fen: Fen
    principal_fen: Fen
    interest_fen: Fen
    outstanding_fen: Fen | None
    five_tier_class: str
    undoes: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an entry and our computation part."""

    entry: CoreEntry
    lender_id: str
    cause: Cause
    theirs_fen: Fen = NOTHING
    ours_fen: Fen = NOTHING
    detail: str = ""


def check_from(from_day: date, today: date) -> None:
    """Refuse to say today who kept a book in days that are over."""
    if from_day < today:
        raise Refused(
            "BOOK_DATED_BACK",
            f"{from_day} is before the business date {today}",
            message_zh="生效日不得早于营业日",
            facts={"earliest": str(today)},
        )


def _amount(
    entry: CoreEntry, loan: Loan, cause: Cause, theirs_fen: int, ours_fen: int
) -> list[Difference]:
    if theirs_fen == ours_fen:
        return []
    return [Difference(entry, loan.lender_id, cause, Fen(theirs_fen), Fen(ours_fen))]


def not_allowed(entry: CoreEntry, lender_id: str, reason: str) -> Difference:
    """Our rules forbid what was booked; our book goes on without it."""
    return Difference(entry, lender_id, Cause.NOT_ALLOWED, entry.amount_fen, Fen(0), reason)


def of_disbursement(entry: CoreEntry, loan: Loan) -> list[Difference]:
    """What was paid out, against what was approved."""
    return _amount(entry, loan, Cause.DISBURSED, entry.amount_fen, loan.principal_fen)


def of_repayment(entry: CoreEntry, loan: Loan, line: Line) -> list[Difference]:
    """What a repayment took, against the programme's order of appropriation."""
    return [
        *_amount(entry, loan, Cause.PRINCIPAL_TAKEN, entry.principal_fen, line.taken.principal_fen),
        *_amount(entry, loan, Cause.INTEREST_TAKEN, entry.interest_fen, line.taken.interest_fen),
    ]


def of_interest(
    entry: CoreEntry, loan: Loan, charged_before_fen: int, ours_fen: int
) -> list[Difference]:
    """All interest that was charged up to a day, on either side."""
    theirs = charged_before_fen + entry.interest_fen
    return _amount(entry, loan, Cause.INTEREST_CHARGED, theirs, ours_fen)


def charged_fen(terms: BookTerms, postings: Sequence[Posting], day: date) -> Fen:
    """Interest that our book charged the household up to a day, beside what it was opened with."""
    known = [posting for posting in postings if posting.value_date <= day]
    if not book.counting(known):
        raise Refused(
            "VALUE_DATE_OUT_OF_RANGE",
            f"{day} is before the book begins",
            message_zh="起息日超出范围",
        )
    return book.replay(terms, known, day).position.household_posted_fen


def of_class(entry: CoreEntry, loan: Loan) -> list[Difference]:
    """The class on either side."""
    if entry.five_tier_class == loan.five_tier_class:
        return []
    detail = f"{entry.five_tier_class or 'none'}/{loan.five_tier_class}"
    return [Difference(entry, loan.lender_id, Cause.CLASS, detail=detail)]


def of_outstanding(entry: CoreEntry, loan: Loan) -> list[Difference]:
    """The principal that is owed after the entry, where the core system says it."""
    if entry.outstanding_fen is None:
        return []
    return _amount(entry, loan, Cause.OUTSTANDING, entry.outstanding_fen, loan.outstanding_fen)


def check_money(entry: CoreEntry) -> None:
    """Refuse a movement of money without money."""
    if entry.amount_fen == 0:
        raise Refused("AMOUNT_ZERO", f"{entry.kind} of nothing", message_zh="金额为零")
