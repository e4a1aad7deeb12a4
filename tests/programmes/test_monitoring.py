"""What is watched: breakers and tolerance, counts and marks, bulletins, issues, cohorts."""

from collections.abc import Mapping
from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import Refused
from services.kernel.money import PPM
from services.programmes import breakers, bulletins, cohorts, indicators, issues
from services.programmes.loader import PACKAGED, PackErrors, load, load_texts
from services.programmes.schema.indicators import (
    AreaGoal,
    Count,
    CountUnit,
    FixedGoal,
    Indicator,
    Kpi,
)
from services.programmes.schema.monitoring import FiveTier, Monitoring, Reopening
from services.programmes.schema.reports import (
    Analytics,
    Deputies,
    EarlyWarning,
    Grain,
    IssueLedger,
    Report,
    ReportKind,
    RiskList,
    Section,
)
from services.programmes.schema.values import Every, Open, Organ, known
from services.programmes.yaml_text import parse
from tests.programmes.county_texts import PACK, changed, texts

CATALOGUE = load()
FEN = st.integers(0, 10**13)
QUOTIENTS = st.builds(indicators.Quotient, FEN, st.integers(1, 10**9))
BETTER = st.sampled_from(["higher", "lower"])

# Every row of monitoring that must be computable, by the pack that says it.
MUST_HAVE: Mapping[str, tuple[str, ...]] = {
    "hunan-rcu-poverty-microcredit@2": ("HN-RCU.mon.1",),
    "anhui-yizisanhe@1": ("AH.mon.1", "AH.mon.2", "AH.mon.3"),
    "sichuan-5221@1": ("SC.mon.1", "SC.mon.2", "SC.mon.3", "SC.mon.4"),
    "jiangxi-chanye-xindaitong@1": ("JX.mon.1", "JX.mon.2"),
    "hunan-poverty-office-137@1": (
        "HN-PO.mon.1",
        "HN-PO.mon.2",
        "HN-PO.mon.3",
        "HN-PO.mon.5",
        "HN-PO.mon.6",
    ),
    "henan-sanmenxia-211@1": ("SMX.mon.1", "SMX.mon.2"),
    "henan-lushi@1": ("LS17.mon.1", "LS17.mon.2", "LS17.mon.3", "LS17.mon.4"),
    "henan-lushi@2": ("LS18.mon.1", "LS18.mon.2"),
}


def watched(ref: str) -> Monitoring:
    found = CATALOGUE.programme(ref).monitoring
    assert found is not None
    return found


def report_of(ref: str, report_id: str) -> Report:
    (found,) = (each for each in watched(ref).reports if each.id == report_id)
    return found


def sources(node: object) -> set[str]:
    if isinstance(node, dict):
        return set(node.get("source", [])).union(*(sources(each) for each in node.values()))
    if isinstance(node, list):
        return set[str]().union(*(sources(each) for each in node))
    return set()


def said_by(ref: str) -> set[str]:
    file = PACKAGED[0] / f"{ref}.yaml"
    return sources(parse(file.name, file.read_text(encoding="utf-8")).value)


@pytest.mark.parametrize("ref", MUST_HAVE)
def test_every_row_of_monitoring_has_a_clause_in_its_programme(ref: str) -> None:
    assert set(MUST_HAVE[ref]) <= said_by(ref)


def test_all_23_rows_that_must_be_computable_are_named_and_every_programme_is_watched() -> None:
    assert sum(map(len, MUST_HAVE.values())) == 23
    assert all(pack.monitoring for pack in CATALOGUE.packs.values())


# AH.mon.1: more than 3 % stops the programme in one county; what lifts it is open.
def test_a_provinces_suspension_holds_in_its_counties_too() -> None:
    for ref in ("anhui-yizisanhe@1", "anhui-lingbi@1", "anhui-rcu-poverty-microcredit@2"):
        rule = breakers.ratio_breaker(watched(ref).breakers, "programme")
        assert rule is not None
        assert rule.more_than_ppm == 30_000
        assert "open_collection" not in rule.effects
        assert isinstance(watched(ref).reopening, Open)


# SMX.mon.1, SMX.mon.2: above 5 % a village stops, from 30 % of its villages on a township.
def test_a_citys_breakers_stop_a_village_and_then_its_township() -> None:
    found = watched("henan-sanmenxia-211@1").breakers
    village, town = breakers.ratio_breaker(found, "village"), breakers.villages_breaker(found)

    assert village is not None
    assert town is not None
    assert not breakers.npl_ratio(5, 100, more_than_ppm=village.more_than_ppm).tripped
    assert breakers.npl_ratio(51, 1000, more_than_ppm=village.more_than_ppm).tripped
    assert breakers.township(3, 10, at_least_pct=town.at_least_pct).tripped
    assert not breakers.township(5, 17, at_least_pct=town.at_least_pct).tripped


# HN-RCU.mon.1: three months on end; a month in which nothing fell due does not count (S19).
def test_an_outlet_is_suspended_after_three_low_months_without_counting_empty_ones() -> None:
    rule = breakers.collection_breaker(watched("hunan-poverty-office-137@2").breakers, "outlet")
    assert rule is not None
    low, none = (100, 97), (0, 0)

    def after(*months: tuple[int, int]) -> str | None:
        assert rule is not None
        return breakers.recovery_rate(
            [breakers.CollectionMonth(f"2018-{n:02}", *each) for n, each in enumerate(months, 1)],
            less_than_ppm=rule.less_than_ppm,
            consecutive=rule.consecutive_months,
        ).suspended_after

    assert after(low, low, low) == "2018-03"
    assert after(low, none, low, none, low) == "2018-05"
    assert after(low, low, (100, 98), low, low) is None
    assert after(low, low, low, (100, 100)) == "2018-03"
    assert rule.lenders == "own"


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=12))
def test_collecting_more_in_any_month_never_suspends(months: list[tuple[int, int]]) -> None:
    def suspended(more: int) -> bool:
        made = [
            breakers.CollectionMonth(str(n), due, collected + more)
            for n, (due, collected) in enumerate(months)
        ]
        rate = breakers.recovery_rate(made, less_than_ppm=980_000, consecutive=3)
        return rate.suspended

    assert suspended(0) or not suspended(5)


# SC.mon.3: exactly 2 points above is tolerated, and only where poverty is deep.
def test_a_tolerance_is_of_deep_poverty_areas_and_inclusive() -> None:
    tolerance = breakers.tolerance_of(watched("sichuan-5221@1:deep_poverty"))

    assert tolerance == 20_000
    assert breakers.tolerance_of(watched("sichuan-5221@1")) is None
    assert breakers.tolerance_of(watched("henan-lushi@2")) is None
    assert breakers.npl_tolerance(41, 1000, 21, 1000, tolerance_ppm=tolerance).tolerated
    assert not breakers.npl_tolerance(411, 10_000, 21, 1000, tolerance_ppm=tolerance).tolerated
    assert breakers.npl_tolerance(0, 0, 21, 1000, tolerance_ppm=0).tolerated
    assert not breakers.npl_tolerance(3, 100, 0, 0, tolerance_ppm=tolerance).tolerated


@given(FEN, FEN, FEN, FEN, st.integers(0, PPM))
def test_a_tolerance_is_the_difference_of_exact_ratios(
    own_bad: int, own: int, all_bad: int, every: int, ppm: int
) -> None:
    tolerated = breakers.npl_tolerance(own_bad, own, all_bad, every, tolerance_ppm=ppm).tolerated

    own_ratio = Fraction(own_bad, own) if own else Fraction(0)
    all_ratio = Fraction(all_bad, every) if every else Fraction(0)
    assert tolerated == (own_ratio - all_ratio <= Fraction(ppm, PPM))


# LS17.mon.3, LS17.mon.4, LS18.mon.1: two month ends below the threshold, and a decision (S17).
def test_a_breaker_is_lifted_by_two_month_ends_and_a_decision() -> None:
    rule = known(watched("henan-lushi@2").reopening)
    assert isinstance(rule, Reopening)

    assert breakers.reopen(rule, [False, True, True], decided_by="county_centre").reopened
    assert not breakers.reopen(rule, [True, True], decided_by=None).reopened
    assert not breakers.reopen(rule, [True, True], decided_by="lender").reopened
    assert not breakers.reopen(rule, [True], decided_by="county_centre").reopened
    assert not breakers.reopen(rule, [True, True, False], decided_by="county_centre").reopened
    assert not breakers.is_below(5, 100, threshold_ppm=50_000)
    assert breakers.is_below(0, 0, threshold_ppm=0)


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.integers(0, 4))
def test_a_percentage_is_within_half_of_its_last_decimal(
    numerator: int, denominator: int, decimals: int
) -> None:
    pct = indicators.ratio(numerator, denominator, decimals=decimals).pct

    assert pct is not None
    assert len(pct.partition(".")[2]) == decimals
    off = abs(Fraction(pct) - Fraction(numerator * 100, denominator))
    assert off <= Fraction(1, 2 * 10**decimals)


def test_an_indicator_over_nothing_is_no_percentage() -> None:
    assert indicators.ratio(0, 0, decimals=2).pct is None


@pytest.mark.parametrize(
    ("ref", "indicator_id", "given_counts", "pct"),
    [
        (
            "sichuan-wangcang@1",
            "credit_granted_ratio",
            {"granted_households": 15_800, "rated_households": 17_200},
            "91.86",
        ),
        (
            "hunan-poverty-office-137@2",
            "rated_ratio",
            {"rated_households": 1_915_000, "registered_households": 1_923_000},
            "99.6",
        ),
        (
            "anhui-lingbi@1",
            "self_development_share",
            {"self_development_households": 6_015, "households_with_loan": 11_680},
            "51.5",
        ),
        (
            "henan-lushi@2",
            "overdue_ratio",
            {"due": 3_191_700_000, "collected": 3_165_700_000},
            "0.8",
        ),
    ],
)
def test_a_packs_indicator_comes_from_its_counts(
    ref: str, indicator_id: str, given_counts: dict[str, int], pct: str
) -> None:
    monitoring = watched(ref)
    (indicator,) = (each for each in monitoring.indicators if each.id == indicator_id)
    missing = {count.id: 0 for count in monitoring.counts if count.id not in given_counts}

    counts = indicators.counted(monitoring.counts, {**missing, **given_counts})

    assert indicators.indicator_of(indicator, counts).pct == pct


def test_a_count_that_is_not_given_is_refused_and_one_that_follows_is_never_taken() -> None:
    counts = (
        Count(id="left", unit=CountUnit.LOANS, plus=("due",), minus=("paid",)),
        Count(id="due", unit=CountUnit.LOANS),
        Count(id="paid", unit=CountUnit.LOANS),
    )

    values = indicators.counted(counts, {"due": 671, "paid": 665, "left": 0})

    assert values["left"] == 6
    with pytest.raises(Refused) as refused:
        indicators.counted(counts, {"due": 671})
    assert refused.value.reason == "COUNT_MISSING"
    with pytest.raises(Refused):
        indicators.overdue_report(1, 100, 2, 100)


# SC.mon.4: full marks at the average of the area, nothing for more, linear below (S54).
def test_marks_stop_at_the_areas_average() -> None:
    kpi = Kpi(
        id="k",
        indicator="i",
        better="higher",
        full_at=AreaGoal(of="area_average"),
        marks_centi=1000,
    )
    area = indicators.Quotient(40, 100)

    assert indicators.kpi_marks(kpi, indicators.Quotient(40, 100), area).marks_centi == 1000
    assert indicators.kpi_marks(kpi, indicators.Quotient(90, 100), area).marks_centi == 1000
    assert indicators.kpi_marks(kpi, indicators.Quotient(20, 100), area).marks_centi == 500
    with pytest.raises(Refused) as refused:
        indicators.kpi_marks(kpi, indicators.Quotient(20, 100))
    assert refused.value.reason == "AREA_AVERAGE_MISSING"


# SC.mon.4: the marks themselves and the threshold are printed nowhere, so they block.
def test_a_provinces_marks_wait_for_what_is_open() -> None:
    kpis = {kpi.id: kpi for kpi in watched("sichuan-5221@1").kpis}

    assert set(kpis) == {"coverage", "average_balance", "npl"}
    for kpi in kpis.values():
        with pytest.raises(Refused) as refused:
            indicators.kpi_marks(kpi, indicators.Quotient(1, 2), indicators.Quotient(1, 3))
        assert refused.value.reason == "PROGRAMME_VALUE_OPEN"


@given(
    BETTER, st.lists(QUOTIENTS, min_size=3, max_size=3), st.integers(1, 9999), st.integers(1, PPM)
)
def test_a_better_ratio_never_earns_fewer_marks(
    better: str, quotients: list[indicators.Quotient], full: int, zero: int
) -> None:
    one, other, area = quotients
    kpi = Kpi.model_validate(
        {
            "id": "k",
            "indicator": "i",
            "better": better,
            "full_at": {"of": "area_average", "or_ppm": 300_000},
            "zero_at_ppm": zero if better == "lower" else None,
            "marks_centi": full,
        }
    )
    low, high = sorted([one, other], key=lambda each: Fraction(each.numerator, each.denominator))
    best, worst = (high, low) if better == "higher" else (low, high)

    marks = [indicators.kpi_marks(kpi, each, area).marks_centi for each in (worst, best)]

    assert marks[0] is not None
    assert marks[1] is not None
    assert 0 <= marks[0] <= marks[1] <= full


def test_a_target_without_marks_is_reached_or_not() -> None:
    (kpi,) = watched("henan-sanmenxia-211@1").kpis
    (npl,) = (each for each in watched("henan-lushi@2").kpis if each.id == "household_npl")

    assert indicators.kpi_marks(kpi, indicators.Quotient(100, 100)).reached
    assert not indicators.kpi_marks(kpi, indicators.Quotient(99, 100)).reached
    assert indicators.kpi_marks(npl, indicators.Quotient(5, 100)).reached
    assert not indicators.kpi_marks(npl, indicators.Quotient(6, 100)).reached


# HN-PO.mon.3: four sections; what changed its class is the fourth.
def test_a_monthly_risk_bulletin_has_its_four_sections() -> None:
    report = report_of("hunan-poverty-office-137@2", "risk_bulletin")
    ok, worse = FiveTier.NORMAL, FiveTier.SUBSTANDARD
    loans = [
        bulletins.LoanLine("l1", date(2018, 12, 31), 100, 100, 0),
        bulletins.LoanLine("l2", date(2018, 11, 30), 200, 150, 7, worse, ok),
        bulletins.LoanLine("l3", date(2019, 1, 1), 300, 300, 0, ok, worse),
    ]

    made = bulletins.bulletin(date(2018, 12, 31), loans)

    assert report.every == Every.MONTH
    assert [bulletins.section_of(made, section) for section in report.sections] == [
        {"due_this_month_fen": 100},
        {"overdue_principal_fen": 150, "overdue_interest_fen": 7},
        {"due_next_month_fen": 300},
        {"worse": ("l2",), "better": ("l3",)},
    ]
    assert report.by == (Organ.LENDER,)
    assert report.to


# HN-PO.mon.1, HN-PO.mon.2: the five classes; from substandard on a loan is listed and reported.
def test_substandard_and_worse_is_on_the_risk_list() -> None:
    rule = watched("hunan-poverty-office-137@2").risk_list
    assert rule is not None

    listed = [tier for tier in FiveTier if bulletins.on_risk_list(rule, tier)]

    assert listed == [FiveTier.SUBSTANDARD, FiveTier.DOUBTFUL, FiveTier.LOSS]
    assert isinstance(rule.reported_to, Open)
    stricter = RiskList(from_tier="special_mention")
    assert bulletins.on_risk_list(stricter, FiveTier.SPECIAL_MENTION)


# SC.mon.2, HN-PO.mon.6, LS18.mon.2: monthly, quarterly, and every month for each project.
def test_reports_are_due_at_the_end_of_their_period() -> None:
    monthly = report_of("sichuan-5221@1", "monthly_monitoring")
    quarterly = report_of("sichuan-wangcang@1", "quarterly_bulletin")
    project = report_of("hunan-poverty-office-137@2", "project_evaluation")
    check = report_of("henan-lushi@2", "self_check")

    for report in (monthly, project, check):
        assert bulletins.is_due(report, date(2018, 2, 28), overdue_loans=0)
        assert not bulletins.is_due(report, date(2018, 2, 27), overdue_loans=0)
    assert bulletins.is_due(quarterly, date(2018, 6, 30), overdue_loans=0)
    assert not bulletins.is_due(quarterly, date(2018, 5, 31), overdue_loans=0)
    assert project.per is Grain.POOLED_PROJECT
    assert project.is_check
    assert check.is_check
    assert known(check.by) == (Organ.TOWNSHIP_STATION, Organ.VILLAGE_DEPARTMENT)


# LS18.loa.5: every day, as long as anything is overdue.
def test_a_daily_report_stops_when_nothing_is_overdue() -> None:
    daily = report_of("henan-lushi@2", "overdue_daily")

    assert bulletins.is_due(daily, date(2018, 5, 3), overdue_loans=1)
    assert not bulletins.is_due(daily, date(2018, 5, 3), overdue_loans=0)


@given(st.sampled_from(list(Every)), st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_every_day_is_in_one_period_of_its_kind(every: Every, on: date) -> None:
    found = bulletins.period(every, on)

    if found is None:
        assert every is Every.EVENT
        return
    assert found.first <= on <= found.last
    assert bulletins.period(every, found.first) == found == bulletins.period(every, found.last)
    after = bulletins.period(every, found.last + timedelta(days=1))
    assert after is not None
    assert after.first == found.last + timedelta(days=1)


# AH.mon.3: before and at maturity; how long before is open until a county says it.
def test_early_warnings_come_before_at_and_after_maturity() -> None:
    due, rules = date(2018, 6, 30), watched("anhui-yizisanhe@1").early_warnings
    rules_of_county = (
        EarlyWarning(id="maturing", of="maturing", lead_days=30),
        *(rule for rule in rules if rule.of != "maturing"),
    )

    def on(day: date, *, settled: bool = False) -> tuple[str, ...]:
        return bulletins.warnings(rules_of_county, due, on=day, settled=settled)

    assert on(date(2018, 5, 30)) == ()
    assert on(date(2018, 5, 31)) == ("maturing",)
    assert on(date(2018, 6, 29)) == ("maturing",)
    assert on(due) == ("matured",)
    assert on(date(2018, 7, 1)) == ("overdue",)
    assert on(date(2018, 7, 1), settled=True) == ()
    with pytest.raises(Refused) as refused:
        bulletins.warnings(rules, due, on=date(2018, 6, 1), settled=False)
    assert refused.value.reason == "PROGRAMME_VALUE_OPEN"


# AH.mon.2: overdue loans have a deadline and are crossed off.
def test_a_ledgers_deadline_counts_calendar_days() -> None:
    (ledger,) = watched("anhui-yizisanhe@1").ledgers
    own = IssueLedger(id="o", of="overdue_loan", rectify_within_days=10)
    registered = date(2018, 6, 1)

    assert ledger.of == "overdue_loan"
    with pytest.raises(Refused):
        issues.issue_due(ledger, registered, on=registered)
    assert issues.issue_due(own, registered, on=date(2018, 6, 11)).due_on == date(2018, 6, 11)
    assert not issues.issue_due(own, registered, on=date(2018, 6, 11)).late
    assert issues.issue_due(own, registered, on=date(2018, 6, 12)).late
    done = issues.issue_due(own, registered, on=date(2018, 7, 1), rectified_on=date(2018, 6, 9))
    assert not done.late


# JX.mon.2: registered, rectified, crossed off; nothing is crossed off before it is rectified.
def test_an_issue_goes_through_its_states_in_order() -> None:
    state, step = issues.IssueState, issues.IssueStep

    assert issues.advance(state.REGISTERED, step.RECTIFY) is state.RECTIFIED
    assert issues.advance(state.RECTIFIED, step.SEND_BACK) is state.REGISTERED
    assert issues.advance(state.RECTIFIED, step.CROSS_OFF) is state.CROSSED_OFF
    for wrong in (step.RECTIFY, step.SEND_BACK, step.CROSS_OFF):
        with pytest.raises(Refused):
            issues.advance(state.CROSSED_OFF, wrong)
    with pytest.raises(Refused):
        issues.advance(state.REGISTERED, step.CROSS_OFF)
    assert len(watched("jiangxi-chanye-xindaitong@1").ledgers) == 2


# JX.loa.2: six checks a loan; one that was not made is no pass.
def test_a_check_that_was_not_made_is_no_pass() -> None:
    checks = watched("jiangxi-chanye-xindaitong@1").compliance
    none = {check.id: False for check in checks}

    assert len(checks) == 6
    assert issues.compliance_of(checks, none).compliant
    assert issues.compliance_of(checks, {**none, "overdue": True}).issues == ("overdue",)
    with pytest.raises(Refused) as refused:
        issues.compliance_of(checks, {"overdue": False})
    assert refused.value.reason == "CHECK_MISSING"


# HN-PO.mon.5: who monitors has a deputy, who is somebody else.
def test_a_duty_needs_a_deputy_who_is_another_person() -> None:
    rule = watched("hunan-poverty-office-137@2").deputies
    assert rule is not None

    assert issues.without_deputy(rule, {"monitoring": ("a", "b")}) == ()
    assert issues.without_deputy(rule, {"monitoring": ("a", "a")}) == ("monitoring",)
    assert issues.without_deputy(rule, {"monitoring": ("a", None)}) == ("monitoring",)
    assert issues.without_deputy(rule, {}) == ("monitoring",)
    assert issues.without_deputy(Deputies(duties=("payment",)), {"payment": ("", "b")}) == (
        "payment",
    )


def a_line(n: int, *, bank: str, village: str, batch: str, year: int = 2017) -> cohorts.BookLine:
    return cohorts.BookLine(
        household_id=f"h{n % 3}",
        disbursed_on=date(year, 5, 1),
        maturity_on=date(year + 3, 5, 1),
        outstanding_fen=100 * n,
        non_performing_fen=n,
        batch=batch,
        keys=((Grain.BANK, bank), (Grain.VILLAGE, village), (Grain.HOUSEHOLD, f"h{n % 3}")),
    )


# SC.mon.1: by bank, by village, by household.
def test_statistics_have_a_line_for_each_bank_village_and_household() -> None:
    grains = watched("sichuan-5221@1").analytics.grains
    lines = [
        a_line(1, bank="b1", village="v1", batch="1"),
        a_line(2, bank="b2", village="v1", batch="1"),
        a_line(4, bank="b1", village="v2", batch="2"),
    ]

    tables = {grain: cohorts.statistics(lines, grain) for grain in grains}

    assert set(tables) == {Grain.BANK, Grain.VILLAGE, Grain.HOUSEHOLD}
    assert tables[Grain.BANK][0] == cohorts.Group("b1", 2, 1, 500, 5)
    for table in tables.values():
        assert sum(group.outstanding_fen for group in table) == 700
    with pytest.raises(Refused):
        cohorts.statistics(lines, Grain.OUTLET)


# JX.mon.1: by year of lending and batch.
def test_loans_of_one_year_and_batch_are_a_cohort() -> None:
    rule = watched("jiangxi-chanye-xindaitong@1").analytics
    lines = [
        a_line(1, bank="b", village="v", batch="1"),
        a_line(2, bank="b", village="v", batch="1", year=2018),
        a_line(3, bank="b", village="v", batch="2", year=2018),
        a_line(4, bank="b", village="v", batch="2", year=2018),
    ]

    found = cohorts.cohorts(rule, lines)

    assert [(group.key, group.loans) for group in found] == [
        ("2017/1", 1),
        ("2018/1", 1),
        ("2018/2", 2),
    ]
    wall = cohorts.maturity_wall(Analytics(maturity_wall="month"), lines)
    assert [group.key for group in wall] == ["2020-05", "2021-05"]
    years = cohorts.maturity_wall(watched("hunan-poverty-office-137@2").analytics, lines)
    assert [(group.key, group.outstanding_fen) for group in years] == [("2020", 100), ("2021", 900)]


# Refusals: each says what is wrong and where.
BASE = "five_tier: {open: not decided}"
COUNTS = "counts: [{id: a, unit: loans}, {id: b, unit: loans}, {id: f, unit: fen}]"
RATE = "indicators: [{id: r, numerator: a, denominator: b}]"
KPI = f"{COUNTS}\n  {RATE}\n  kpis: [{{id: k, indicator: r, "
WRONG: Mapping[str, tuple[str, str]] = {
    "a count of nobody knows what": ("counts: [{id: a, unit: sheep}]", "Input should be"),
    "a count made of nothing": ("counts: [{id: a, unit: loans, plus: [z]}]", "z, which is missing"),
    "loans and fen added": (
        "counts: [{id: a, unit: loans}, {id: s, unit: fen, plus: [a]}]",
        "adds loans to fen",
    ),
    "counts made of each other": (
        "counts: [{id: a, unit: loans, plus: [b]}, {id: b, unit: loans, plus: [a]}]",
        "made of each other",
    ),
    "a count that only takes away": (
        "counts: [{id: a, unit: loans}, {id: s, unit: loans, minus: [a]}]",
        "one to take from",
    ),
    "a count used twice": (
        "counts: [{id: a, unit: loans}, {id: s, unit: loans, plus: [a, a]}]",
        "used twice",
    ),
    "an indicator of a missing count": (
        f"{COUNTS}\n  indicators: [{{id: r, numerator: a, denominator: z}}]",
        "z, which is missing",
    ),
    "a count over itself": (
        f"{COUNTS}\n  indicators: [{{id: r, numerator: a, denominator: a}}]",
        "the same count",
    ),
    "a KPI of a missing indicator": (
        "kpis: [{id: k, indicator: r, better: higher, full_at: {of: area_average}}]",
        "r, which is missing",
    ),
    "falling marks without their end": (
        KPI + "better: lower, full_at: {of: area_average}, marks_centi: 100}]",
        "need zero_at_ppm",
    ),
    "rising marks with an end": (
        KPI + "better: higher, full_at: {of: area_average}, zero_at_ppm: 5, marks_centi: 100}]",
        "take no zero_at_ppm",
    ),
    "an end before the goal": (
        KPI
        + "better: lower, full_at: {of: fixed, rate_ppm: 50}, zero_at_ppm: 40, marks_centi: 100}]",
        "not above the goal",
    ),
    "marks of nothing": (
        KPI + "better: higher, full_at: {of: area_average}, marks_centi: 0}]",
        "above 0",
    ),
    "sections of a check": (
        "reports: [{id: r, kind: meeting, every: day, by: [lender], sections: [risk_changes]}]",
        "only a bulletin",
    ),
    "a report that inspects": (
        "reports: [{id: r, every: month, by: [lender], looks_at: [use]}]",
        "only a check",
    ),
    "an indicator nobody computes": (
        "reports: [{id: r, every: month, by: [lender], indicators: [npl]}]",
        "no indicator",
    ),
    "a warning without a lead": ("early_warnings: [{id: w, of: maturing}]", "needs lead_days"),
    "a lead after maturity": (
        "early_warnings: [{id: w, of: matured, lead_days: 3}]",
        "takes no lead_days",
    ),
    "a risk nobody sees": ("early_warnings: [{id: w, of: industry_risk}]", "raised_by"),
    "names of persons made public": (
        "publications: [{id: p, of: persons, by_platform: true}]",
        "does not publish persons",
    ),
    "a deputy for nothing": ("deputies: {duties: []}", "names nothing"),
    "a grain twice": ("analytics: {grains: [bank, bank]}", "named twice"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_watch_is_refused_with_its_rule(what: str) -> None:
    said, rule = WRONG[what]

    with pytest.raises(PackErrors) as refused:
        load_texts(texts(pack=changed(PACK, BASE, f"{BASE}\n  {said}"), overlay="", adoption=""))

    (problem,) = refused.value.problems
    assert rule in problem.rule
    assert problem.path.startswith("monitoring")
    assert problem.line >= PACK.splitlines().index("monitoring:") + 1


def test_a_collection_breaker_alone_is_no_village_breaker() -> None:
    ratio = "measure: npl_ratio, scope: village, more_than_ppm: 50000,"
    rate = "measure: due_collection_rate, scope: village, less_than_ppm: 1, consecutive_months: 3,"

    with pytest.raises(PackErrors) as refused:
        load_texts(texts(pack=changed(PACK, ratio, rate), overlay="", adoption=""))

    assert "needs a village breaker" in str(refused.value)


def test_a_working_paper_is_left_by_checks_only() -> None:
    assert report_of("hubei-yunyang-troika@2018", "cross_check").is_check
    assert not report_of("hunan-poverty-office-137@1", "risk_bulletin").is_check
    assert tuple(Section) == report_of("hunan-poverty-office-137@1", "risk_bulletin").sections
    assert report_of("sichuan-5221@1", "off_site").kind is ReportKind.OFF_SITE_CHECK
    assert Indicator(id="i", numerator="a", denominator="b").decimals == 2
    assert FixedGoal(of="fixed", rate_ppm=1).rate_ppm == 1
