"""Loans: brief reports: a county's figures without its loans one by one; months' ends kept."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.loans import store
from services.loans.operations import reporting
from services.loans.operations.reporting import Report
from services.loans.rules import brief as rules
from services.loans.rules import reports as report_rules
from services.loans.rules.brief import Brief
from services.loans.rules.reports import Dimension, Figures, Held, Key, Moved, Row, Span
from services.loans.store import brief as brief_store
from services.loans.store import reports as report_store
from services.loans.store.reports import Question
from services.programmes.loader import Catalogue

_OF_ROWS = tuple(name for name in brief_store.NAMES if name in report_rules.NAMES)
_STANDING = (
    "loans",
    "owing_loans",
    "balance_fen",
    "interest_owed_fen",
    "overdue_principal_fen",
    "non_performing_loans",
    "non_performing_fen",
    "covered_fen",
)
_MOVED = ("lent_fen", "disbursed_fen", "collected_principal_fen")


async def report(
    session: AsyncSession,
    asked: Question,
    by: Sequence[Dimension],
    span: Span,
    catalogue: Catalogue,
) -> Report:
    """
    A report whose figures are those of `Brief`; the others may be 0.

    Of today it is added up by sets; a month's end that was kept is read. Any other day, and keys
    that a loan's row does not have, are answered loan by loan, as a whole report is.
    """
    found: dict[Key, Brief] | None = None
    households: dict[Key, tuple[int, int]] = {}
    if rules.can_be_brief(by, asked.areas):
        today = await reporting.today_of(session, asked.county_code)
        if span.as_of == today:
            found, households = await _today(session, asked, by, span)
        elif _is_month(span) and await brief_store.is_kept(session, asked.county_code, span.as_of):
            found = await brief_store.kept(session, asked, by, span.as_of)
    if found is None:
        return await reporting.report(session, asked, by, span, catalogue)
    if not by and not found:
        found[()] = Brief()
    counted_on, counted = await reporting.households_counted(session, asked, span, catalogue)
    rows = [
        Row(
            key,
            Figures(**{name: getattr(own, name) for name in _OF_ROWS}),
            *households.get(key, (0, 0)),
            report_rules.counted_of(key, by, counted),
            own.covered_fen,
        )
        for key, own in sorted(found.items())
    ]
    return Report(rows, span, counted_on)


def _is_month(span: Span) -> bool:
    """Whether a span is one month, and ends on the day that balances are asked of."""
    return span.first == span.as_of.replace(
        day=1
    ) and span.as_of == span.last == report_rules.month_end(span.as_of)


async def _today(
    session: AsyncSession, asked: Question, by: Sequence[Dimension], span: Span
) -> tuple[dict[Key, Brief], dict[Key, tuple[int, int]]]:
    """Figures by key, and households that were lent to and that owe."""
    sums: defaultdict[Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    households: dict[Key, tuple[int, int]] = {}
    for row in await brief_store.standing(session, asked, by, span.as_of):
        key = tuple(row["key"])
        sums[key] = defaultdict(int, {name: row[name] for name in _STANDING})
        households[key] = (row["households"], row["owing_households"])
    for row in await brief_store.moved(session, asked, by, span):
        for name in _MOVED:
            sums[tuple(row["key"])][name] += row[name]
    for row in await brief_store.late(session, asked, span.as_of):
        held = _held(row)
        late = report_rules.unpaid_before(held, span.as_of, report_rules.parts(held))
        sums[report_rules.key_of(held, by)]["overdue_principal_fen"] += late
    return (
        # A row of a report is about loans that were paid out, or that a cover waits for.
        {key: Brief(**own) for key, own in sums.items() if own["loans"] or own["covered_fen"]},
        households,
    )


def _held(row: asyncpg.Record) -> Held:
    """As much of a loan as tells what of its principal fell due."""
    loan = store.loan_of(row)
    plan = report_store.plan_of(row)
    assert loan.matures_on is not None
    moved = Moved(
        balance_fen=row["balance_fen"],
        lent_fen=row["lent_fen"],
        collected_fen=row["collected_fen"],
        carried_away_fen=row["carried_away_fen"],
    )
    return Held(loan, moved, loan.matures_on if plan is None else plan.matures_on, plan=plan)


async def keep_month_end(session: AsyncSession, county_code: str, day: date) -> None:
    """At a month's end, keep what it came to: later entries change nothing about it."""
    if day != report_rules.month_end(day):
        return
    asked = Question(county_code, (county_code,))
    span = Span(day.replace(day=1), day, day)
    found, _ = await _today(session, asked, brief_store.FINEST, span)
    await brief_store.keep(session, county_code, day, found)
