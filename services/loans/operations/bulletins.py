"""Loans: bulletins, indicators and lenders' assessment; what others state for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel.caller import Caller
from services.kernel.errors import NotFound, Refused, invalid_field
from services.loans.operations import reporting
from services.loans.rules import assessing
from services.loans.rules import reports as rules
from services.loans.rules.assessing import Assessed, Counted, CountValue, IndicatorValue, Lender
from services.loans.rules.lending import LENDER_ROLES, Actor
from services.loans.rules.reports import Held, Row, Span
from services.loans.store import reports as report_store
from services.loans.store.reports import LenderRatio, Question, StatedCount
from services.programmes import breakers, bulletins
from services.programmes.bulletins import Bulletin, Period
from services.programmes.loader import Catalogue
from services.programmes.schema.indicators import Count
from services.programmes.schema.monitoring import Monitoring
from services.programmes.schema.reports import Report
from services.programmes.schema.values import Every, Open, known
from services.programmes.terms import Terms

OF_THE_YEAR = frozenset({"lent_this_year", "lent_before", "loans_this_year"})
"""Counts that look at the calendar year whatever the period is."""


# --- counts and indicators ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Indicators:
    """A programme's counts and indicators on a day."""

    span: Span
    counts: Mapping[str, CountValue]
    values: Sequence[IndicatorValue]
    missing: Sequence[str]
    row: Row
    comparable: bool
    """Whether what was stated, which is of the whole county, may be held against these counts."""

    def difference(self, count_id: str) -> int | None:
        """What was stated of a count less what follows from others or is ours."""
        return self.counts[count_id].difference if self.comparable else None

    @property
    def differing(self) -> list[str]:
        """Counts that were stated otherwise."""
        return [name for name in self.counts if self.difference(name)]


async def programme_indicators(
    session: AsyncSession,
    asked: Question,
    span: Span,
    catalogue: Catalogue,
    *,
    only: Sequence[str] = (),
) -> Indicators:
    """The counts that are known and the indicators that follow, all or only some."""
    monitoring = _monitoring(catalogue, asked, span)
    held = [each async for part in reporting.read(session, asked, span, catalogue) for each in part]
    return await _indicators(
        session, asked, span, catalogue, monitoring=monitoring, held=held, only=only
    )


async def _indicators(
    session: AsyncSession,
    asked: Question,
    span: Span,
    catalogue: Catalogue,
    *,
    monitoring: Monitoring,
    held: Sequence[Held],
    only: Sequence[str],
) -> Indicators:
    counted = Counted(span, assessing.year_to(span.as_of))
    for each in held:
        counted.add(each)
    if OF_THE_YEAR & {count.id for count in monitoring.counts}:
        async for part in reporting.read(session, asked, counted.year, catalogue):
            for each in part:
                counted.add_of_year(each)
    whole = await reporting.report_of(session, asked, held, span, catalogue)
    eligible = whole.rows[0].counted_households or 0
    stated = await _stated(session, asked, span.as_of)
    counts = assessing.known_counts(monitoring.counts, counted.counts(eligible), stated)
    wanted = [each for each in monitoring.indicators if not only or each.id in only]
    values, missing = assessing.indicator_values(wanted, counts)
    missing += [
        name for name in assessing.lacking(monitoring.counts, counts, stated) if name not in missing
    ]
    return Indicators(span, counts, values, missing, whole.rows[0], asked.is_of_whole_county)


async def _stated(session: AsyncSession, asked: Question, day: date) -> dict[str, tuple[int, str]]:
    found = await report_store.stated_counts_at(session, asked.county_code, asked.programme_id, day)
    return {name: (each.value, each.institution_id) for name, each in found.items()}


def _monitoring(catalogue: Catalogue, asked: Question, span: Span) -> Monitoring:
    terms = reporting.terms_at(catalogue, asked.county_code, asked.programme_id, span.as_of)
    return terms.monitoring


# --- bulletins ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A report of a programme with the period that a day is in."""

    report: Report
    period: Period | None
    due: bool


async def schedule(
    session: AsyncSession, asked: Question, day: date | None, catalogue: Catalogue
) -> list[Scheduled]:
    """The reports of a programme, each with its period and whether one is due at a day's close."""
    span = await reporting.span_at(session, asked.county_code, first=day, as_of=day)
    monitoring = _monitoring(catalogue, asked, span)
    overdue = 0
    if any(each.only_while_overdue for each in monitoring.reports):
        whole = await reporting.report(session, asked, (), span, catalogue)
        overdue = whole.rows[0].figures.overdue_loans
    return [
        Scheduled(each, _period(each, span.as_of), _is_due(each, span.as_of, overdue))
        for each in monitoring.reports
    ]


def _period(report: Report, day: date) -> Period | None:
    return None if isinstance(report.every, Open) else bulletins.period(report.every, day)


def _is_due(report: Report, day: date, overdue: int) -> bool:
    if isinstance(report.every, Open):
        return False
    return bulletins.is_due(report, day, overdue_loans=overdue)


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue of a report: its figures, the bulletin's sums, the indicators that it names."""

    scheduled: Scheduled
    span: Span
    made: Bulletin
    indicators: Indicators


async def issue(
    session: AsyncSession,
    asked: Question,
    report_id: str,
    *,
    day: date | None,
    as_of: date | None,
    catalogue: Catalogue,
) -> Issue:
    """The issue of a report whose period a day is in."""
    today = await reporting.today_of(session, asked.county_code)
    on = day or today
    terms = reporting.terms_at(catalogue, asked.county_code, asked.programme_id, on)
    report = _report(terms, report_id)
    period = bulletins.period(known(report.every), on)
    if period is None:
        raise Refused(
            "REPORT_HAS_NO_PERIOD",
            f"{report_id} is made when something happens, not for a period",
            message_zh="该报告按事件编制,无固定周期",
        )
    span = rules.span_of(period.first, period.last, as_of=as_of, today=today)
    held = [each async for part in reporting.read(session, asked, span, catalogue) for each in part]
    # A report that names no indicators wants none of the programme's.
    found = await _indicators(
        session,
        asked,
        span,
        catalogue,
        monitoring=terms.monitoring,
        held=held,
        only=report.indicators or ("",),
    )
    overdue = found.row.figures.overdue_loans
    scheduled = Scheduled(report, period, _is_due(report, span.as_of, overdue))
    return Issue(scheduled, span, assessing.bulletin_of(held, span), found)


def _report(terms: Terms, report_id: str) -> Report:
    for report in terms.monitoring.reports:
        if report.id == report_id:
            return report
    raise NotFound("REPORT_UNKNOWN", f"{terms.ref} has no report {report_id}")


def every_of(report: Report) -> str:
    """How often a report is made; empty where the programme leaves it open."""
    return "" if isinstance(report.every, Open) else str(Every(report.every))


def organs_of(report: Report) -> list[str]:
    """Who makes a report; none where the programme leaves it open."""
    return [] if isinstance(report.by, Open) else [str(organ) for organ in report.by]


# --- lenders --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assessment:
    """The lenders of a programme on a day."""

    span: Span
    lenders: Sequence[Assessed]
    stated: Mapping[str, LenderRatio]
    missing: Sequence[str]


async def assess(
    session: AsyncSession, caller: Caller, asked: Question, span: Span, catalogue: Catalogue
) -> Assessment:
    """
    Every lender against the programme's targets.

    The average is of all lenders whoever asks; a lender is told its own assessment only.
    """
    everyone = Question(asked.county_code, (asked.county_code,), programme_id=asked.programme_id)
    monitoring = _monitoring(catalogue, everyone, span)
    lenders: dict[str, Counted] = {}
    async for part in reporting.read(session, everyone, span, catalogue):
        for held in part:
            counted = lenders.setdefault(
                held.loan.lender_id, Counted(span, assessing.year_to(span.as_of))
            )
            counted.add(held)
    whole = await reporting.report_of(session, everyone, (), span, catalogue)
    eligible = whole.rows[0].counted_households or 0
    stated = await report_store.lender_ratios_at(session, asked.county_code, span.as_of)
    found, missing = assessing.assess(
        [_lender(each, own, eligible, monitoring) for each, own in sorted(lenders.items())],
        kpis=monitoring.kpis,
        wanted={each.id: each for each in monitoring.indicators},
        tolerance_ppm=breakers.tolerance_of(monitoring),
        stated={
            each.lender_id: (each.non_performing_fen, each.outstanding_fen)
            for each in stated.values()
        },
    )
    own_only = caller.role in LENDER_ROLES
    shown = [
        each for each in found if not own_only or each.lender.lender_id == caller.institution_id
    ]
    return Assessment(span, shown, stated, missing)


def _lender(lender_id: str, counted: Counted, eligible: int, monitoring: Monitoring) -> Lender:
    ours = {
        name: value for name, value in counted.counts(eligible).items() if name not in OF_THE_YEAR
    }
    return Lender(
        lender_id,
        counted.figures,
        len(counted.group.households),
        assessing.known_counts(monitoring.counts, ours, {}),
    )


# --- what others state ----------------------------------------------------------------------------


def _not_ahead(day: date, today: date) -> None:
    if day > today:
        raise invalid_field(
            "DAY_IN_FUTURE", "on_day", day, f"must not be after {today}", "日期不得晚于营业日"
        )


async def state_ratio(
    session: AsyncSession,
    county_code: str,
    actor: Actor,
    *,
    on_day: date,
    non_performing_fen: int,
    outstanding_fen: int,
    evidence: str,
) -> LenderRatio:
    """A lender states the non-performing part of all its loans on a day."""
    today = await reporting.today_of(session, county_code)
    _not_ahead(on_day, today)
    if non_performing_fen > outstanding_fen:
        raise invalid_field(
            "NON_PERFORMING_ABOVE_WHOLE",
            "non_performing_fen",
            non_performing_fen,
            f"must not be above outstanding_fen = {outstanding_fen}",
            "不良余额不得大于贷款余额",
        )
    ratio = LenderRatio(
        actor.institution_id,
        on_day,
        non_performing_fen,
        outstanding_fen,
        evidence,
        today,
        actor.person_id,
    )
    await report_store.add_lender_ratio(session, county_code, ratio)
    return ratio


async def state_count(
    session: AsyncSession,
    county_code: str,
    programme_id: str,
    count_id: str,
    actor: Actor,
    *,
    on_day: date,
    value: int,
    evidence: str,
    catalogue: Catalogue,
) -> tuple[Count, StatedCount]:
    """State a count of a programme; of one that follows from others it is held against them."""
    today = await reporting.today_of(session, county_code)
    _not_ahead(on_day, today)
    terms = reporting.terms_at(catalogue, county_code, programme_id, on_day)
    count = next((each for each in terms.monitoring.counts if each.id == count_id), None)
    if count is None:
        raise NotFound("COUNT_UNKNOWN", f"{terms.ref} has no count {count_id}")
    stated = StatedCount(
        programme_id,
        count_id,
        on_day,
        value,
        evidence,
        today,
        actor.institution_id,
        actor.person_id,
    )
    await report_store.add_stated_count(session, county_code, stated)
    return count, stated


async def set_batch(
    session: AsyncSession,
    county_code: str,
    loan_ids: Sequence[UUID],
    batch: str,
    *,
    actor: Actor,
    caller: Caller,
) -> int:
    """Say of which lending batch loans are; all or none."""
    today = await reporting.today_of(session, county_code)
    held = await report_store.known_loans(session, county_code, loan_ids)
    for loan_id in loan_ids:
        lender_id, area = held.get(loan_id, ("", ""))
        foreign = caller.role in LENDER_ROLES and lender_id != caller.institution_id
        if not lender_id or foreign or not caller.may_act_in(area):
            raise NotFound("LOAN_NOT_FOUND", f"no loan {loan_id}", message_zh="无此贷款")
    await report_store.add_batches(
        session,
        county_code,
        loan_ids,
        batch=batch,
        on=today,
        institution_id=actor.institution_id,
        person_id=actor.person_id,
    )
    return len(loan_ids)
