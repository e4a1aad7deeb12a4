"""Loans: counts and indicators of a programme, lenders against targets, bulletins. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from services.loans.rules.checks import NEW_BUSINESS_ENTITIES
from services.loans.rules.reports import Figures, Group, Held, Part, Rate, Span, figures, parts
from services.loans.rules.reports import unpaid_before as _unpaid_before
from services.programmes import breakers, bulletins, indicators
from services.programmes.bulletins import LoanLine
from services.programmes.indicators import Quotient
from services.programmes.schema.indicators import Count, Indicator, Kpi, in_order
from services.programmes.schema.monitoring import FiveTier


@dataclass(slots=True)
class Counted:
    """What a programme's counts are taken from, while loans are read."""

    span: Span
    year: Span
    """From the year's first day to the same day, for what was lent this year."""
    group: Group = field(default_factory=Group)
    this_year: Group = field(default_factory=Group)
    lent_to: dict[str, int] = field(default_factory=dict)
    entities: set[UUID] = field(default_factory=set)

    def add(self, held: Held) -> None:
        """One more loan."""
        own = figures(held, self.span)
        self.group.add(held.loan.household_id, own)
        kind = held.entity_kind or "household"
        self.lent_to[kind] = self.lent_to.get(kind, 0) + own.lent_fen
        if held.entity_kind:
            self.entities.add(held.loan.household_id)

    def add_of_year(self, held: Held) -> None:
        """The same loan as the calendar year sees it."""
        self.this_year.add(held.loan.household_id, figures(held, self.year))

    @property
    def figures(self) -> Figures:
        """All loans together."""
        return Figures(*self.group.sums)

    def counts(self, eligible_households: int) -> dict[str, int]:
        """The counts that loans answer, by the names that packs give them."""
        own, year = self.figures, Figures(*self.this_year.sums)
        entities = sum(fen for kind, fen in self.lent_to.items() if kind in NEW_BUSINESS_ENTITIES)
        households = len(self.group.households - self.entities)
        return {
            "outstanding": own.balance_fen,
            "non_performing": own.non_performing_fen,
            "due": own.due_fen,
            "collected": own.due_collected_fen,
            "repaid_at_maturity": own.due_collected_fen,
            "due_loans": own.due_loans,
            "collected_loans": own.due_collected_loans,
            "lent": own.lent_fen,
            "lent_this_year": year.disbursed_fen,
            "lent_before": own.lent_fen - year.disbursed_fen,
            "loans_this_year": year.new_loans,
            "new_loans": own.new_loans,
            "new_lent": own.disbursed_fen,
            "households_with_loan": households,
            "eligible_households": eligible_households,
            "entities_with_loan": len(self.entities),
            "lent_to_households": self.lent_to.get("household", 0),
            "lent_to_entities": entities,
            "lent_to_cooperatives": self.lent_to.get("cooperative", 0),
            "lent_to_leading_enterprises": self.lent_to.get("leading_enterprise", 0),
        }


@dataclass(frozen=True, slots=True)
class CountValue:
    """A count of a programme with where it comes from."""

    count: Count
    value: int
    ours: int | None
    stated_by: str = ""
    stated: int | None = None
    working: str = ""
    """How it follows from others; empty for a count that does not."""

    @property
    def difference(self) -> int | None:
        """What was stated less what follows or what is ours; none with nothing to compare."""
        against = self.value if self.count.is_made else self.ours
        return None if self.stated is None or against is None else self.stated - against


def known_counts(
    counts: Sequence[Count], ours: Mapping[str, int], stated: Mapping[str, tuple[int, str]]
) -> dict[str, CountValue]:
    """
    The counts that can be told: a stated one stands before ours, sums follow from their parts.

    What was stated of a sum never stands for it, it is held against it (C08). What lacks a part is
    left out: nothing is guessed.
    """
    usable: dict[str, Count] = {}
    for count in in_order(tuple(counts)):
        if count.is_made:
            known = usable.keys() >= {*count.plus, *count.minus}
        else:
            known = count.id in stated or count.id in ours
        if known:
            usable[count.id] = count
    given = {
        name: stated[name][0] if name in stated else ours[name]
        for name, count in usable.items()
        if not count.is_made
    }
    values = indicators.counted(tuple(usable.values()), given)
    found: dict[str, CountValue] = {}
    for name, count in usable.items():
        said, by = stated.get(name, (None, ""))
        own = None if count.is_made else ours.get(name)
        working = indicators.made(count, values).working if count.is_made else ""
        found[name] = CountValue(count, values[name], own, by, said, working)
    return found


def lacking(
    counts: Iterable[Count], known: Mapping[str, CountValue], stated: Collection[str]
) -> list[str]:
    """The counts that stated sums lack: without them there is nothing to hold those against."""
    parts = [part for each in counts if each.id in stated for part in (*each.plus, *each.minus)]
    return [part for part in dict.fromkeys(parts) if part not in known]


@dataclass(frozen=True, slots=True)
class IndicatorValue:
    """An indicator with its two counts."""

    rate: Rate
    pct: str


def indicator_values(
    wanted: Iterable[Indicator], counts: Mapping[str, CountValue]
) -> tuple[list[IndicatorValue], list[str]]:
    """The indicators whose counts are known, and the counts that the others lack."""
    found: list[IndicatorValue] = []
    missing: list[str] = []
    for each in wanted:
        lacks = [name for name in (each.numerator, each.denominator) if name not in counts]
        if lacks:
            missing += [name for name in lacks if name not in missing]
            continue
        over, under = counts[each.numerator].value, counts[each.denominator].value
        shown = indicators.ratio(over, under, decimals=each.decimals)
        found.append(IndicatorValue(Rate(each.id, over, under), shown.pct or ""))
    return found, missing


# --- lenders against targets ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """One target as a lender meets it."""

    kpi_id: str
    own: IndicatorValue
    average: IndicatorValue
    reached: bool
    marks_centi: int | None
    working: str


@dataclass(frozen=True, slots=True)
class Lender:
    """A lender's loans under a programme, and its counts."""

    lender_id: str
    figures: Figures
    households: int
    counts: Mapping[str, CountValue]


@dataclass(frozen=True, slots=True)
class Assessed:
    """A lender against the programme's targets."""

    lender: Lender
    targets: tuple[Target, ...]
    tolerated: bool | None
    tolerance_working: str

    @property
    def marks_centi(self) -> int:
        """All its marks."""
        return sum(each.marks_centi or 0 for each in self.targets)


def assess(
    lenders: Sequence[Lender],
    *,
    kpis: Sequence[Kpi],
    wanted: Mapping[str, Indicator],
    tolerance_ppm: int | None,
    stated: Mapping[str, tuple[int, int]],
) -> tuple[list[Assessed], list[str]]:
    """
    Every lender against every target, the area's average being all lenders' counts added up.

    `stated` is each lender's non-performing part and whole over all its loans. Counts that a target
    lacks are named.
    """
    missing: list[str] = []
    found: list[Assessed] = []
    usable: list[tuple[Kpi, Indicator, IndicatorValue]] = []
    for kpi in kpis:
        indicator = wanted[kpi.indicator]
        values = [indicator_values([indicator], lender.counts) for lender in lenders]
        for _, lacks in values:
            missing += [name for name in lacks if name not in missing]
        if values and all(own for own, _ in values):
            usable.append((kpi, indicator, _average(indicator, [own[0] for own, _ in values])))
    for lender in lenders:
        targets = tuple(
            _target(kpi, indicator, lender, average) for kpi, indicator, average in usable
        )
        tolerated, working = _tolerated(lender, tolerance_ppm, stated.get(lender.lender_id))
        found.append(Assessed(lender, targets, tolerated, working))
    return found, missing


def _average(indicator: Indicator, own: Sequence[IndicatorValue]) -> IndicatorValue:
    over = sum(each.rate.numerator for each in own)
    under = sum(each.rate.denominator for each in own)
    shown = indicators.ratio(over, under, decimals=indicator.decimals)
    return IndicatorValue(Rate(indicator.id, over, under), shown.pct or "")


def _target(kpi: Kpi, indicator: Indicator, lender: Lender, average: IndicatorValue) -> Target:
    (own,), _ = indicator_values([indicator], lender.counts)
    marked = indicators.kpi_marks(
        kpi,
        Quotient(own.rate.numerator, own.rate.denominator),
        Quotient(average.rate.numerator, average.rate.denominator),
    )
    return Target(kpi.id, own, average, marked.reached, marked.marks_centi, marked.working)


def _tolerated(
    lender: Lender, tolerance_ppm: int | None, stated: tuple[int, int] | None
) -> tuple[bool | None, str]:
    if tolerance_ppm is None or stated is None:
        return None, ""
    found = breakers.npl_tolerance(
        lender.figures.non_performing_fen,
        lender.figures.balance_fen,
        *stated,
        tolerance_ppm=tolerance_ppm,
    )
    return found.tolerated, found.working


# --- bulletins ------------------------------------------------------------------------------------


def bulletin_lines(held: Held, span: Span) -> list[LoanLine]:
    """
    A loan for a bulletin: a line for each part that falls due, for each counts in its own month.

    Interest and class are the loan's, so they stand on its first line only.
    """
    own: Sequence[Part] = parts(held) or (Part(held.matures_on, 0, 0),)
    left = max(0, held.moved.balance_fen)
    interest = figures(held, span).overdue_interest_fen
    lines: list[LoanLine] = []
    for part in own:
        unpaid = min(part.due_fen - part.collected_fen, left)
        left -= unpaid
        first = not lines
        lines.append(
            LoanLine(
                str(held.loan.loan_id),
                part.due_on,
                part.due_fen,
                unpaid,
                interest if first else 0,
                FiveTier(held.tier) if first else FiveTier.NORMAL,
                FiveTier(held.tier_before) if first else FiveTier.NORMAL,
            )
        )
    assert sum(
        each.principal_outstanding_fen for each in lines if each.maturity_on < span.as_of
    ) == _unpaid_before(held, span.as_of, own)
    return lines


def bulletin_of(held: Iterable[Held], span: Span) -> bulletins.Bulletin:
    """The sums and changes of a bulletin on the day at whose end balances stand."""
    lines = [line for each in held for line in bulletin_lines(each, span)]
    return bulletins.bulletin(span.as_of, lines)


def year_to(day: date) -> Span:
    """The calendar year up to a day."""
    return Span(day.replace(month=1, day=1), day, day)
