"""
Loans: reports: one function of loans as they stood on a day, by dimension and measure. Pure.

A figure of a group is the sum of that figure over its loans; only households are counted once each.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
from enum import StrEnum
from operator import attrgetter
from uuid import UUID

from services.kernel.errors import invalid_field
from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans.model import Loan, LoanState
from services.loans.rules import book, position, schedule
from services.loans.rules.book import BookTerms, Posting
from services.loans.rules.checks import CLASS_OF_STATUS
from services.loans.rules.schedule import Plan
from services.programmes import calendars, cohorts, delinquency, indicators
from services.programmes.schema.reports import Analytics
from services.programmes.schema.values import BorrowerClass

VILLAGE_DIGITS = 12
TOWNSHIP_DIGITS = 9
COUNTY_DIGITS = 6
PROVINCE_DIGITS = 2
MONTHS_MAX = 36


class Dimension(StrEnum):
    """What a row of a report may be about."""

    VILLAGE = "village"
    TOWNSHIP = "township"
    COUNTY = "county"
    PROVINCE = "province"
    LENDER = "lender"
    OFFICER = "officer"
    PRODUCT = "product"
    PROGRAMME = "programme"
    BORROWER_TYPE = "borrower_type"
    USE_MODE = "use_mode"
    FUNDING = "funding"
    VINTAGE = "vintage"
    MATURITY_YEAR = "maturity_year"
    MATURITY_MONTH = "maturity_month"
    TIER = "tier"
    HOUSEHOLD = "household"
    LOAN = "loan"


AREAS = {
    Dimension.VILLAGE: VILLAGE_DIGITS,
    Dimension.TOWNSHIP: TOWNSHIP_DIGITS,
    Dimension.COUNTY: COUNTY_DIGITS,
    Dimension.PROVINCE: PROVINCE_DIGITS,
}
OF_PERSONS = frozenset({Dimension.HOUSEHOLD, Dimension.LOAN})
"""Rows about one household: not for everybody who may read reports."""

VINTAGE = Analytics(cohort_by=("disbursement_year", "batch"))
"""A cohort where the programme does not cut its own (JX.mon.1)."""


@dataclass(frozen=True, slots=True)
class Span:
    """The days that flows are counted on, and the day as of which balances stand."""

    first: date
    last: date
    as_of: date


@dataclass(frozen=True, slots=True)
class Moved:
    """What a loan's rows of the journal come to, in fen: to a day, and within a span."""

    balance_fen: int = 0
    interest_owed_fen: int = 0
    balance_before_fen: int = 0
    """Principal owed at the end of the day before the span."""
    lent_fen: int = 0
    """Paid out, taken over and carried in, to the day."""
    collected_fen: int = 0
    """Principal that money paid, to the day."""
    carried_away_fen: int = 0
    """Principal that went over to a renewal, to the day."""
    disbursed_fen: int = 0
    taken_over_fen: int = 0
    carried_in_fen: int = 0
    carried_out_fen: int = 0
    collected_principal_fen: int = 0
    collected_interest_fen: int = 0
    forgiven_interest_fen: int = 0
    written_off_fen: int = 0
    recovered_fen: int = 0
    interest_charged_fen: int = 0
    subsidy_fen: int = 0
    subsidy_paid_fen: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """A loan as it stood at the end of a day."""

    loan: Loan
    moved: Moved
    matures_on: date
    plan: Plan | None = None
    """The agreement in force on the day."""
    tier: str = "normal"
    tier_before: str = "normal"
    """At the end of the day before the span."""
    non_performing: bool = False
    interest_late: bool = False
    """An agreed day passed on which interest was not paid in full."""
    officer: str = ""
    use_mode: str = ""
    funding: str = ""
    batch: str = ""
    entity_kind: str = ""
    cohort: Analytics = VINTAGE


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a loan that falls due on a day, and what money paid of it."""

    due_on: date
    due_fen: int
    collected_fen: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What reports say of a loan, or of many: whole numbers that add up."""

    loans: int = 0
    owing_loans: int = 0
    new_loans: int = 0
    lent_fen: int = 0
    balance_before_fen: int = 0
    disbursed_fen: int = 0
    taken_over_fen: int = 0
    carried_in_fen: int = 0
    carried_out_fen: int = 0
    collected_principal_fen: int = 0
    collected_interest_fen: int = 0
    forgiven_interest_fen: int = 0
    written_off_fen: int = 0
    recovered_fen: int = 0
    balance_fen: int = 0
    interest_owed_fen: int = 0
    interest_charged_fen: int = 0
    subsidy_fen: int = 0
    subsidy_paid_fen: int = 0
    due_loans: int = 0
    due_fen: int = 0
    due_collected_loans: int = 0
    due_collected_fen: int = 0
    overdue_loans: int = 0
    overdue_principal_fen: int = 0
    overdue_interest_fen: int = 0
    normal_fen: int = 0
    special_mention_fen: int = 0
    substandard_fen: int = 0
    doubtful_fen: int = 0
    loss_fen: int = 0
    non_performing_loans: int = 0
    non_performing_fen: int = 0

    def plus(self, other: "Figures") -> "Figures":
        """Both together."""
        return Figures(*map(int.__add__, _values(self), _values(other)))


NAMES = tuple(each.name for each in fields(Figures))
_values = attrgetter(*NAMES)
Key = tuple[str, ...]
"""What a row is about, a value for each dimension asked."""


@dataclass(slots=True)
class Group:
    """A row while loans are added to it."""

    sums: list[int] = field(default_factory=lambda: [0] * len(NAMES))
    households: set[UUID] = field(default_factory=set)
    owing: set[UUID] = field(default_factory=set)

    def add(self, household_id: UUID, own: Figures) -> None:
        """One more loan."""
        for place, value in enumerate(_values(own)):
            self.sums[place] += value
        self.households.add(household_id)
        if own.owing_loans:
            self.owing.add(household_id)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a report."""

    key: Key
    figures: Figures
    households: int
    """Households that were lent to, each once."""
    owing_households: int
    counted_households: int | None
    """Households of the area, with loans or without; None for rows that are no area."""
    covered_fen: int | None = None
    """Principal that covers stand for; None where only loans one by one were read."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A ratio with what it was worked out from."""

    id: str
    numerator: int
    denominator: int

    @property
    def pct(self) -> str:
        """With two decimals, half up; empty over nothing (S02)."""
        return indicators.ratio(self.numerator, self.denominator, decimals=2).pct or ""


def span_of(first: date, last: date, *, as_of: date | None, today: date) -> Span:
    """The days a report is about, or a refusal: turned round, or not lived yet."""
    if first > last:
        raise invalid_field("PERIOD_TURNED_ROUND", "last", last, f"must not be before {first}")
    end = min(last, today) if as_of is None else as_of
    if end > today:
        raise invalid_field(
            "DAY_IN_FUTURE", "as_of", end, f"must not be after {today}", "日期不得晚于营业日"
        )
    if first > end:
        raise invalid_field(
            "DAY_IN_FUTURE", "first", first, f"must not be after {end}", "日期不得晚于营业日"
        )
    return Span(first, last, end)


def key_of(held: Held, by: Sequence[Dimension]) -> Key:
    """What a loan belongs to."""
    return tuple(_key(held, each) for each in by)


def _key(held: Held, dimension: Dimension) -> str:
    loan = held.loan
    match dimension:
        case Dimension.VILLAGE | Dimension.TOWNSHIP | Dimension.COUNTY | Dimension.PROVINCE:
            return loan.area_code[: AREAS[dimension]]
        case Dimension.LENDER:
            return loan.lender_id
        case Dimension.OFFICER:
            return held.officer
        case Dimension.PRODUCT:
            return loan.product_id
        case Dimension.PROGRAMME:
            return loan.programme.split("@")[0]
        case Dimension.BORROWER_TYPE:
            return loan.borrower_class
        case Dimension.USE_MODE:
            return held.use_mode
        case Dimension.FUNDING:
            return held.funding
        case Dimension.VINTAGE:
            assert loan.disbursed_on is not None
            return cohorts.cohort_key(held.cohort, loan.disbursed_on, held.batch)
        case Dimension.MATURITY_YEAR:
            return f"{held.matures_on:%Y}"
        case Dimension.MATURITY_MONTH:
            return f"{held.matures_on:%Y-%m}"
        case Dimension.TIER:
            return held.tier
        case Dimension.HOUSEHOLD:
            return str(loan.household_id)
        case Dimension.LOAN:
            return str(loan.loan_id)


# --- one loan -------------------------------------------------------------------------------------


def parts(held: Held) -> tuple[Part, ...]:
    """
    What of a loan falls due when, the earliest first, and what money paid of each part (S19).

    What goes over to a renewal no longer falls due here. Of a limit what is drawn falls due at its
    end.
    """
    due = _due(held)
    left = held.moved.collected_fen
    found = []
    for due_on, due_fen in due:
        paid = max(0, min(due_fen, left))
        left -= paid
        found.append(Part(due_on, due_fen, paid))
    return tuple(found)


def _due(held: Held) -> list[tuple[date, int]]:
    loan, moved = held.loan, held.moved
    assert loan.disbursed_on is not None
    base = moved.lent_fen - moved.carried_away_fen
    if base <= 0:
        return []
    if loan.revolving_until is not None:
        return [(held.matures_on, base)]
    if held.plan is None:
        planned = _planned(loan, base)
        return _front(_back(planned, base), base)
    # New terms pay back what was owed then; what was paid before counts where it was due.
    agreed = [(each.due_on, int(each.principal_fen)) for each in held.plan.instalments()]
    renewed = _front(agreed, base)
    before = base - sum(amount for _, amount in renewed)
    earlier = _front(_planned(loan, base), before) if before else []
    return sorted([*earlier, *renewed])


def _planned(loan: Loan, base: int) -> list[tuple[date, int]]:
    assert loan.disbursed_on is not None
    planned = schedule.plan(
        Fen(max(base, loan.principal_fen - loan.undrawn_fen)),
        rate_ppm=loan.rate_ppm,
        start=loan.disbursed_on,
        term_months=loan.term_months,
        method=schedule.Method(loan.method),
    )
    return [(each.due_on, int(each.principal_fen)) for each in planned]


def _front(planned: Sequence[tuple[date, int]], amount: int) -> list[tuple[date, int]]:
    """The first parts that make up an amount."""
    found: list[tuple[date, int]] = []
    for due_on, part in planned:
        taken = min(part, amount)
        if taken > 0:
            found.append((due_on, taken))
        amount -= taken
    return found


def _back(planned: Sequence[tuple[date, int]], amount: int) -> list[tuple[date, int]]:
    """The last parts that make up an amount: the first ones were paid in another book."""
    return _front(planned[::-1], amount)[::-1]


def unpaid_before(held: Held, day: date, own: Sequence[Part]) -> int:
    """Principal that was to be paid before a day and is owed still."""
    late = sum(each.due_fen - each.collected_fen for each in own if each.due_on < day)
    return min(late, max(0, held.moved.balance_fen))


def figures(held: Held, span: Span) -> Figures:
    """What reports say of one loan."""
    moved, loan = held.moved, held.loan
    own = parts(held)
    due = [each for each in own if span.first <= each.due_on <= span.last]
    collected = sum(each.collected_fen for each in due)
    due_fen = sum(each.due_fen for each in due)
    overdue = unpaid_before(held, span.as_of, own)
    late = overdue > 0 or held.interest_late
    if not moved.balance_fen and moved.interest_owed_fen and held.matures_on < span.as_of:
        late = True
    owing = owes(held)
    bad = held.non_performing and moved.balance_fen > 0
    tiers = {f"{held.tier}_fen": moved.balance_fen}
    copied = {name: getattr(moved, name) for name in _COPIED}
    assert loan.disbursed_on is not None
    return Figures(
        loans=1,
        owing_loans=int(owing),
        new_loans=int(bool(moved.disbursed_fen) and span.first <= loan.disbursed_on <= span.last),
        due_loans=int(due_fen > 0),
        due_fen=due_fen,
        due_collected_loans=int(due_fen > 0 and collected == due_fen),
        due_collected_fen=collected,
        overdue_loans=int(late and owing),
        overdue_principal_fen=overdue,
        overdue_interest_fen=moved.interest_owed_fen if late else 0,
        non_performing_loans=int(bad),
        non_performing_fen=moved.balance_fen if bad else 0,
        **copied,
        **tiers,
    )


_COPIED = tuple(each.name for each in fields(Moved) if each.name in NAMES)


def owes(held: Held) -> bool:
    """Whether a loan owes anything on the day."""
    return held.moved.balance_fen > 0 or held.moved.interest_owed_fen > 0


def interest_is_late(
    held: Held, terms: BookTerms, postings: Sequence[Posting], as_of: date
) -> bool:
    """Whether an agreed day passed that was not paid in full, by the book as it was known then."""
    counted = book.counting(postings)
    if not counted:
        return False
    loan = held.loan
    undrawn = loan.undrawn_fen
    if counted[0].kind is not book.PostingKind.OPENING:
        undrawn = Fen(max(0, loan.principal_fen - held.moved.lent_fen))
    then = replace(
        loan,
        # A loan that owed something was active then, whatever became of it since.
        state=LoanState.ACTIVE,
        outstanding_fen=Fen(held.moved.balance_fen),
        undrawn_fen=undrawn,
        matures_on=held.matures_on,
    )
    due = position.next_due(then, terms, postings, as_of, held.plan)
    return due is not None and delinquency.overdue_days(due, as_of) > 0


def statuses_of(classes: Collection[BorrowerClass]) -> list[str]:
    """Statuses of households that are of these classes of borrowers."""
    return [status for status, own in CLASS_OF_STATUS.items() if own in classes]


# --- many loans -----------------------------------------------------------------------------------


class Groups:
    """Rows by their keys, while loans are read."""

    def __init__(self, by: Sequence[Dimension], span: Span) -> None:
        self.by = tuple(by)
        self.span = span
        self.groups: dict[Key, Group] = {}

    def add(self, held: Iterable[Held]) -> None:
        """More loans."""
        for each in held:
            key = key_of(each, self.by)
            group = self.groups.get(key)
            if group is None:
                group = self.groups[key] = Group()
            group.add(each.loan.household_id, figures(each, self.span))

    def rows(self, counted: Mapping[str, int]) -> list[Row]:
        """The rows in order of their keys; `counted` is households by village."""
        if not self.by and not self.groups:
            self.groups[()] = Group()
        return [
            Row(
                key,
                Figures(*group.sums),
                len(group.households),
                len(group.owing),
                counted_of(key, self.by, counted),
            )
            for key, group in sorted(self.groups.items())
        ]


def counted_of(key: Key, by: Sequence[Dimension], counted: Mapping[str, int]) -> int | None:
    """Households of a row that is an area; None for any other."""
    if any(each not in AREAS for each in by):
        return None
    within = max(key, key=len, default="")
    return sum(count for village, count in counted.items() if village.startswith(within))


def report(
    held: Iterable[Held], by: Sequence[Dimension], span: Span, counted: Mapping[str, int]
) -> list[Row]:
    """A whole report of loans at once."""
    groups = Groups(by, span)
    groups.add(held)
    return groups.rows(counted)


def rates(row: Row) -> tuple[Rate, ...]:
    """The ratios of a row: never kept without what they come from (C08)."""
    own = row.figures
    found = [
        Rate("npl_ratio", own.non_performing_fen, own.balance_fen),
        Rate("recovery_rate", own.due_collected_fen, own.due_fen),
        Rate("overdue_ratio", own.overdue_principal_fen, own.balance_fen),
    ]
    if row.counted_households is not None:
        found.append(Rate("loan_coverage_ratio", row.households, row.counted_households))
    return tuple(found)


# --- months of collection -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MonthRate:
    """Principal that fell due in a month and what was collected of it by the day."""

    month: str
    due_fen: int
    collected_fen: int


def months_between(first: date, last: date) -> list[str]:
    """The months from one to another, at most so many."""
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    if not 0 < count <= MONTHS_MAX:
        raise invalid_field(
            "TOO_MANY_MONTHS", "last", last, f"must be within {MONTHS_MAX} months of {first}"
        )
    begin = first.replace(day=1)
    return [f"{calendars.add_months(begin, each):%Y-%m}" for each in range(count)]


class Collections:
    """Due and collected by key and month, while loans are read (S19)."""

    def __init__(self, by: Sequence[Dimension], months: Sequence[str]) -> None:
        self.by = tuple(by)
        self.months = list(months)
        self._sums: dict[Key, dict[str, list[int]]] = {}

    def add(self, held: Iterable[Held]) -> None:
        """More loans."""
        for each in held:
            own = self._sums.setdefault(
                key_of(each, self.by), {month: [0, 0] for month in self.months}
            )
            for part in parts(each):
                sums = own.get(f"{part.due_on:%Y-%m}")
                if sums is not None:
                    sums[0] += part.due_fen
                    sums[1] += part.collected_fen

    def rows(self) -> list[tuple[Key, tuple[MonthRate, ...]]]:
        """The rows in order of their keys."""
        return [
            (key, tuple(MonthRate(month, *sums) for month, sums in own.items()))
            for key, own in sorted(self._sums.items())
        ]


def month_end(on: date) -> date:
    """The last day of a day's month."""
    return calendars.add_months(on.replace(day=1), 1) - timedelta(days=1)
