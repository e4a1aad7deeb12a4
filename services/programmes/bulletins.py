"""Bulletins: what falls due, what is overdue, what changed class, and on which days a report is."""

import calendar as months
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from services.programmes.schema.monitoring import FiveTier
from services.programmes.schema.reports import EarlyWarning, Report, RiskList, Section
from services.programmes.schema.values import Every, known


@dataclass(frozen=True, slots=True)
class LoanLine:
    """What a bulletin needs of a loan on its day."""

    loan_id: str
    maturity_on: date
    principal_due_fen: int
    principal_outstanding_fen: int
    interest_overdue_fen: int
    tier: FiveTier = FiveTier.NORMAL
    tier_before: FiveTier = FiveTier.NORMAL


@dataclass(frozen=True, slots=True)
class Bulletin:
    """The parts of a monthly risk bulletin."""

    due_this_month_fen: int
    overdue_principal_fen: int
    overdue_interest_fen: int
    due_next_month_fen: int
    worse: tuple[str, ...]
    better: tuple[str, ...]
    working: str


@dataclass(frozen=True, slots=True)
class Period:
    """The days one issue of a report is about."""

    first: date
    last: date


def bulletin(report_on: date, loans: Sequence[LoanLine]) -> Bulletin:
    """
    Due and overdue on the bulletin's day.

    A loan counts as due in the month of its maturity, paid or not (S19); it is overdue for what is
    still owed after that day.
    """
    due = [each for each in loans if _month(each.maturity_on) == _month(report_on)]
    next_month = _month(_month_end(report_on) + timedelta(days=1))
    due_next = [each for each in loans if _month(each.maturity_on) == next_month]
    overdue = [each for each in loans if each.maturity_on < report_on]
    worse, better = risk_changes(loans)
    working = (
        f"due: {_ids(due)}; overdue: {_ids([o for o in overdue if _owes(o)])}; "
        f"next month: {_ids(due_next)}"
    )
    return Bulletin(
        sum(each.principal_due_fen for each in due),
        sum(each.principal_outstanding_fen for each in overdue),
        sum(each.interest_overdue_fen for each in loans),
        sum(each.principal_due_fen for each in due_next),
        worse,
        better,
        working,
    )


def section_of(made: Bulletin, section: Section) -> Mapping[str, int | tuple[str, ...]]:
    """The figures of one part of a bulletin."""
    match section:
        case Section.DUE_THIS_MONTH:
            return {"due_this_month_fen": made.due_this_month_fen}
        case Section.OVERDUE:
            return {
                "overdue_principal_fen": made.overdue_principal_fen,
                "overdue_interest_fen": made.overdue_interest_fen,
            }
        case Section.DUE_NEXT_MONTH:
            return {"due_next_month_fen": made.due_next_month_fen}
        case Section.RISK_CHANGES:
            return {"worse": made.worse, "better": made.better}


def risk_changes(loans: Sequence[LoanLine]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The loans whose class became worse, and those whose class became better."""
    order = list(FiveTier)
    moved = [(each, order.index(each.tier) - order.index(each.tier_before)) for each in loans]
    return (
        tuple(each.loan_id for each, steps in moved if steps > 0),
        tuple(each.loan_id for each, steps in moved if steps < 0),
    )


def on_risk_list(rule: RiskList, tier: FiveTier) -> bool:
    """Of the class the pack names, or worse."""
    order = list(FiveTier)
    return order.index(tier) >= order.index(FiveTier(rule.from_tier))


def period(every: Every, on: date) -> Period | None:
    """The period a day is in; a report for events has none."""
    match every:
        case Every.EVENT:
            return None
        case Every.DAY:
            return Period(on, on)
        case Every.WEEK:
            monday = on - timedelta(days=on.weekday())
            return Period(monday, monday + timedelta(days=6))
        case Every.MONTH:
            return Period(on.replace(day=1), _month_end(on))
        case Every.QUARTER:
            first = on.replace(month=3 * ((on.month - 1) // 3) + 1, day=1)
            return Period(first, _month_end(first.replace(month=first.month + 2)))
        case Every.YEAR:
            return Period(on.replace(month=1, day=1), on.replace(month=12, day=31))


def is_due(report: Report, on: date, *, overdue_loans: int) -> bool:
    """Whether an issue is made at the close of this day: on the last day of its period."""
    if report.only_while_overdue and overdue_loans == 0:
        return False
    found = period(known(report.every), on)
    return found is not None and found.last == on


def warnings(
    rules: Sequence[EarlyWarning], maturity_on: date, *, on: date, settled: bool
) -> tuple[str, ...]:
    """The warnings that a loan gives on a day; a settled loan gives none."""
    if settled:
        return ()
    return tuple(rule.id for rule in rules if _warns(rule, (maturity_on - on).days))


def _warns(rule: EarlyWarning, days_left: int) -> bool:
    match rule.of:
        case "maturing":
            assert rule.lead_days is not None
            return 0 < days_left <= known(rule.lead_days)
        case "matured":
            return days_left == 0
        case "overdue":
            return days_left < 0
        case "industry_risk":
            return False


def _owes(loan: LoanLine) -> bool:
    return loan.principal_outstanding_fen > 0 or loan.interest_overdue_fen > 0


def _ids(loans: Sequence[LoanLine]) -> str:
    return ", ".join(each.loan_id for each in loans) or "none"


def _month(on: date) -> tuple[int, int]:
    return on.year, on.month


def _month_end(on: date) -> date:
    return on.replace(day=months.monthrange(on.year, on.month)[1])
