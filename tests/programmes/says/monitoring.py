"""What a pack must say of monitoring for a golden case to be its own."""

from collections.abc import Callable, Mapping
from pathlib import Path

from services.programmes import breakers
from services.programmes.cases.values import Case
from services.programmes.loader import load
from services.programmes.schema.pack import split_ref
from services.programmes.schema.reports import ReportKind, Section
from services.programmes.schema.values import Open, known
from services.programmes.terms import Terms

COUNTY = "990101"
CATALOGUE = load([Path(__file__).resolve().parents[1] / "county"])


def circuit_breaker(terms: Terms, given: Case) -> None:
    village = breakers.ratio_breaker(terms.monitoring.breakers, "village")
    assert village is not None
    assert village.more_than_ppm == given["village_threshold_ppm"]
    township_breaker(terms, {"threshold_pct": given["township_threshold_pct"]})


def township_breaker(terms: Terms, given: Case) -> None:
    township = breakers.villages_breaker(terms.monitoring.breakers)
    assert township is not None
    assert township.at_least_pct == given["threshold_pct"]


def npl_suspension(terms: Terms, given: Case) -> None:
    programme = breakers.ratio_breaker(terms.monitoring.breakers, "programme")
    assert programme is not None
    assert programme.more_than_ppm == given["threshold_ppm"]


def recovery_rate(terms: Terms, given: Case) -> None:
    outlet = breakers.collection_breaker(terms.monitoring.breakers, "outlet")
    assert outlet is not None
    assert outlet.less_than_ppm == given["threshold_ppm"]
    assert outlet.consecutive_months == given["consecutive"]


def npl_tolerance(terms: Terms, given: Case) -> None:
    tolerated = breakers.tolerance_of(terms.monitoring)
    assert tolerated == given["tolerance_ppm"]


def bulletin(terms: Terms, given: Case) -> None:
    # The case works out the parts that are sums; the fourth names loans.
    monthly = [
        report
        for report in terms.monitoring.reports
        if report.kind is ReportKind.BULLETIN and report.every == "month" and report.sections
    ]
    assert [report.sections for report in monthly] == [tuple(Section)]
    assert given["report_on"].endswith("-30")


def compliance(terms: Terms, given: Case) -> None:
    checks = [check.id for check in terms.monitoring.compliance]
    assert checks == [check["code"] for check in given["checks"]]


def overdue_report(terms: Terms, given: Case) -> None:
    made = {count.id: count for count in terms.monitoring.counts if count.is_made}
    assert {(each.unit.value, len(each.plus), len(each.minus)) for each in made.values()} >= {
        ("loans", 1, 1),
        ("fen", 1, 1),
    }
    (shown,) = (each for each in terms.monitoring.indicators if each.id == "overdue_ratio")
    assert shown.decimals == 1
    assert made[shown.numerator].plus == (shown.denominator,)
    assert given["due_fen"] > given["collected_fen"]


def count_check(terms: Terms, given: Case) -> None:
    shapes = [(len(each.plus), len(each.minus)) for each in terms.monitoring.counts]
    assert (len(given["plus"]), len(given["minus"])) in shapes


def ratio(terms: Terms, given: Case) -> None:
    units = {count.id: count.unit for count in terms.monitoring.counts}
    of_households = [
        each.decimals
        for each in terms.monitoring.indicators
        if units[each.numerator] == units[each.denominator] == "households"
    ]
    assert given["decimals"] in of_households


def five_tier(terms: Terms, given: Case) -> None:
    # No source prints the days (S14): a county sets them, here by an example.
    programme_id, version, _ = split_ref(terms.ref)
    assert isinstance(terms.monitoring.five_tier, Open)
    own = CATALOGUE.terms(COUNTY, f"{programme_id}@{version}:example-five-tier")
    table = known(own.monitoring.five_tier)
    assert [(band.tier.value, band.min_overdue_days) for band in table] == [
        (band["tier"], band["min_overdue_days"]) for band in given["table"]
    ]


SAYS: Mapping[str, Callable[[Terms, Case], None]] = {
    "loans.five_tier": five_tier,
    "monitoring.bulletin": bulletin,
    "monitoring.circuit_breaker": circuit_breaker,
    "monitoring.compliance": compliance,
    "monitoring.count_check": count_check,
    "monitoring.npl_suspension": npl_suspension,
    "monitoring.npl_tolerance": npl_tolerance,
    "monitoring.overdue_report": overdue_report,
    "monitoring.ratio": ratio,
    "monitoring.recovery_rate": recovery_rate,
    "monitoring.township_breaker": township_breaker,
}
