"""Runs what a pack says is watched, and what follows."""

from services.programmes import breakers, bulletins, cohorts, delinquency, indicators, issues
from services.programmes.schema.monitoring import CollectionBreaker, FiveTier, Monitoring
from services.programmes.schema.monitoring import RatioBreaker as Ratio
from services.programmes.schema.pack import Pack
from services.programmes.schema.reports import Grain
from services.programmes.schema.values import known
from tests.programmes.evaluators.given import ON, or_open


def monitored(pack: Pack) -> None:
    watched = pack.monitoring
    assert watched is not None
    for breaker in watched.breakers:
        if isinstance(breaker, Ratio):
            assert not breakers.npl_ratio(0, 1, more_than_ppm=breaker.more_than_ppm).tripped
        elif isinstance(breaker, CollectionBreaker):
            month = breakers.CollectionMonth("2020-01", 1, 1)
            assert not breakers.recovery_rate(
                [month] * 60,
                less_than_ppm=breaker.less_than_ppm,
                consecutive=breaker.consecutive_months,
            ).suspended
        else:
            assert breakers.township(10, 10, at_least_pct=breaker.at_least_pct).tripped
    if watched.reopening is not None:
        with or_open():
            rule = known(watched.reopening)
            ends = [True] * rule.month_ends_below
            assert breakers.reopen(rule, ends, decided_by=rule.decided_by.value).reopened
    with or_open():
        breakers.tolerance_of(watched)
    with or_open():
        table = known(watched.five_tier)
        assert delinquency.five_tier(0, table).tier is FiveTier.NORMAL
        assert delinquency.five_tier(36_500, table).tier is FiveTier.LOSS
    if watched.risk_list:
        assert bulletins.on_risk_list(watched.risk_list, FiveTier.LOSS)
    counted(watched)
    reported(watched)


def counted(watched: Monitoring) -> None:
    counts = indicators.counted(watched.counts, {each.id: 7 for each in watched.counts})
    for indicator in watched.indicators:
        indicators.indicator_of(
            indicator, {**counts, indicator.numerator: 1, indicator.denominator: 3}
        )
    area = indicators.Quotient(1, 2)
    for kpi in watched.kpis:
        for own in (indicators.Quotient(1, 3), indicators.Quotient(2, 1)):
            with or_open():
                marks = indicators.kpi_marks(kpi, own, area).marks_centi
                if marks is not None and kpi.marks_centi is not None:
                    assert 0 <= marks <= known(kpi.marks_centi)


def reported(watched: Monitoring) -> None:
    made = bulletins.bulletin(ON, [bulletins.LoanLine("l", ON, 1, 1, 0)])
    for report in watched.reports:
        with or_open():
            bulletins.is_due(report, ON, overdue_loans=1)
        for section in report.sections:
            assert bulletins.section_of(made, section)
    for warning in watched.early_warnings:
        with or_open():
            bulletins.warnings([warning], ON, on=ON, settled=False)
    for ledger in watched.ledgers:
        with or_open():
            assert issues.issue_due(ledger, ON, on=ON).due_on >= ON
    checks = {check.id: True for check in watched.compliance}
    assert issues.compliance_of(watched.compliance, checks).issues == tuple(checks)
    if watched.deputies:
        operators = dict.fromkeys(watched.deputies.duties, ("a", "b"))
        assert issues.without_deputy(watched.deputies, operators) == ()
    keys = tuple((grain, "k") for grain in Grain)
    line = cohorts.BookLine("h", ON, ON, 1, 0, batch="1", keys=keys)
    for grain in watched.analytics.grains:
        assert len(cohorts.statistics([line], grain)) == 1
    assert len(cohorts.cohorts(watched.analytics, [line])) == 1
    assert len(cohorts.maturity_wall(watched.analytics, [line])) == 1
