"""Loans: whose months of subsidy are used up, and what the treasury owes for a quarter. Pure."""

from collections.abc import Sequence
from datetime import date, timedelta

from services.kernel.money import Fen
from services.loans.model import Loan
from services.loans.rules import book, position
from services.loans.rules.book import Posting, PostingKind
from services.programmes import calendars
from services.programmes.terms import Terms

FOR_EVER = date(9999, 12, 31)
"""The end of a subsidy without a budget of months."""

Spell = tuple[date, date]
"""From the first day that the treasury bore interest to the day from which it no longer did."""


def months_used(spells: Sequence[Spell], before: date) -> int:
    """
    Months of subsidy that a household used before a day, over all its loans (S29).

    Days that two loans share count once; a month that was begun counts whole.
    """
    merged: list[Spell] = []
    for start, end in sorted((a, min(b, before)) for a, b in spells if a < min(b, before)):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return sum(_months_begun(start, end) for start, end in merged)


def _months_begun(start: date, end: date) -> int:
    months = max(0, (end.year - start.year) * 12 + end.month - start.month)
    return months if calendars.add_months(start, months) >= end else months + 1


def ends_on(start: date, spells: Sequence[Spell], months_max: int | None) -> date:
    """The day from which the household bears a loan's interest itself; it may be the first."""
    if months_max is None:
        return FOR_EVER
    return calendars.add_months(start, max(0, months_max - months_used(spells, start)))


def borne_by(loan: Loan, postings: Sequence[Posting], terms: Terms, day: date) -> Fen:
    """All that the treasury bore of a loan by the end of a day, from its book as it stands."""
    earlier = [each for each in postings if each.value_date <= day]
    if not book.counting(earlier):
        return Fen(0)
    replayed = book.replay(position.book_terms(loan, terms), earlier, day)
    return replayed.position.treasury_posted_fen


def quarter_end(year: int, quarter: int) -> date:
    """The last day of a quarter."""
    return calendars.add_months(date(year, quarter * 3, 1), 1) - timedelta(days=1)


def stop(number: int, on: date) -> Posting:
    """The posting with which the treasury stops."""
    return Posting(number, PostingKind.SUBSIDY_STOP, on)
