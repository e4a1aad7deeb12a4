"""Loans over gRPC: reports, bulletins, indicators, assessment, risk list, statements."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import fields
from datetime import date

from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.loans.v1 import reports_pb2, reports_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import wire
from services.kernel.database import Database
from services.kernel.errors import invalid_field
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.loans.operations import brief, bulletins, reporting
from services.loans.operations.bulletins import Indicators, Scheduled
from services.loans.operations.reporting import Report, Risky, StatementLoan
from services.loans.rules import position
from services.loans.rules.assessing import Assessed, CountValue, IndicatorValue, Target
from services.loans.rules.reports import (
    NAMES,
    Dimension,
    Figures,
    Key,
    MonthRate,
    Rate,
    Row,
    Span,
    rates,
    span_of,
)
from services.loans.servicer.lending import actor_of, require_county, tier_to_proto
from services.loans.store import reports as report_store
from services.loans.store.reports import LenderRatio, Question
from services.programmes import bulletins as programme_bulletins
from services.programmes import indicators
from services.programmes.loader import Catalogue
from services.programmes.schema.reports import Section
from services.programmes.schema.values import Every

EXPORT_ROWS = 500
_DIMENSION = "LOAN_REPORT_DIMENSION_"
_PERIOD = "REPORT_PERIOD_"

ReportRequest = reports_pb2.GetReportRequest | reports_pb2.ExportReportRequest


def _dimensions(asked: Sequence["reports_pb2.LoanReportDimension.ValueType"]) -> list[Dimension]:
    names = [reports_pb2.LoanReportDimension.Name(each) for each in asked]
    return [Dimension[name.removeprefix(_DIMENSION)] for name in names]


def _day(request: Message, field: str) -> date | None:
    """A day that may be left out."""
    if not request.HasField(field):
        return None
    given: Date = getattr(request, field)
    return wire.date_from_proto(field, given)


def figures_to_proto(own: Figures) -> reports_pb2.ReportFigures:
    """Figures for the wire: the names are the same."""
    return reports_pb2.ReportFigures(**{name: getattr(own, name) for name in NAMES})


def _rate(rate: Rate, pct: str | None = None) -> reports_pb2.ReportRatio:
    return reports_pb2.ReportRatio(
        id=rate.id,
        numerator=rate.numerator,
        denominator=rate.denominator,
        pct=rate.pct if pct is None else pct,
    )


def _row(row: Row) -> reports_pb2.ReportRow:
    return reports_pb2.ReportRow(
        keys=row.key,
        figures=figures_to_proto(row.figures),
        households=row.households,
        owing_households=row.owing_households,
        counted_households=row.counted_households,
        covered_fen=row.covered_fen,
        ratios=[_rate(each) for each in rates(row)],
    )


def _indicator(value: IndicatorValue) -> reports_pb2.ReportRatio:
    return _rate(value.rate, value.pct)


def _recovery(key: Key, months: Sequence[MonthRate]) -> reports_pb2.RecoveryRow:
    return reports_pb2.RecoveryRow(
        keys=key,
        months=[
            reports_pb2.RecoveryMonth(
                month=each.month,
                due_fen=each.due_fen,
                collected_fen=each.collected_fen,
                pct=indicators.ratio(each.collected_fen, each.due_fen, decimals=2).pct or "",
            )
            for each in months
        ],
    )


def _risky(found: Risky) -> reports_pb2.RiskLoan:
    loan = found.held.loan
    return reports_pb2.RiskLoan(
        loan_id=str(loan.loan_id),
        household_id=str(loan.household_id),
        lender_id=loan.lender_id,
        village_code=loan.area_code[:12],
        five_tier_class=tier_to_proto(found.held.tier),
        balance_fen=found.figures.balance_fen,
        overdue_principal_fen=found.figures.overdue_principal_fen,
        overdue_interest_fen=found.figures.overdue_interest_fen,
        non_performing=found.held.non_performing,
    )


def _scheduled(found: Scheduled) -> reports_pb2.ProgrammeReport:
    report = found.report
    return reports_pb2.ProgrammeReport(
        id=report.id,
        kind=report.kind,
        every=bulletins.every_of(report),
        by=bulletins.organs_of(report),
        to=[str(organ) for organ in report.to],
        first=wire.date_to_proto(found.period.first if found.period else None),
        last=wire.date_to_proto(found.period.last if found.period else None),
        due=found.due,
    )


def _section(made: programme_bulletins.Bulletin, section: Section) -> reports_pb2.BulletinSection:
    found = programme_bulletins.section_of(made, section)
    return reports_pb2.BulletinSection(
        section=section,
        figures={name: value for name, value in found.items() if isinstance(value, int)},
        worse_loan_ids=made.worse if "worse" in found else (),
        better_loan_ids=made.better if "better" in found else (),
    )


def _count(value: CountValue, difference: int | None = None) -> reports_pb2.ReportCount:
    return reports_pb2.ReportCount(
        id=value.count.id,
        unit=value.count.unit,
        value=value.value,
        stated=bool(value.stated_by),
        ours=value.ours,
        stated_by=value.stated_by,
        stated_value=value.stated,
        difference=difference,
        working=value.working,
    )


def _ratio(ratio: LenderRatio) -> reports_pb2.LenderRatio:
    pct = indicators.ratio(ratio.non_performing_fen, ratio.outstanding_fen, decimals=2).pct
    return reports_pb2.LenderRatio(
        lender_id=ratio.lender_id,
        on_day=wire.date_to_proto(ratio.on_day),
        non_performing_fen=ratio.non_performing_fen,
        outstanding_fen=ratio.outstanding_fen,
        evidence=ratio.evidence,
        stated_on=wire.date_to_proto(ratio.stated_on),
        person_id=ratio.person_id,
        pct=pct or "",
    )


def _target(target: Target) -> reports_pb2.TargetMet:
    return reports_pb2.TargetMet(
        kpi_id=target.kpi_id,
        own=_indicator(target.own),
        average=_indicator(target.average),
        reached=target.reached,
        marks_centi=target.marks_centi,
        working=target.working,
    )


def _assessed(found: Assessed, stated: LenderRatio | None) -> reports_pb2.LenderAssessment:
    return reports_pb2.LenderAssessment(
        lender_id=found.lender.lender_id,
        figures=figures_to_proto(found.lender.figures),
        households=found.lender.households,
        targets=[_target(each) for each in found.targets],
        marks_centi=found.marks_centi,
        tolerated=found.tolerated,
        tolerance_working=found.tolerance_working,
        stated=_ratio(stated) if stated else None,
    )


def _statement_loan(found: StatementLoan) -> reports_pb2.HouseholdLoan:
    loan = found.held.loan
    lines = []
    for posting, line in found.lines:
        taken = position.split(posting, line)
        lines.append(
            reports_pb2.HouseholdLine(
                number=posting.number,
                kind=posting.kind,
                value_date=wire.date_to_proto(posting.value_date),
                amount_fen=posting.amount_fen,
                interest_fen=taken.interest_fen,
                principal_fen=taken.principal_fen,
                balance_fen=line.outstanding_fen if line else 0,
                counts=line is not None,
            )
        )
    return reports_pb2.HouseholdLoan(
        loan_id=str(loan.loan_id),
        lender_id=loan.lender_id,
        product_id=loan.product_id,
        disbursed_on=wire.date_to_proto(loan.disbursed_on),
        matures_on=wire.date_to_proto(found.held.matures_on),
        five_tier_class=tier_to_proto(found.held.tier),
        figures=figures_to_proto(found.figures),
        lines=lines,
    )


def _key_token(row: Row) -> str:
    return "\x1f".join(row.key)


def _after(rows: Sequence[Row], token: str) -> Sequence[Row]:
    """The rows behind the last one of the page before."""
    if not token:
        return rows
    last = tuple(wire.page_start(token).split("\x1f"))
    return [row for row in rows if row.key > last]


class ReportsServicer(reports_pb2_grpc.ReportsServiceServicer):
    """What loans come to."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue

    # --- figures ----------------------------------------------------------------------------------

    async def GetReport(
        self, request: reports_pb2.GetReportRequest, context: Context
    ) -> reports_pb2.GetReportResponse:
        """A page of a report."""
        found = await self._report(request, context)
        rows, token = wire.page_of(
            _after(found.rows, request.page_token), wire.page_size(request.page_size), _key_token
        )
        return reports_pb2.GetReportResponse(
            rows=[_row(row) for row in rows], next_page_token=token, **_days(found)
        )

    async def ExportReport(
        self, requests: AsyncIterator[reports_pb2.ExportReportRequest], context: Context
    ) -> AsyncIterator[reports_pb2.ExportReportResponse]:
        """A page for each request; the report is read once for all of them."""
        asked: reports_pb2.ExportReportRequest | None = None
        found: Report | None = None
        async for request in requests:
            question = reports_pb2.ExportReportRequest()
            question.CopyFrom(request)
            question.ClearField("page_token")
            question.ClearField("page_size")
            if found is None:
                asked, found = question, await self._report(request, context)
            elif question != asked:
                rule = "must ask the same report as the requests before it in the stream"
                raise invalid_field("ANOTHER_REPORT", "by", list(request.by), rule)
            size = wire.page_size(request.page_size, default=EXPORT_ROWS)
            rows, token = wire.page_of(_after(found.rows, request.page_token), size, _key_token)
            yield reports_pb2.ExportReportResponse(
                rows=[_row(row) for row in rows], next_page_token=token, **_days(found)
            )

    async def _report(self, request: ReportRequest, context: Context) -> Report:
        caller = caller_of(context)
        by = _dimensions(request.by)
        reporting.check_dimensions(caller, by)
        asked = reporting.question_of(
            caller,
            request.county_code,
            within=request.within,
            lender_id=request.lender_id,
            programme_id=request.programme_id,
            product_id=request.product_id,
        )
        name = reports_pb2.ReportPeriod.Name(request.period).removeprefix(_PERIOD)
        async with self._database.transaction(caller, snapshot=True) as session:
            today = await reporting.today_of(session, request.county_code)
            period = programme_bulletins.period(Every[name], _day(request, "day") or today)
            assert period is not None
            span = span_of(period.first, period.last, as_of=_day(request, "as_of"), today=today)
            if isinstance(request, reports_pb2.GetReportRequest) and request.brief:
                return await brief.report(session, asked, by, span, self._catalogue)
            return await reporting.report(session, asked, by, span, self._catalogue)

    async def ListRecoveryRates(
        self, request: reports_pb2.ListRecoveryRatesRequest, context: Context
    ) -> reports_pb2.ListRecoveryRatesResponse:
        """Due and collected month by month."""
        caller = caller_of(context)
        by = _dimensions(request.by)
        reporting.check_dimensions(caller, by)
        asked = reporting.question_of(
            caller,
            request.county_code,
            within=request.within,
            lender_id=request.lender_id,
            programme_id=request.programme_id,
        )
        async with self._database.transaction(caller, snapshot=True) as session:
            found, as_of = await reporting.recovery_rates(
                session,
                asked,
                by,
                first=wire.date_from_proto("first", request.first),
                last=wire.date_from_proto("last", request.last),
                as_of=_day(request, "as_of"),
                catalogue=self._catalogue,
            )
        start = wire.page_offset(request.page_token)
        size = wire.page_size(request.page_size)
        rows, token = wire.page_from(found[start : start + size + 1], start, size)
        return reports_pb2.ListRecoveryRatesResponse(
            rows=[_recovery(*row) for row in rows],
            next_page_token=token,
            as_of=wire.date_to_proto(as_of),
        )

    async def ListRiskLoans(
        self, request: reports_pb2.ListRiskLoansRequest, context: Context
    ) -> reports_pb2.ListRiskLoansResponse:
        """The risk list."""
        caller = caller_of(context)
        asked = reporting.question_of(
            caller, request.county_code, within=request.within, programme_id=request.programme_id
        )
        async with self._database.transaction(caller, snapshot=True) as session:
            span = await reporting.span_at(
                session, request.county_code, first=None, as_of=_day(request, "as_of")
            )
            terms = reporting.terms_at(
                self._catalogue, request.county_code, request.programme_id, span.as_of
            )
            rule = reporting.risk_rule(terms)
            found = await reporting.risk_list(session, asked, span, rule, self._catalogue)
        start = wire.page_offset(request.page_token)
        size = wire.page_size(request.page_size)
        loans, token = wire.page_from(found[start : start + size + 1], start, size)
        return reports_pb2.ListRiskLoansResponse(
            loans=[_risky(each) for each in loans],
            next_page_token=token,
            from_class=tier_to_proto(rule.from_tier),
            reported_to=reporting.reported_to(rule),
            as_of=wire.date_to_proto(span.as_of),
        )

    async def GetHouseholdStatement(
        self, request: reports_pb2.GetHouseholdStatementRequest, context: Context
    ) -> reports_pb2.GetHouseholdStatementResponse:
        """A household's statement."""
        caller = caller_of(context)
        asked = reporting.question_of(
            caller,
            request.county_code,
            household_id=parse_id("household_id", request.household_id),
        )
        async with self._database.transaction(caller, snapshot=True) as session:
            span = await reporting.span_at(
                session,
                request.county_code,
                first=_day(request, "first"),
                as_of=_day(request, "as_of"),
            )
            found = await reporting.household_statement(session, asked, span, self._catalogue)
        total = Figures()
        for each in found:
            total = total.plus(each.figures)
        return reports_pb2.GetHouseholdStatementResponse(
            loans=[_statement_loan(each) for each in found],
            total=figures_to_proto(total),
            as_of=wire.date_to_proto(span.as_of),
        )

    # --- bulletins and indicators -----------------------------------------------------------------

    async def ListProgrammeReports(
        self, request: reports_pb2.ListProgrammeReportsRequest, context: Context
    ) -> reports_pb2.ListProgrammeReportsResponse:
        """What a programme wants to be reported."""
        caller = caller_of(context)
        asked = reporting.question_of(
            caller, request.county_code, programme_id=request.programme_id
        )
        async with self._database.transaction(caller, snapshot=True) as session:
            found = await bulletins.schedule(session, asked, _day(request, "day"), self._catalogue)
        return reports_pb2.ListProgrammeReportsResponse(
            reports=[_scheduled(each) for each in found]
        )

    async def GetBulletin(
        self, request: reports_pb2.GetBulletinRequest, context: Context
    ) -> reports_pb2.GetBulletinResponse:
        """One issue of a report."""
        caller = caller_of(context)
        asked = reporting.question_of(
            caller,
            request.county_code,
            within=request.within,
            lender_id=request.lender_id,
            programme_id=request.programme_id,
        )
        async with self._database.transaction(caller, snapshot=True) as session:
            issue = await bulletins.issue(
                session,
                asked,
                request.report_id,
                day=_day(request, "day"),
                as_of=_day(request, "as_of"),
                catalogue=self._catalogue,
            )
        sections = issue.scheduled.report.sections
        return reports_pb2.GetBulletinResponse(
            report=_scheduled(issue.scheduled),
            as_of=wire.date_to_proto(issue.span.as_of),
            total=_row(issue.indicators.row),
            sections=[_section(issue.made, each) for each in sections],
            indicators=[_indicator(each) for each in issue.indicators.values],
            missing_counts=issue.indicators.missing,
            differing_counts=[
                _count(issue.indicators.counts[name], issue.indicators.difference(name))
                for name in issue.indicators.differing
            ],
        )

    async def GetIndicators(
        self, request: reports_pb2.GetIndicatorsRequest, context: Context
    ) -> reports_pb2.GetIndicatorsResponse:
        """Counts and indicators."""
        caller = caller_of(context)
        asked = reporting.question_of(
            caller, request.county_code, programme_id=request.programme_id
        )
        async with self._database.transaction(caller, snapshot=True) as session:
            span = await self._span(session, request)
            found: Indicators = await bulletins.programme_indicators(
                session, asked, span, self._catalogue
            )
        return reports_pb2.GetIndicatorsResponse(
            counts=[_count(each, found.difference(name)) for name, each in found.counts.items()],
            indicators=[_indicator(each) for each in found.values],
            missing_counts=found.missing,
            as_of=wire.date_to_proto(span.as_of),
        )

    async def AssessLenders(
        self, request: reports_pb2.AssessLendersRequest, context: Context
    ) -> reports_pb2.AssessLendersResponse:
        """Lenders against targets."""
        caller = caller_of(context)
        asked = reporting.question_of(
            caller, request.county_code, programme_id=request.programme_id
        )
        async with self._database.transaction(caller, snapshot=True) as session:
            span = await self._span(session, request)
            found = await bulletins.assess(session, caller, asked, span, self._catalogue)
        return reports_pb2.AssessLendersResponse(
            lenders=[
                _assessed(each, found.stated.get(each.lender.lender_id)) for each in found.lenders
            ],
            missing_counts=found.missing,
            as_of=wire.date_to_proto(span.as_of),
        )

    async def _span(
        self,
        session: AsyncSession,
        request: reports_pb2.GetIndicatorsRequest | reports_pb2.AssessLendersRequest,
    ) -> Span:
        return await reporting.span_at(
            session,
            request.county_code,
            first=_day(request, "first"),
            as_of=_day(request, "as_of"),
        )

    # --- what others state ------------------------------------------------------------------------

    async def StateCount(
        self, request: reports_pb2.StateCountRequest, context: Context
    ) -> reports_pb2.StateCountResponse:
        """State a count."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)

        async def work(session: AsyncSession) -> reports_pb2.StateCountResponse:
            count, stated = await bulletins.state_count(
                session,
                request.county_code,
                request.programme_id,
                request.count_id,
                actor,
                on_day=wire.date_from_proto("on_day", request.on_day),
                value=request.value,
                evidence=request.evidence,
                catalogue=self._catalogue,
            )
            by = stated.institution_id
            value = CountValue(count, stated.value, None, by, stated.value)
            return reports_pb2.StateCountResponse(count=_count(value))

        return await once(
            self._database, caller, request, reports_pb2.StateCountResponse, work, money=False
        )

    async def StateLenderRatio(
        self, request: reports_pb2.StateLenderRatioRequest, context: Context
    ) -> reports_pb2.StateLenderRatioResponse:
        """State what all a lender's loans come to."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)

        async def work(session: AsyncSession) -> reports_pb2.StateLenderRatioResponse:
            ratio = await bulletins.state_ratio(
                session,
                request.county_code,
                actor,
                on_day=wire.date_from_proto("on_day", request.on_day),
                non_performing_fen=request.non_performing_fen,
                outstanding_fen=request.outstanding_fen,
                evidence=request.evidence,
            )
            return reports_pb2.StateLenderRatioResponse(ratio=_ratio(ratio))

        return await once(
            self._database, caller, request, reports_pb2.StateLenderRatioResponse, work, money=False
        )

    async def ListLenderRatios(
        self, request: reports_pb2.ListLenderRatiosRequest, context: Context
    ) -> reports_pb2.ListLenderRatiosResponse:
        """What lenders stated."""
        caller = caller_of(context)
        asked: Question = reporting.question_of(
            caller, request.county_code, lender_id=request.lender_id
        )
        start = wire.page_offset(request.page_token)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await report_store.list_lender_ratios(
                session,
                request.county_code,
                lender_id=asked.lender_id,
                start=start,
                limit=size + 1,
            )
        page, token = wire.page_from(found, start, size)
        return reports_pb2.ListLenderRatiosResponse(
            ratios=[_ratio(each) for each in page], next_page_token=token
        )

    async def SetLoanBatch(
        self, request: reports_pb2.SetLoanBatchRequest, context: Context
    ) -> reports_pb2.SetLoanBatchResponse:
        """Say of which batch loans are."""
        caller = caller_of(context)
        actor = actor_of(caller)
        require_county(caller, request.county_code)
        loan_ids = [parse_id("loan_ids", each) for each in request.loan_ids]

        async def work(session: AsyncSession) -> reports_pb2.SetLoanBatchResponse:
            count = await bulletins.set_batch(
                session,
                request.county_code,
                loan_ids,
                request.batch,
                actor=actor,
                caller=caller,
            )
            return reports_pb2.SetLoanBatchResponse(loans=count)

        return await once(
            self._database, caller, request, reports_pb2.SetLoanBatchResponse, work, money=False
        )


def _days(found: Report) -> dict[str, Date | None]:
    """The days a report says of itself."""
    days = {each.name: getattr(found.span, each.name) for each in fields(Span)}
    days["households_counted_on"] = found.counted_on
    return {name: wire.date_to_proto(day) for name, day in days.items()}
