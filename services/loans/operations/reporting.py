"""Loans: reports for those who may see what: read chunk by chunk, added up by pure rules."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day
from services.kernel.caller import Caller
from services.kernel.errors import Denied, Refused, Violation
from services.kernel.values import replace
from services.loans import reports, store
from services.loans.model import Loan
from services.loans.operations.shared import terms_by_ref
from services.loans.rules import position
from services.loans.rules import reports as rules
from services.loans.rules.book import Line, Posting
from services.loans.rules.lending import LENDER_ROLES
from services.loans.rules.reports import Dimension, Figures, Held, Key, MonthRate, Row, Span
from services.loans.rules.schedule import Method
from services.loans.store import reports as report_store
from services.loans.store.reports import Question
from services.programmes import bulletins, calendars
from services.programmes.loader import Catalogue
from services.programmes.schema.monitoring import FiveTier
from services.programmes.schema.reports import RiskList
from services.programmes.schema.values import known
from services.programmes.terms import Terms

SEES_PERSONS = frozenset(
    {"county_centre", "poverty_office", "township_station", "village_department", "auditor"}
)
"""Beside lenders of their own loans: who may see rows about one household."""


# --- who sees what --------------------------------------------------------------------------------


def question_of(
    caller: Caller,
    county_code: str,
    *,
    within: str = "",
    lender_id: str = "",
    programme_id: str = "",
    product_id: str = "",
    household_id: UUID | None = None,
) -> Question:
    """The loans that are asked for, or a refusal by field: an area or a lender of others."""
    if caller.county_code not in ("000000", county_code):
        raise _not_yours(caller, "county_code", county_code, f"must be {caller.county_code}")
    areas = caller.areas or (county_code,)
    if within:
        if not within.startswith(county_code):
            raise _not_yours(caller, "within", within, f"must begin with {county_code}")
        if not any(within.startswith(area) for area in areas):
            raise _not_yours(caller, "within", within, f"must be within {', '.join(areas)}")
        areas = (within,)
    if caller.role in LENDER_ROLES:
        if lender_id not in ("", caller.institution_id):
            rule = f"must be {caller.institution_id}: a lender sees its own loans"
            raise Denied(
                "LENDER_NOT_YOU",
                f"lender_id = {lender_id}: {rule}",
                message_zh="不得查看其他机构的贷款",
                violations=[Violation("lender_id", lender_id, rule)],
            )
        lender_id = caller.institution_id
    return Question(county_code, areas, lender_id, programme_id, product_id, household_id)


def _not_yours(caller: Caller, field: str, value: str, rule: str) -> Denied:
    return Denied(
        "AREA_NOT_YOURS",
        f"{caller.institution_id}: {field} = {value}: {rule}",
        message_zh="超出本机构辖区",
        violations=[Violation(field, value, rule)],
    )


def check_dimensions(caller: Caller, by: Sequence[Dimension]) -> None:
    """Refuse rows about households to those who may only see sums."""
    if caller.role in SEES_PERSONS or caller.role in LENDER_ROLES:
        return
    for each in by:
        if each in rules.OF_PERSONS:
            rule = f"role {caller.role} sees no rows about single households"
            raise Denied(
                "ROLE_NOT_ALLOWED",
                f"by = {each}: {rule}",
                message_zh="本角色无此权限",
                violations=[Violation("by", each, rule)],
            )


# --- reading --------------------------------------------------------------------------------------


async def read(
    session: AsyncSession, asked: Question, span: Span, catalogue: Catalogue
) -> AsyncGenerator[list[Held]]:
    """The loans of a question as they stood on a day, some at a time."""
    terms_of = terms_by_ref(catalogue, asked.county_code)
    async for rows in report_store.held(session, asked, span):
        held = [_held(row, terms_of) for row in rows]
        # Only interest that falls due before the principal needs the book itself.
        unsure = [
            each.loan.loan_id
            for each in held
            if each.loan.method != Method.BULLET and rules.owes(each)
        ]
        if unsure:
            books = await report_store.postings_by(session, asked.county_code, unsure, span.as_of)
            held = [_with_book(each, books, terms_of, span) for each in held]
        yield held


def _held(row: asyncpg.Record, terms_of: Callable[[str], Terms]) -> Held:
    loan = store.loan_of(row)
    plan = report_store.plan_of(row)
    assert loan.disbursed_on is not None
    assert loan.matures_on is not None
    matures_on = loan.matures_on
    if plan is not None:
        matures_on = plan.matures_on
    elif row["agreed_later"]:
        matures_on = calendars.add_months(loan.disbursed_on, loan.term_months)
    monitoring = terms_of(loan.programme).pack.monitoring
    cuts = monitoring is not None and monitoring.analytics.cohort_by
    return Held(
        loan,
        report_store.moved_of(row),
        matures_on,
        plan=plan,
        tier=row["tier"],
        tier_before=row["tier_before"],
        non_performing=row["non_performing"],
        officer=row["officer"],
        use_mode=row["use_mode"],
        funding=row["funding"],
        batch=row["batch"],
        entity_kind=row["entity_kind"],
        cohort=monitoring.analytics if monitoring and cuts else rules.VINTAGE,
    )


def _with_book(
    held: Held,
    books: Mapping[UUID, Sequence[Posting]],
    terms_of: Callable[[str], Terms],
    span: Span,
) -> Held:
    postings = books.get(held.loan.loan_id)
    if not postings:
        return held
    book_terms = position.book_terms(held.loan, terms_of(held.loan.programme))
    return replace(
        held, interest_late=rules.interest_is_late(held, book_terms, postings, span.as_of)
    )


async def today_of(session: AsyncSession, county_code: str) -> date:
    """The county's business date."""
    return await business_day.today(session, county_code)


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report."""

    rows: Sequence[Row]
    span: Span
    counted_on: date


async def report(
    session: AsyncSession,
    asked: Question,
    by: Sequence[Dimension],
    span: Span,
    catalogue: Catalogue,
) -> Report:
    """Every row of a report, in order of the keys."""
    groups = rules.Groups(by, span)
    async for held in read(session, asked, span, catalogue):
        groups.add(held)
    counted_on, counted = await households_counted(session, asked, span, catalogue)
    return Report(groups.rows(counted), span, counted_on)


async def report_of(
    session: AsyncSession,
    asked: Question,
    held: Sequence[Held],
    span: Span,
    catalogue: Catalogue,
) -> Report:
    """One row of loans that were read already."""
    counted_on, counted = await households_counted(session, asked, span, catalogue)
    return Report(rules.report(held, (), span, counted), span, counted_on)


async def households_counted(
    session: AsyncSession, asked: Question, span: Span, catalogue: Catalogue
) -> tuple[date, Mapping[str, int]]:
    """Households that a programme lends to; without one, all of them."""
    statuses: Sequence[str] = ()
    if asked.programme_id:
        terms = terms_at(catalogue, asked.county_code, asked.programme_id, span.as_of)
        products = terms.pack.loan_products
        statuses = rules.statuses_of({own for each in products for own in each.borrower_classes})
    today = await today_of(session, asked.county_code)
    return await report_store.households_counted(
        session, asked, span.as_of, today=today, statuses=statuses
    )


def terms_at(catalogue: Catalogue, county_code: str, programme_id: str, day: date) -> Terms:
    """What a programme says in a county on a day."""
    entry = catalogue.adoption(county_code, programme_id, day)
    return catalogue.terms(county_code, entry.programme)


async def recovery_rates(
    session: AsyncSession,
    asked: Question,
    by: Sequence[Dimension],
    *,
    first: date,
    last: date,
    as_of: date | None,
    catalogue: Catalogue,
) -> tuple[list[tuple[Key, tuple[MonthRate, ...]]], date]:
    """Due and collected month by month, and the day by which it counts (S19)."""
    months = rules.months_between(first, last)
    span = await span_at(session, asked.county_code, first=first, as_of=as_of)
    found = rules.Collections(by, months)
    async for held in read(session, asked, span, catalogue):
        found.add(held)
    return found.rows(), span.as_of


async def span_at(
    session: AsyncSession, county_code: str, *, first: date | None, as_of: date | None
) -> Span:
    """From a day, or the year's first, to the day at whose end balances stand."""
    today = await today_of(session, county_code)
    end = as_of or today
    return rules.span_of(first or end.replace(month=1, day=1), end, as_of=end, today=today)


async def count_households(session: AsyncSession, county_code: str, day: date) -> None:
    """At a month's end, keep how many households there are: loans' own rows know only today."""
    if day == rules.month_end(day):
        await report_store.count_households(session, county_code, day)


# --- the risk list --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Risky:
    """A loan on the risk list."""

    held: Held
    figures: Figures


def risk_rule(terms: Terms) -> RiskList:
    """The programme's risk list, or a refusal."""
    rule = terms.monitoring.risk_list
    if rule is None:
        raise Refused(
            "NO_RISK_LIST", f"{terms.ref} keeps no risk list", message_zh="本方案未设风险清单"
        )
    return rule


async def risk_list(
    session: AsyncSession, asked: Question, span: Span, rule: RiskList, catalogue: Catalogue
) -> list[Risky]:
    """Loans that owe principal, of the class from which they are listed or worse; worst first."""
    found = []
    async for chunk in read(session, asked, span, catalogue):
        found += [
            Risky(held, rules.figures(held, span))
            for held in chunk
            if held.moved.balance_fen and bulletins.on_risk_list(rule, FiveTier(held.tier))
        ]
    order = list(FiveTier)
    found.sort(key=lambda each: str(each.held.loan.loan_id))
    found.sort(key=lambda each: -order.index(FiveTier(each.held.tier)))
    return found


def reported_to(rule: RiskList) -> list[str]:
    """Organs that a risk list goes to."""
    return [str(organ) for organ in known(rule.reported_to)]


# --- a household's statement ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatementLoan:
    """One loan of a household's statement."""

    held: Held
    figures: Figures
    lines: Sequence[tuple[Posting, Line | None]]


async def household_statement(
    session: AsyncSession, asked: Question, span: Span, catalogue: Catalogue
) -> list[StatementLoan]:
    """A household's loans as they stood on a day, with what was booked by then."""
    held = [each async for chunk in read(session, asked, span, catalogue) for each in chunk]
    held.sort(key=lambda each: (each.loan.disbursed_on or date.min, str(each.loan.loan_id)))
    books = await report_store.postings_by(
        session, asked.county_code, [each.loan.loan_id for each in held], span.as_of
    )
    return [
        StatementLoan(
            each,
            rules.figures(each, span),
            reports.statement(each.loan, books[each.loan.loan_id], catalogue),
        )
        for each in held
    ]


def loan_of(found: StatementLoan) -> Loan:
    """The loan of a line."""
    return found.held.loan
