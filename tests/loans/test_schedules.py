"""
Schedules and repayments against figures worked out another way.

The reckoners below share nothing with the service: days are counted with their own calendar, an
equal instalment is found by discounting with decimals, and a book is kept day by day in fractions.
Rows with figures in them were worked by hand; the comment beside them is the working.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from math import floor

import pytest

from services.kernel.money import Fen
from services.loans.rules import book, position, schedule
from services.loans.rules.book import BookTerms, Posting, PostingKind
from services.loans.rules.schedule import Method
from services.programmes.settlement import INTEREST_FIRST, PRINCIPAL_FIRST, Amounts
from tests.loans.builders import YUAN, an_active_loan

Day = tuple[int, int, int]


# --- another calendar -----------------------------------------------------------------------------

MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def month_days(year: int, month: int) -> int:
    leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
    return 29 if month == 2 and leap else MONTH_DAYS[month - 1]


def months_on(day: Day, months: int) -> Day:
    """The same day of a later month, or that month's last; month by month."""
    year, month, wanted = day
    for _ in range(months):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return year, month, min(wanted, month_days(year, month))


def tomorrow(day: Day) -> Day:
    year, month, number = day
    if number < month_days(year, month):
        return year, month, number + 1
    return (year, month + 1, 1) if month < 12 else (year + 1, 1, 1)


# --- another way to plan --------------------------------------------------------------------------


def whole(value: Decimal) -> int:
    return int(value.quantize(Decimal(1), rounding=ROUND_HALF_UP))


STEPS = {"annual": 12, "quarterly": 3, "monthly": 1, "equal_principal": 1, "equal_instalment": 1}


def level(principal: int, monthly: Decimal, count: int) -> int:
    """The equal instalment: the sum whose discounted stream is worth the principal."""
    return whole(principal / sum(((1 + monthly) ** -n for n in range(1, count + 1)), Decimal(0)))


def planned(
    method: str, principal: int, rate_ppm: int, start: Day, months: int
) -> list[tuple[Day, int, int]]:
    """Day, principal and interest of all that falls due."""
    with localcontext() as context:
        context.prec = 80
        monthly = Decimal(rate_ppm) / 1_000_000 / 12
        step = STEPS.get(method, months)
        rows: list[tuple[Day, int, int]] = []
        left, gone = principal, 0
        while gone < months:
            span = min(step, months - gone)
            gone += span
            interest = whole(left * monthly * span)
            if gone == months:
                part = left
            elif method == "equal_principal":
                part = principal // months
            elif method == "equal_instalment":
                part = level(principal, monthly, months) - interest
            else:
                part = 0
            rows.append((months_on(start, gone), part, interest))
            left -= part
        return rows


Agreed = tuple[str, int, int, Day, int]
"""Method, principal in yuan, yearly rate in ppm, first day, months."""

PLANS: Sequence[Agreed] = [
    ("bullet", 50_000, 43_500, (2018, 3, 1), 12),
    ("bullet", 50_000, 43_500, (2018, 3, 1), 36),
    ("bullet", 30_000, 36_000, (2020, 2, 29), 12),  # from a leap day into a common year
    ("bullet", 30_000, 36_000, (2020, 2, 29), 48),  # from a leap day to a leap day
    ("bullet", 30_000, 36_000, (2019, 8, 31), 6),  # month end into February 29
    ("bullet", 30_000, 36_000, (2018, 8, 31), 6),  # month end into February 28
    ("bullet", 1, 1, (2021, 1, 31), 1),
    ("bullet", 100_000, 0, (2021, 6, 15), 24),
    ("annual", 50_000, 47_500, (2018, 1, 15), 36),
    ("annual", 50_000, 47_500, (2020, 2, 29), 36),
    ("annual", 50_000, 47_500, (2018, 1, 15), 30),  # the last year is half a year
    ("annual", 80_000, 49_000, (2019, 12, 31), 9),  # shorter than a year
    ("quarterly", 50_000, 43_500, (2021, 1, 4), 12),
    ("quarterly", 200_000, 43_500, (2020, 11, 30), 12),  # November 30 into February
    ("quarterly", 50_001, 43_501, (2021, 5, 31), 14),  # two months remain
    ("quarterly", 50_000, 38_500, (2023, 11, 30), 24),  # February 29, 2024
    ("monthly", 50_000, 43_500, (2021, 1, 31), 12),  # every month end of a year
    ("monthly", 50_000, 43_500, (2020, 1, 31), 3),  # a leap February
    ("monthly", 33_333, 59_999, (2019, 12, 29), 24),
    ("monthly", 100_000, 0, (2021, 6, 15), 6),
    ("equal_principal", 100_000, 47_500, (2018, 1, 15), 12),
    ("equal_principal", 100_000, 47_500, (2018, 1, 31), 36),
    ("equal_principal", 100, 43_500, (2020, 2, 29), 7),  # 100 yuan do not part by seven
    ("equal_principal", 50_000, 0, (2021, 1, 1), 24),
    ("equal_principal", 300_000, 87_000, (2023, 10, 30), 60),
    ("equal_instalment", 100_000, 47_500, (2018, 1, 15), 12),
    ("equal_instalment", 100_000, 47_500, (2018, 1, 31), 36),
    ("equal_instalment", 50_000, 43_500, (2020, 2, 29), 24),
    ("equal_instalment", 10_000, 144_000, (2021, 3, 31), 6),
    ("equal_instalment", 300_000, 87_000, (2023, 10, 30), 60),
    ("equal_instalment", 20_000, 36_000, (2021, 12, 31), 1),
    ("equal_instalment", 12_345, 1, (2021, 7, 7), 11),
]


def found(agreed: Agreed) -> list[tuple[date, int, int]]:
    method, yuan, rate, start, months = agreed
    made = schedule.plan(
        Fen(yuan * YUAN),
        rate_ppm=rate,
        start=date(*start),
        term_months=months,
        method=Method(method),
    )
    assert [each.number for each in made] == list(range(1, len(made) + 1))
    return [(each.due_on, each.principal_fen, each.interest_fen) for each in made]


@pytest.mark.parametrize("agreed", PLANS)
def test_what_falls_due_is_what_another_reckoner_finds(agreed: Agreed) -> None:
    method, yuan, rate, start, months = agreed
    expected = planned(method, yuan * YUAN, rate, start, months)

    assert found(agreed) == [(date(*due), *parts) for due, *parts in expected]


WORKED: Sequence[tuple[Agreed, dict[int, tuple[Day, int, int]]]] = [
    # 5,000,000 × 4.35 % × 12/12 = 217,500.
    (("bullet", 50_000, 43_500, (2018, 3, 1), 12), {1: ((2019, 3, 1), 5_000_000, 217_500)}),
    # 3,000,000 × 3.6 % × 6/12 = 54,000; August 31 + 6 months is the leap day.
    (("bullet", 30_000, 36_000, (2019, 8, 31), 6), {1: ((2020, 2, 29), 3_000_000, 54_000)}),
    # 5,000,000 × 4.75 % = 237,500 a year; the last half year 118,750.
    (
        ("annual", 50_000, 47_500, (2018, 1, 15), 30),
        {1: ((2019, 1, 15), 0, 237_500), 3: ((2020, 7, 15), 5_000_000, 118_750)},
    ),
    # 20,000,000 × 4.35 % × 3/12 = 217,500; November 30 + 3 months is February 28.
    (("quarterly", 200_000, 43_500, (2020, 11, 30), 12), {1: ((2021, 2, 28), 0, 217_500)}),
    # 5,000,000 × 4.35 % / 12 = 18,125.
    (("monthly", 50_000, 43_500, (2021, 1, 31), 12), {3: ((2021, 4, 30), 0, 18_125)}),
    # 10,000,000 / 12 = 833,333, the last 833,337; first interest 10,000,000 × 4.75 % / 12 =
    # 39,583.3; last 833,337 × 4.75 % / 12 = 3,298.6.
    (
        ("equal_principal", 100_000, 47_500, (2018, 1, 15), 12),
        {1: ((2018, 2, 15), 833_333, 39_583), 12: ((2019, 1, 15), 833_337, 3_299)},
    ),
    # 10,000,000 × r / (1 − (1 + r)⁻¹²) with r = 4.75 % / 12 = 854,929.6; 39,583 of it interest.
    (
        ("equal_instalment", 100_000, 47_500, (2018, 1, 15), 12),
        {1: ((2018, 2, 15), 854_930 - 39_583, 39_583)},
    ),
    # 10,000 yuan at 1.2 % a month over 6: 1,000,000 × 0.012 / (1 − 1.012⁻⁶) = 173,736.2.
    (
        ("equal_instalment", 10_000, 144_000, (2021, 3, 31), 6),
        {1: ((2021, 4, 30), 173_736 - 12_000, 12_000)},
    ),
]


@pytest.mark.parametrize(("agreed", "rows"), WORKED)
def test_what_falls_due_is_what_was_worked_by_hand(
    agreed: Agreed, rows: dict[int, tuple[Day, int, int]]
) -> None:
    made = found(agreed)

    for number, (due, principal, interest) in rows.items():
        assert made[number - 1] == (date(*due), principal, interest)


# --- another way to keep a book -------------------------------------------------------------------


@dataclass(frozen=True)
class Lent:
    """A loan of the table: yuan, rate, first day, and what its pack says."""

    yuan: int = 30_000
    rate: int = 36_000
    start: Day = (2021, 1, 4)
    basis: int = 360
    principal_first: bool = False
    stop: Day | None = None
    """The treasury bears interest until then."""


@dataclass(frozen=True)
class Kept:
    """What another book comes to."""

    outstanding: int
    owed: int
    suspense: int
    treasury: int


def rounded(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


def kept(lent: Lent, payments: Sequence[tuple[Day, int]], on: Day) -> Kept:
    """Live every day from the first to the last: charge it, then take what came in."""
    day, left, suspense = lent.start, lent.yuan * YUAN, 0
    own, treasury, own_paid = Fraction(0), Fraction(0), 0
    subsidised = lent.stop is not None
    while True:
        subsidised = subsidised and day != lent.stop
        for _, fen in (each for each in payments if each[0] == day):
            owed = rounded(own) - own_paid
            first, second = (left, owed) if lent.principal_first else (owed, left)
            one = min(fen, first)
            two = min(fen - one, second)
            took_principal, took_interest = (one, two) if lent.principal_first else (two, one)
            left -= took_principal
            own_paid += took_interest
            suspense += fen - one - two
        if day == on:
            return Kept(left, rounded(own) - own_paid, suspense, rounded(treasury))
        a_day = Fraction(left * lent.rate, lent.basis * 1_000_000)
        own, treasury = (own, treasury + a_day) if subsidised else (own + a_day, treasury)
        day = tomorrow(day)


BOOKS: dict[str, tuple[Lent, Sequence[tuple[Day, int]], Day]] = {
    # Payments stand in the order in which they were booked.
    "untouched": (Lent(), [], (2021, 7, 1)),
    "untouched on the day it was paid out": (Lent(), [], (2021, 1, 4)),
    "untouched over a leap day": (Lent(start=(2020, 1, 31)), [], (2020, 3, 1)),
    "untouched over a century's missing leap day": (
        Lent(start=(2100, 2, 28)),
        [],
        (2100, 3, 1),
    ),
    "untouched by a year of 365": (Lent(rate=43_500, basis=365), [], (2022, 1, 4)),
    "untouched over a leap year of 365": (
        Lent(rate=43_500, basis=365, start=(2019, 12, 31)),
        [],
        (2020, 12, 31),
    ),
    "half a fen rounds up": (Lent(yuan=1, rate=18_000, start=(2021, 1, 1)), [], (2021, 4, 11)),
    "paid in full on the last day": (
        Lent(),
        [((2022, 1, 4), 3_109_500)],
        (2022, 1, 4),
    ),
    "paid in full early": (Lent(), [((2021, 3, 31), 3_025_800)], (2022, 1, 4)),
    "paid in full on the day it was paid out": (Lent(), [((2021, 1, 4), 3_000_000)], (2021, 2, 1)),
    "a fen too little": (Lent(), [((2021, 3, 31), 3_025_799)], (2021, 12, 31)),
    "a fen too much": (Lent(), [((2021, 3, 31), 3_025_801)], (2021, 12, 31)),
    "partial, interest only": (Lent(), [((2021, 4, 4), 27_000)], (2021, 7, 4)),
    "partial, less than the interest": (Lent(), [((2021, 4, 4), 26_999)], (2021, 7, 4)),
    "partial, into the principal": (Lent(), [((2021, 4, 4), 1_027_000)], (2021, 7, 4)),
    "partial, principal first": (
        Lent(principal_first=True),
        [((2021, 4, 4), 1_027_000)],
        (2021, 7, 4),
    ),
    "principal first to the end": (
        Lent(principal_first=True),
        [((2021, 4, 4), 3_000_000), ((2021, 5, 1), 10_000), ((2021, 6, 1), 17_001)],
        (2021, 7, 4),
    ),
    "many small ones": (
        Lent(),
        [((2021, month, 28), 3_333) for month in range(1, 13)],
        (2021, 12, 31),
    ),
    "two of one day": (Lent(), [((2021, 5, 5), 500_000), ((2021, 5, 5), 7)], (2021, 9, 9)),
    "early instalments": (
        Lent(),
        [((2021, 1, 31), 300_000), ((2021, 2, 28), 300_000), ((2021, 3, 31), 300_000)],
        (2021, 12, 31),
    ),
    "late, after maturity": (Lent(), [((2022, 3, 15), 2_000_000)], (2022, 6, 30)),
    "late over a leap day": (
        Lent(start=(2019, 2, 28)),
        [((2020, 3, 1), 1_500_000)],
        (2020, 12, 31),
    ),
    "at a month's last day, leap": (
        Lent(start=(2019, 11, 30)),
        [((2020, 2, 29), 1_234_567)],
        (2020, 8, 31),
    ),
    "backdated behind a later one": (
        Lent(),
        [((2021, 6, 1), 500_000), ((2021, 2, 1), 1_000_000)],
        (2021, 9, 1),
    ),
    "backdated to the day it was paid out": (
        Lent(),
        [((2021, 6, 1), 500_000), ((2021, 1, 4), 1_000_000)],
        (2021, 9, 1),
    ),
    "backdated so far that the later one is too much": (
        Lent(),
        [((2021, 6, 1), 2_000_000), ((2021, 2, 1), 1_500_000)],
        (2021, 9, 1),
    ),
    "backdated twice, over a leap day": (
        Lent(start=(2020, 1, 15)),
        [
            ((2020, 6, 30), 400_000),
            ((2020, 2, 29), 400_000),
            ((2020, 2, 28), 400_000),
        ],
        (2020, 12, 31),
    ),
    "backdated before one that pays it off": (
        Lent(),
        [((2021, 3, 31), 3_025_800), ((2021, 1, 31), 1_000)],
        (2021, 12, 31),
    ),
    "an odd principal at an odd rate": (
        Lent(yuan=12_347, rate=43_217, start=(2019, 7, 31), basis=365),
        [((2019, 12, 31), 12_345), ((2020, 2, 29), 99_999), ((2020, 4, 30), 1)],
        (2021, 2, 28),
    ),
    "no interest at all": (Lent(rate=0), [((2021, 6, 1), 500_000)], (2022, 1, 4)),
    "the treasury bears it": (Lent(stop=(2099, 1, 1)), [], (2022, 1, 4)),
    "the treasury stops": (Lent(yuan=50_000, rate=43_500, stop=(2021, 5, 4)), [], (2021, 7, 3)),
    "the treasury stops between two payments": (
        Lent(stop=(2021, 5, 4)),
        [((2021, 4, 4), 100_000), ((2021, 6, 4), 100_000)],
        (2021, 12, 31),
    ),
}


def held(
    lent: Lent, payments: Sequence[tuple[Day, int]], on: Day
) -> tuple[book.Position, list[book.Line]]:
    order = PRINCIPAL_FIRST if lent.principal_first else INTEREST_FIRST
    terms = BookTerms(lent.basis, order, subsidised=lent.stop is not None)
    amounts = Amounts(principal_fen=Fen(lent.yuan * YUAN))
    start = date(*lent.start)
    kind = PostingKind.DISBURSEMENT
    postings = [Posting(1, kind, start, fixed=amounts, rate_ppm=lent.rate)]
    stops = lent.stop is not None and lent.stop <= on
    if stops and lent.stop is not None:
        postings.append(Posting(2, PostingKind.SUBSIDY_STOP, date(*lent.stop)))
    for number, (day, fen) in enumerate(payments, len(postings) + 1):
        postings.append(Posting(number, PostingKind.REPAYMENT, date(*day), Fen(fen)))
    replayed = book.replay(terms, postings, date(*on))
    return replayed.position, list(replayed.lines)


@pytest.mark.parametrize("name", BOOKS)
def test_a_book_comes_to_what_a_diary_of_its_days_comes_to(name: str) -> None:
    lent, payments, on = BOOKS[name]

    found, lines = held(lent, payments, on)

    diary = kept(lent, payments, on)
    assert Kept(
        found.outstanding_fen, found.owed_fen, found.suspense_fen, found.treasury_posted_fen
    ) == (diary)
    taken = sum(line.taken.total_fen + line.suspense_fen for line in lines)
    assert taken == sum(fen for _, fen in payments)


WORKED_BOOKS: dict[str, tuple[int, int, int, int]] = {
    # 3,000,000 × 3.6 % / 360 = 300 a day, if nothing else is said. Outstanding, owed, suspense,
    # the treasury's.
    "untouched": (3_000_000, 178 * 300, 0, 0),
    "untouched over a leap day": (3_000_000, 30 * 300, 0, 0),
    "untouched over a century's missing leap day": (3_000_000, 300, 0, 0),
    # 3,000,000 × 4.35 % × 365/365; and 366/365: 130,857.53.
    "untouched by a year of 365": (3_000_000, 130_500, 0, 0),
    "untouched over a leap year of 365": (3_000_000, 130_858, 0, 0),
    # 100 fen × 1.8 % × 100/360 = 0.5.
    "half a fen rounds up": (100, 1, 0, 0),
    "paid in full on the last day": (0, 0, 0, 0),
    # 86 days: 25,800.
    "paid in full early": (0, 0, 0, 0),
    # One fen of principal stays, and earns nothing that is a fen.
    "a fen too little": (1, 0, 0, 0),
    "a fen too much": (0, 0, 1, 0),
    # 90 days: 27,000 are paid; 91 more days.
    "partial, interest only": (3_000_000, 27_300, 0, 0),
    "partial, less than the interest": (3_000_000, 27_301, 0, 0),
    # 1,000,000 off: 200 a day for 91 days.
    "partial, into the principal": (2_000_000, 18_200, 0, 0),
    # 1,027,000 off: 27,000 owed, and 91 × 197.3 = 17,954.3.
    "partial, principal first": (1_973_000, 44_954, 0, 0),
    # The interest of 90 days alone remains, then 17,000 of it, then a fen is too much.
    "principal first to the end": (0, 0, 1, 0),
    # February 1: 28 days = 8,400, so 991,600 off; 120 days on 2,008,400 at 200.84 = 24,100.8;
    # June 1: 475,899 off (the posted 24,101); 92 days on 1,532,501 = 14,099.0.
    "backdated behind a later one": (1_532_501, 14_099, 0, 0),
    # 1,000,000 off at once: 148 days × 200 = 29,600; 470,400 off; 92 × 152.96 = 14,072.3.
    "backdated to the day it was paid out": (1_529_600, 14_072, 0, 0),
    # 1,491,600 off; 120 days on 1,508,400 = 18,100.8; 1,508,400 + 18,101 of 2,000,000.
    "backdated so far that the later one is too much": (0, 0, 473_499, 0),
    # 1,000 early take interest only, so that a later 1,000 is too much.
    "backdated before one that pays it off": (0, 0, 1_000, 0),
    "no interest at all": (2_500_000, 0, 0, 0),
    "the treasury bears it": (3_000_000, 0, 0, 365 * 300),
    # 5,000,000 × 4.35 % / 360 = 604.1667 a day: 120 days 72,500, 60 days 36,250.
    "the treasury stops": (5_000_000, 36_250, 0, 72_500),
}


@pytest.mark.parametrize("name", WORKED_BOOKS)
def test_a_book_comes_to_what_was_worked_by_hand(name: str) -> None:
    found, _ = held(*BOOKS[name])

    assert (
        found.outstanding_fen,
        found.owed_fen,
        found.suspense_fen,
        found.treasury_posted_fen,
    ) == WORKED_BOOKS[name]


# --- what is due, and how long --------------------------------------------------------------------

# 30,000 yuan from January 4, 2021 at 3.6 %: 300 fen a day on the whole. What is due is the oldest
# agreed day of which principal, or interest as charged by then, is not paid.
DUE: Sequence[tuple[str, int, Sequence[tuple[Day, int]], Day, Day]] = [
    # Method, months, payments, today, due.
    ("bullet", 12, [], (2021, 6, 1), (2022, 1, 4)),
    ("bullet", 12, [], (2022, 3, 1), (2022, 1, 4)),
    ("bullet", 12, [((2022, 1, 4), 3_109_499)], (2022, 3, 1), (2022, 1, 4)),
    ("annual", 24, [], (2021, 12, 31), (2022, 1, 4)),
    ("annual", 24, [((2022, 1, 4), 109_500)], (2022, 1, 5), (2023, 1, 4)),
    ("annual", 24, [((2022, 2, 4), 109_499)], (2022, 2, 5), (2022, 1, 4)),
    ("quarterly", 12, [((2021, 4, 4), 27_000)], (2021, 5, 1), (2021, 7, 4)),
    # Two quarters are charged 181 days by July 4; one fen of them is missing.
    ("quarterly", 12, [((2021, 7, 10), 54_299)], (2021, 7, 11), (2021, 7, 4)),
    ("quarterly", 12, [((2021, 7, 10), 54_300)], (2021, 7, 11), (2021, 10, 4)),
    # 31 days by February 4, 59 by March 4.
    ("monthly", 12, [((2021, 2, 4), 9_300)], (2021, 2, 20), (2021, 3, 4)),
    ("monthly", 12, [((2021, 2, 4), 9_300)], (2021, 3, 20), (2021, 3, 4)),
    # Backdated: booked after the first, and both months are paid.
    (
        "monthly",
        12,
        [((2021, 3, 4), 8_400), ((2021, 2, 4), 9_300)],
        (2021, 3, 20),
        (2021, 4, 4),
    ),
    # 250,000 of principal and 9,300 of interest a month at first.
    ("equal_principal", 12, [((2021, 2, 4), 259_300)], (2021, 2, 20), (2021, 3, 4)),
    ("equal_principal", 12, [((2021, 2, 4), 259_299)], (2021, 2, 20), (2021, 2, 4)),
    # Five instalments of principal ahead: nothing is due until interest is; it was paid to
    # January 20, so what was charged by February 4 is not.
    ("equal_principal", 12, [((2021, 1, 20), 1_254_800)], (2021, 2, 3), (2021, 2, 4)),
    ("equal_principal", 12, [((2021, 1, 20), 1_254_800)], (2021, 2, 5), (2021, 2, 4)),
    # 3,000,000 × 0.003 / (1 − 1.003⁻¹²) = 254,901.8 a month, whatever the days of the month.
    ("equal_instalment", 12, [((2021, 2, 4), 254_902)], (2021, 2, 20), (2021, 3, 4)),
    ("equal_instalment", 12, [((2021, 2, 4), 254_901)], (2021, 2, 20), (2021, 2, 4)),
    (
        "equal_instalment",
        12,
        [((2021, 3, 4), 254_902), ((2021, 2, 4), 254_902)],
        (2021, 3, 5),
        (2021, 4, 4),
    ),
    # The last one asks for all that is left.
    (
        "equal_instalment",
        2,
        [((2021, 2, 4), 1_506_754), ((2021, 3, 4), 1_506_754)],
        (2021, 3, 5),
        (2021, 3, 4),
    ),
]


@pytest.mark.parametrize(("method", "months", "payments", "today", "due"), DUE)
def test_what_is_due_is_the_oldest_agreed_day_that_is_not_paid(
    method: str,
    months: int,
    payments: Sequence[tuple[Day, int]],
    today: Day,
    due: Day,
) -> None:
    start = date(2021, 1, 4)
    loan = replace(
        an_active_loan(method=method, term_months=months, disbursed_on=start),
        matures_on=date(*months_on((2021, 1, 4), months)),
    )
    lent = Amounts(principal_fen=Fen(30_000 * YUAN))
    postings = [Posting(1, PostingKind.DISBURSEMENT, start, fixed=lent, rate_ppm=36_000)]
    for number, (day, fen) in enumerate(payments, 2):
        postings.append(Posting(number, PostingKind.REPAYMENT, date(*day), Fen(fen)))
    terms = BookTerms(360, INTEREST_FIRST, subsidised=False)

    assert position.next_due(loan, terms, postings, date(*today)) == date(*due)


def test_the_table_is_as_long_as_it_says() -> None:
    rows = len(PLANS) + len(WORKED) + len(BOOKS) + len(WORKED_BOOKS) + len(DUE)

    assert rows >= 60
    assert {row[0] for row in PLANS} == {str(method) for method in Method}
    assert {row[0] for row in DUE} == {str(method) for method in Method}
