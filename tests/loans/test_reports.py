"""Reports on a real database: as of a day they stay the same, and sum to what the loans say."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pytest
from google.protobuf.message import Message
from liandong.loans.v1 import loans_pb2, reports_pb2

from services.kernel import wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import Denied, Invalid, LiandongError, NotFound, Refused
from services.loans.rules.reports import NAMES
from services.loans.servicer import LoansServicer
from services.loans.servicer.reports import ReportsServicer
from services.programmes.loader import Catalogue
from tests.loans import steps
from tests.loans.builders import YUAN
from tests.loans.county import (
    BANK,
    CENTRE,
    COUNTY,
    LENDER,
    OPENED,
    OTHER_BANK,
    OTHER_LENDER,
    OTHER_VILLAGE,
    PACK,
    PROGRAMME,
    VILLAGE,
    Fund,
    House,
    a_caller,
    a_catalogue,
    calling,
    day,
)

pytestmark = pytest.mark.postgres

VILLAGE_ONLY = a_caller("village_department", institution_id="vil-1", areas=(VILLAGE,))
GUARANTOR = a_caller("guarantor", institution_id="agr-1")

WATCHED = """
  risk_list: {from_tier: substandard, reported_to: [provincial_poverty_office]}
  tolerance_ppm: 20000
  counts:
    - {id: eligible_households, unit: households}
    - {id: households_with_loan, unit: households}
    - {id: outstanding, unit: fen}
    - {id: non_performing, unit: fen}
    - {id: lent_this_year, unit: fen}
    - {id: lent_before, unit: fen}
    - {id: lent, unit: fen, plus: [lent_before, lent_this_year]}
    - {id: rated_households, unit: households}
  indicators:
    - {id: npl_ratio, numerator: non_performing, denominator: outstanding}
    - {id: rated_ratio, numerator: households_with_loan, denominator: rated_households, decimals: 1}
  kpis:
    - id: npl
      indicator: npl_ratio
      better: lower
      full_at: {of: area_average}
      zero_at_ppm: 1000000
      marks_centi: 1000
  reports:
    - id: risk_bulletin
      kind: bulletin
      every: month
      by: [lender]
      sections: [due_this_month, overdue_principal_and_interest, due_next_month, risk_changes]
    - id: work_bulletin
      kind: bulletin
      every: quarter
      by: [central_bank]
      indicators: [npl_ratio]
    - {id: weekly, every: week, by: {open: not stated}}
    - {id: on_call, every: event, by: [lender]}
"""
IN_PARTS = PACK.replace("interest_settlement: bullet", "interest_settlement: equal_principal")
MONTHLY = PACK.replace("interest_settlement: bullet", "interest_settlement: monthly")


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return a_catalogue(PACK + WATCHED)


@pytest.fixture
def reports(db: Database, catalogue: Catalogue) -> ReportsServicer:
    return ReportsServicer(db, catalogue)


async def asked(
    reports: ReportsServicer, *by: str, caller: Caller = CENTRE, on: date = OPENED, **values: Any
) -> reports_pb2.GetReportResponse:
    values.setdefault("period", reports_pb2.REPORT_PERIOD_YEAR)
    request = reports_pb2.GetReportRequest(
        county_code=COUNTY,
        by=[reports_pb2.LoanReportDimension.Value(f"LOAN_REPORT_DIMENSION_{each}") for each in by],
        day=day(on),
        **values,
    )
    return await reports.GetReport(request, calling(caller, request))


async def whole(reports: ReportsServicer, **values: Any) -> reports_pb2.ReportFigures:
    (row,) = (await asked(reports, **values)).rows
    return row.figures


def summed(rows: Any) -> Mapping[str, int]:
    return {name: sum(getattr(row.figures, name) for row in rows) for name in NAMES}


def as_values(own: reports_pb2.ReportFigures) -> Mapping[str, int]:
    return {name: getattr(own, name) for name in NAMES}


async def some_loans(servicer: LoansServicer, consumer: Consumer) -> list[loans_pb2.Loan]:
    """Three ordinary loans of two lenders in two townships, one of them short."""
    return [
        await steps.active(servicer, consumer, House()),
        await steps.active(servicer, consumer, House(), term_months=1),
        await steps.active(
            servicer,
            consumer,
            House(area_code=OTHER_VILLAGE),
            principal_fen=20_000 * YUAN,
        ),
    ]


# SC.mon.1, SMX.loa.5: by lender, village, household and loan, from disbursement on.
async def test_a_report_sums_to_its_loans_and_to_the_journal_and_stays_the_same(
    reports: ReportsServicer,
    servicer: LoansServicer,
    consumer: Consumer,
    db: Database,
    catalogue: Catalogue,
) -> None:
    long, short, _ = await some_loans(servicer, consumer)
    await steps.covered(servicer, consumer, House(status="registered_poor"), Fund())
    on = await steps.advance(db, catalogue, 60)
    await steps.repay(servicer, long.loan_id, 5_000 * YUAN, on=on)
    on = await steps.advance(db, catalogue, 50)
    as_of = on - timedelta(days=1)

    found = await whole(reports, on=as_of, as_of=day(as_of))
    listed = (await steps.listed(servicer, CENTRE)).loans
    totals = await steps.totals(db)
    assert found.loans == len(listed) == 4
    assert found.balance_fen == sum(loan.outstanding_fen for loan in listed)
    assert found.balance_fen == totals["loans.outstanding_principal_fen"]
    assert found.interest_owed_fen == totals["loans.interest_owed_fen"]
    assert found.disbursed_fen == found.lent_fen == totals["loans.disbursed_fen"]
    assert found.collected_principal_fen + found.collected_interest_fen == 5_000 * YUAN
    bad = next(loan for loan in listed if loan.loan_id == short.loan_id)
    assert bad.non_performing
    assert (found.non_performing_loans, found.non_performing_fen) == (1, bad.outstanding_fen)
    assert (found.overdue_loans, found.overdue_principal_fen) == (1, bad.outstanding_fen)
    assert found.overdue_interest_fen == bad.interest_fen
    assert found.special_mention_fen == bad.outstanding_fen
    assert (found.due_fen, found.due_collected_fen) == (30_000 * YUAN, 0)
    cuts = [
        ("VILLAGE",), ("TOWNSHIP",), ("LENDER",), ("OFFICER",), ("PRODUCT",), ("PROGRAMME",),
        ("BORROWER_TYPE",), ("USE_MODE",), ("FUNDING",), ("VINTAGE",), ("MATURITY_MONTH",),
        ("TIER",), ("LENDER", "VILLAGE", "HOUSEHOLD", "LOAN"),
    ]  # fmt: skip
    for by in cuts:
        rows = (await asked(reports, *by, on=as_of, as_of=day(as_of))).rows
        assert summed(rows) == as_values(found), by

    # What comes later, dated back or not, changes nothing of the day that is over.
    await steps.repay(servicer, short.loan_id, 31_000 * YUAN, on=as_of)
    await steps.advance(db, catalogue, 2)
    assert await whole(reports, on=as_of, as_of=day(as_of)) == found
    now = await whole(reports, on=on)
    assert now.overdue_loans == now.non_performing_loans == 0
    assert now.collected_principal_fen > found.collected_principal_fen
    assert now.due_collected_fen == now.due_fen


BRIEF = {
    "loans", "owing_loans", "lent_fen", "disbursed_fen", "collected_principal_fen", "balance_fen",
    "interest_owed_fen", "overdue_principal_fen", "non_performing_loans", "non_performing_fen",
}  # fmt: skip


CUTS = [(), ("VILLAGE",), ("TOWNSHIP", "LENDER"), ("PRODUCT", "PROGRAMME", "BORROWER_TYPE")]


async def brief_as_whole(
    reports: ReportsServicer, *by: str, caller: Caller = CENTRE, **values: Any
) -> None:
    """Ask both ways: what a brief report says, the whole one says too, row by row."""
    brief = await asked(reports, *by, caller=caller, brief=True, **values)
    full = await asked(reports, *by, caller=caller, **values)
    found = {tuple(row.keys): row for row in brief.rows if row.figures.loans or not by}
    assert set(found) == {tuple(row.keys) for row in full.rows}, (by, values)
    for row in full.rows:
        short_row, told = found[tuple(row.keys)], as_values(row.figures)
        own = as_values(short_row.figures)
        assert {name: own[name] for name in BRIEF} == {name: told[name] for name in BRIEF}
        assert short_row.HasField("covered_fen")
        assert short_row.counted_households == row.counted_households
        if "as_of" not in values:
            assert short_row.households == row.households
            assert short_row.owing_households == row.owing_households


async def test_a_brief_report_says_what_the_whole_one_does_today_and_of_a_months_end(
    reports: ReportsServicer,
    servicer: LoansServicer,
    consumer: Consumer,
    db: Database,
    catalogue: Catalogue,
) -> None:
    long, *_ = await some_loans(servicer, consumer)
    await steps.covered(servicer, consumer, House(status="registered_poor"), Fund())
    on = await steps.advance(db, catalogue, 60)
    await steps.repay(servicer, long.loan_id, 5_000 * YUAN, on=on)
    on = await steps.advance(db, catalogue, 90)

    month = on.replace(day=1) - timedelta(days=1)
    for by in CUTS:
        await brief_as_whole(reports, *by, on=on)
        await brief_as_whole(reports, *by, on=on, caller=LENDER)
        await brief_as_whole(
            reports, *by, on=month, as_of=day(month), period=reports_pb2.REPORT_PERIOD_MONTH
        )
    (row,) = (await asked(reports, on=on, brief=True)).rows
    totals = await steps.totals(db)
    assert row.figures.overdue_principal_fen > 0
    assert row.covered_fen == totals["loans.covered_principal_fen"] > 0
    assert totals["loans.kept_difference_fen"] == 0

    # A day that nobody kept, and keys that a loan's row does not have, are worked out in full.
    before = month - timedelta(days=1)
    found = (await asked(reports, "VINTAGE", on=before, as_of=day(before), brief=True)).rows
    assert found == (await asked(reports, "VINTAGE", on=before, as_of=day(before))).rows


async def test_a_brief_report_knows_what_is_late_of_instalments(
    db: Database, consumer: Consumer
) -> None:
    catalogue = a_catalogue(IN_PARTS + WATCHED)
    servicer, reports = LoansServicer(db, catalogue), ReportsServicer(db, catalogue)
    parts = await steps.active(servicer, consumer, House(), term_months=12)
    paid = await steps.active(servicer, consumer, House(area_code=OTHER_VILLAGE), term_months=12)
    on = await steps.advance(db, catalogue, 100)
    await steps.repay(servicer, paid.loan_id, 10_000 * YUAN, on=on)

    found = await whole(reports, on=on)
    late = found.overdue_principal_fen

    # Three instalments of twelve, and not the rest.
    assert 0 < late < parts.outstanding_fen // 2
    for by in CUTS:
        await brief_as_whole(reports, *by, on=on)
    assert (await whole(reports, on=on, brief=True)).overdue_principal_fen == late


async def test_interest_that_is_late_makes_a_loan_overdue_before_its_principal_is(
    db: Database, consumer: Consumer
) -> None:
    catalogue = a_catalogue(MONTHLY + WATCHED)
    servicer, reports = LoansServicer(db, catalogue), ReportsServicer(db, catalogue)
    loan = await steps.active(servicer, consumer, House())
    on = await steps.advance(db, catalogue, 40)
    as_of = on - timedelta(days=1)

    found = await whole(reports, on=as_of, as_of=day(as_of))
    held = await steps.get(servicer, loan.loan_id)

    assert (found.overdue_loans, found.overdue_principal_fen) == (1, 0)
    assert found.overdue_interest_fen == held.interest_fen > 0
    await steps.repay(servicer, loan.loan_id, held.interest_fen + 10_000, on=on)
    assert (await whole(reports, on=on)).overdue_loans == 0
    assert await whole(reports, on=as_of, as_of=day(as_of)) == found


async def test_households_are_counted_once_and_coverage_keeps_its_parts(
    reports: ReportsServicer,
    servicer: LoansServicer,
    consumer: Consumer,
    db: Database,
    catalogue: Catalogue,
) -> None:
    house = House()
    await steps.active(servicer, consumer, house, principal_fen=10_000 * YUAN)
    again = await steps.approved(servicer, house, principal_fen=10_000 * YUAN)
    await steps.disburse(servicer, again.loan_id)
    await steps.know(consumer, House(), House(area_code=OTHER_VILLAGE))

    (row,) = (await asked(reports, "VILLAGE")).rows

    assert (row.figures.loans, row.households, row.counted_households) == (2, 1, 2)
    (coverage,) = [each for each in row.ratios if each.id == "loan_coverage_ratio"]
    assert (coverage.numerator, coverage.denominator, coverage.pct) == (1, 2, "50.00")
    on = await steps.advance(db, catalogue, 40)
    await steps.know(consumer, House())
    answer = await asked(reports, "VILLAGE", on=on, as_of=day(on - timedelta(days=1)))
    assert wire.date_from_proto("d", answer.households_counted_on) == date(2021, 1, 31)
    assert answer.rows[0].counted_households == 2
    (lender,) = (await asked(reports, "LENDER")).rows
    assert not lender.HasField("counted_households")


async def test_pages_follow_one_another_and_a_stream_is_the_same_report(
    reports: ReportsServicer, servicer: LoansServicer, consumer: Consumer
) -> None:
    await some_loans(servicer, consumer)
    all_at_once = (await asked(reports, "LENDER", "HOUSEHOLD")).rows

    paged: list[reports_pb2.ReportRow] = []
    token = ""
    while True:
        answer = await asked(reports, "LENDER", "HOUSEHOLD", page_size=1, page_token=token)
        paged += answer.rows
        token = answer.next_page_token
        if not token:
            break
    first = reports_pb2.ExportReportRequest(
        county_code=COUNTY,
        by=[reports_pb2.LOAN_REPORT_DIMENSION_LENDER, reports_pb2.LOAN_REPORT_DIMENSION_HOUSEHOLD],
        period=reports_pb2.REPORT_PERIOD_YEAR,
        day=day(OPENED),
        page_size=2,
    )
    token = ""

    async def requests() -> Any:
        for _ in range(2):
            request = reports_pb2.ExportReportRequest()
            request.CopyFrom(first)
            request.page_token = token
            yield request

    streamed: list[reports_pb2.ReportRow] = []
    async for page in reports.ExportReport(requests(), calling(CENTRE, first)):
        streamed += page.rows
        token = page.next_page_token
    assert paged == list(all_at_once) == streamed
    assert len(paged) == 3


async def test_a_lender_sees_its_own_and_an_office_its_areas(
    reports: ReportsServicer, servicer: LoansServicer, consumer: Consumer
) -> None:
    await some_loans(servicer, consumer)

    assert (await whole(reports, caller=LENDER)).loans == 3
    assert (await whole(reports, caller=OTHER_LENDER)).loans == 0
    assert (await whole(reports, caller=VILLAGE_ONLY)).loans == 2
    assert (await whole(reports, within=OTHER_VILLAGE)).loans == 1
    assert (await whole(reports, lender_id=OTHER_BANK)).loans == 0
    assert (await whole(reports, programme_id=PROGRAMME, product_id="covered")).loans == 0


@pytest.mark.parametrize(
    ("caller", "values", "field"),
    [
        (VILLAGE_ONLY, {"within": OTHER_VILLAGE}, "within"),
        (CENTRE, {"within": "110101"}, "within"),
        (LENDER, {"lender_id": OTHER_BANK}, "lender_id"),
        (a_caller("bank", institution_id=BANK, county_code="990102"), {}, "county_code"),
    ],
)
async def test_what_is_outside_ones_scope_is_refused_by_field(
    reports: ReportsServicer, caller: Caller, values: dict[str, Any], field: str
) -> None:
    with pytest.raises(Denied) as refused:
        await asked(reports, caller=caller, **values)

    (violation,) = refused.value.violations
    assert violation.field == field
    assert violation.value
    assert violation.rule


async def test_rows_about_households_are_not_for_everybody(reports: ReportsServicer) -> None:
    with pytest.raises(Denied, match="ROLE_NOT_ALLOWED"):
        await asked(reports, "HOUSEHOLD", caller=GUARANTOR)
    assert (await whole(reports, caller=GUARANTOR)).loans == 0


async def test_a_day_that_is_not_lived_yet_is_refused(reports: ReportsServicer) -> None:
    with pytest.raises(Invalid, match="DAY_IN_FUTURE"):
        await asked(reports, as_of=day(OPENED + timedelta(days=1)))


async def test_the_rate_of_recovery_comes_with_its_months(
    reports: ReportsServicer,
    servicer: LoansServicer,
    consumer: Consumer,
    db: Database,
    catalogue: Catalogue,
) -> None:
    _, short, _ = await some_loans(servicer, consumer)
    on = await steps.advance(db, catalogue, 40)
    await steps.repay(servicer, short.loan_id, 12_000 * YUAN, on=on)

    request = reports_pb2.ListRecoveryRatesRequest(
        county_code=COUNTY, first=day(OPENED), last=day(date(2021, 3, 1)), programme_id=PROGRAMME
    )
    (row,) = (await reports.ListRecoveryRates(request, calling(CENTRE, request))).rows

    assert [(each.month, each.due_fen, each.pct) for each in row.months] == [
        ("2021-01", 0, ""),
        ("2021-02", 30_000 * YUAN, row.months[1].pct),
        ("2021-03", 0, ""),
    ]
    assert 0 < row.months[1].collected_fen < 12_000 * YUAN


# --- bulletins ------------------------------------------------------------------------------------


async def bulletin(
    reports: ReportsServicer, report_id: str, **values: Any
) -> reports_pb2.GetBulletinResponse:
    request = reports_pb2.GetBulletinRequest(
        county_code=COUNTY, programme_id=PROGRAMME, report_id=report_id, **values
    )
    return await reports.GetBulletin(request, calling(CENTRE, request))


# HN-PO.mon.3: due this month, principal and interest overdue, due next month, risk changes.
async def test_the_monthly_bulletin_has_its_four_sections(
    reports: ReportsServicer,
    servicer: LoansServicer,
    consumer: Consumer,
    db: Database,
    catalogue: Catalogue,
) -> None:
    _, short, _ = await some_loans(servicer, consumer)
    before = await bulletin(reports, "risk_bulletin")
    on = await steps.advance(db, catalogue, 45)

    found = await bulletin(reports, "risk_bulletin", day=day(on))

    parts = {each.section: each for each in found.sections}
    assert list(parts) == [
        "due_this_month",
        "overdue_principal_and_interest",
        "due_next_month",
        "risk_changes",
    ]
    owed = (await steps.get(servicer, short.loan_id)).interest_fen
    assert dict(parts["due_this_month"].figures) == {"due_this_month_fen": 30_000 * YUAN}
    assert dict(parts["overdue_principal_and_interest"].figures) == {
        "overdue_principal_fen": 30_000 * YUAN,
        "overdue_interest_fen": owed,
    }
    assert dict(parts["due_next_month"].figures) == {"due_next_month_fen": 0}
    assert list(parts["risk_changes"].worse_loan_ids) == [short.loan_id]
    assert found.total.figures.due_fen == 30_000 * YUAN
    early = {each.section: each for each in before.sections}
    assert early["due_next_month"].figures["due_next_month_fen"] == 30_000 * YUAN


# SC.mon.2: the quarter's bulletin.
async def test_the_quarterly_bulletin_names_its_indicators(
    reports: ReportsServicer, servicer: LoansServicer, consumer: Consumer
) -> None:
    await some_loans(servicer, consumer)

    found = await bulletin(reports, "work_bulletin")

    ((name, pct),) = [(each.id, each.pct) for each in found.indicators]
    assert (name, pct) == ("npl_ratio", "0.00")
    assert wire.date_from_proto("d", found.report.last) == date(2021, 3, 31)


async def test_reports_say_when_they_are_due(reports: ReportsServicer) -> None:
    request = reports_pb2.ListProgrammeReportsRequest(
        county_code=COUNTY, programme_id=PROGRAMME, day=day(OPENED)
    )
    answer = await reports.ListProgrammeReports(request, calling(CENTRE, request))

    assert [(each.id, each.every, each.due) for each in answer.reports] == [
        ("risk_bulletin", "month", False),
        ("work_bulletin", "quarter", False),
        ("weekly", "week", False),
        ("on_call", "event", False),
    ]
    with pytest.raises(Refused, match="REPORT_HAS_NO_PERIOD"):
        await bulletin(reports, "on_call")
    with pytest.raises(NotFound, match="REPORT_UNKNOWN"):
        await bulletin(reports, "nobody_knows")


# HN-PO.mon.2: substandard and below.
async def test_the_risk_list_is_the_class_and_worse(
    reports: ReportsServicer,
    servicer: LoansServicer,
    consumer: Consumer,
    db: Database,
    catalogue: Catalogue,
) -> None:
    _, short, _ = await some_loans(servicer, consumer)

    async def risky() -> list[str]:
        request = reports_pb2.ListRiskLoansRequest(county_code=COUNTY, programme_id=PROGRAMME)
        answer = await reports.ListRiskLoans(request, calling(CENTRE, request))
        assert answer.from_class == loans_pb2.FIVE_TIER_CLASS_SUBSTANDARD
        assert list(answer.reported_to) == ["provincial_poverty_office"]
        return [each.loan_id for each in answer.loans]

    await steps.advance(db, catalogue, 60)
    assert await risky() == []
    await steps.advance(db, catalogue, 70)
    assert await risky() == [short.loan_id]


async def test_a_household_has_its_statement(
    reports: ReportsServicer, servicer: LoansServicer, consumer: Consumer
) -> None:
    loan, other, _ = await some_loans(servicer, consumer)
    await steps.repay(servicer, loan.loan_id, 1_000 * YUAN)

    async def of(caller: Caller) -> reports_pb2.GetHouseholdStatementResponse:
        request = reports_pb2.GetHouseholdStatementRequest(
            county_code=COUNTY, household_id=loan.household_id
        )
        return await reports.GetHouseholdStatement(request, calling(caller, request))

    found = await of(CENTRE)
    (held,) = found.loans
    assert (held.loan_id, held.figures) == (loan.loan_id, found.total)
    assert [(line.kind, line.balance_fen) for line in held.lines] == [
        ("disbursement", 30_000 * YUAN),
        ("repayment", 29_000 * YUAN),
    ]
    assert found.total.balance_fen == 29_000 * YUAN
    assert list((await of(OTHER_LENDER)).loans) == []
    assert other.household_id != loan.household_id


# --- what others state ----------------------------------------------------------------------------


async def state(reports: ReportsServicer, caller: Caller, name: str, request: Message) -> Any:
    return await getattr(reports, name)(request, calling(caller, request))


def a_count(count_id: str, value: int, *, on: date = OPENED) -> reports_pb2.StateCountRequest:
    return reports_pb2.StateCountRequest(
        request_id=steps.an_id(),
        county_code=COUNTY,
        programme_id=PROGRAMME,
        count_id=count_id,
        on_day=day(on),
        value=value,
    )


async def test_indicators_follow_from_counts_ours_and_stated_ones(
    reports: ReportsServicer, servicer: LoansServicer, consumer: Consumer
) -> None:
    await some_loans(servicer, consumer)
    request = reports_pb2.GetIndicatorsRequest(county_code=COUNTY, programme_id=PROGRAMME)

    before = await state(reports, CENTRE, "GetIndicators", request)
    assert list(before.missing_counts) == ["rated_households"]
    await state(reports, CENTRE, "StateCount", a_count("rated_households", 8))
    found = await state(reports, CENTRE, "GetIndicators", request)

    counts = {each.id: each.value for each in found.counts}
    assert counts["lent"] == counts["lent_this_year"] == 80_000 * YUAN
    assert [(each.id, each.pct) for each in found.indicators] == [
        ("npl_ratio", "0.00"),
        ("rated_ratio", "37.5"),
    ]


async def test_a_count_stated_otherwise_says_its_difference(
    reports: ReportsServicer, servicer: LoansServicer, consumer: Consumer
) -> None:
    await some_loans(servicer, consumer)
    request = reports_pb2.GetIndicatorsRequest(county_code=COUNTY, programme_id=PROGRAMME)

    async def counts(caller: Caller = CENTRE) -> dict[str, reports_pb2.ReportCount]:
        answer = await state(reports, caller, "GetIndicators", request)
        return {each.id: each for each in answer.counts}

    ours = (await counts())["lent_this_year"].ours
    await state(reports, CENTRE, "StateCount", a_count("lent_this_year", ours + 7))
    said = await state(reports, CENTRE, "StateCount", a_count("lent", ours))
    found = await counts()
    part, whole = found["lent_this_year"], found["lent"]

    assert (said.count.stated_value, said.count.HasField("difference")) == (ours, False)
    assert (part.value, part.ours, part.difference) == (ours + 7, ours, 7)
    assert (whole.value, whole.stated_value, whole.difference) == (ours + 7, ours, -7)
    assert (whole.stated, whole.stated_by) == (True, CENTRE.institution_id)
    # A lender sees its own loans: nothing to hold what is stated of the county against.
    assert not (await counts(OTHER_LENDER))["lent_this_year"].HasField("difference")
    differing = (await bulletin(reports, "work_bulletin")).differing_counts
    assert {each.id: each.difference for each in differing} == {"lent_this_year": 7, "lent": -7}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (a_count("unheard_of", 5), "COUNT_UNKNOWN"),
        (a_count("rated_households", 5, on=OPENED + timedelta(days=1)), "DAY_IN_FUTURE"),
    ],
)
async def test_a_count_that_cannot_be_stated_is_refused(
    reports: ReportsServicer, request_: Message, reason: str
) -> None:
    with pytest.raises(LiandongError) as refused:
        await state(reports, CENTRE, "StateCount", request_)
    assert refused.value.reason == reason


def a_ratio(bad: int, all_: int, *, on: date = OPENED) -> reports_pb2.StateLenderRatioRequest:
    return reports_pb2.StateLenderRatioRequest(
        request_id=steps.an_id(),
        county_code=COUNTY,
        on_day=day(on),
        non_performing_fen=bad,
        outstanding_fen=all_,
    )


# SC.mon.3, SC.mon.4: two points above its own ratio are tolerated; full marks at the average.
async def test_a_lender_is_assessed_with_its_own_dated_ratio(
    reports: ReportsServicer,
    servicer: LoansServicer,
    consumer: Consumer,
    db: Database,
    catalogue: Catalogue,
) -> None:
    await some_loans(servicer, consumer)
    on = await steps.advance(db, catalogue, 110)
    await state(reports, LENDER, "StateLenderRatio", a_ratio(36, 100, on=on))
    await state(reports, OTHER_LENDER, "StateLenderRatio", a_ratio(1, 100, on=on))
    request = reports_pb2.AssessLendersRequest(county_code=COUNTY, programme_id=PROGRAMME)

    (found,) = (await state(reports, CENTRE, "AssessLenders", request)).lenders

    assert (found.lender_id, found.figures.loans, found.stated.pct) == (BANK, 3, "36.00")
    (target,) = found.targets
    assert (target.own.numerator, target.own.denominator) == (30_000 * YUAN, 80_000 * YUAN)
    assert (target.reached, target.marks_centi, found.marks_centi) == (True, 1_000, 1_000)
    # 37.5 % is 1.5 points above 36 %.
    assert found.tolerated
    await state(reports, LENDER, "StateLenderRatio", a_ratio(35, 100, on=on))
    (found,) = (await state(reports, LENDER, "AssessLenders", request)).lenders
    assert not found.tolerated
    assert list((await state(reports, OTHER_LENDER, "AssessLenders", request)).lenders) == []

    listing = reports_pb2.ListLenderRatiosRequest(county_code=COUNTY)
    assert [
        each.lender_id
        for each in (await state(reports, CENTRE, "ListLenderRatios", listing)).ratios
    ] == [BANK, OTHER_BANK, BANK]
    seen = (await state(reports, OTHER_LENDER, "ListLenderRatios", listing)).ratios
    assert [each.lender_id for each in seen] == [OTHER_BANK]


async def test_a_ratio_that_cannot_be_is_refused(reports: ReportsServicer) -> None:
    with pytest.raises(Invalid, match="NON_PERFORMING_ABOVE_WHOLE"):
        await state(reports, LENDER, "StateLenderRatio", a_ratio(2, 1))
    late = a_ratio(1, 2, on=OPENED + timedelta(days=1))
    with pytest.raises(Invalid, match="DAY_IN_FUTURE"):
        await state(reports, LENDER, "StateLenderRatio", late)


# JX.mon.1: year of disbursement and batch.
async def test_cohorts_go_by_the_batch_that_was_said(
    reports: ReportsServicer, servicer: LoansServicer, consumer: Consumer
) -> None:
    loans = await some_loans(servicer, consumer)

    def of(batch: str, *found: loans_pb2.Loan) -> reports_pb2.SetLoanBatchRequest:
        return reports_pb2.SetLoanBatchRequest(
            request_id=steps.an_id(),
            county_code=COUNTY,
            batch=batch,
            loan_ids=[each.loan_id for each in found],
        )

    await state(reports, LENDER, "SetLoanBatch", of("first", *loans[:2]))
    await state(reports, CENTRE, "SetLoanBatch", of("second", loans[1]))

    rows = (await asked(reports, "VINTAGE")).rows
    assert [(row.keys[0], row.figures.loans) for row in rows] == [
        ("2021/", 1),
        ("2021/first", 1),
        ("2021/second", 1),
    ]
    with pytest.raises(NotFound, match="LOAN_NOT_FOUND"):
        await state(reports, OTHER_LENDER, "SetLoanBatch", of("mine", loans[0]))
