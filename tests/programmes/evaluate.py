"""Runs every clause of a pack, section by section; an open value may refuse, nothing may crash."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import cast

import pytest

from gateway import access
from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.programmes import (
    breakers,
    bulletins,
    calendars,
    cohorts,
    covers,
    delinquency,
    drawdown,
    indicators,
    interest,
    issues,
    leverage,
    limits,
    pricing,
    scoring,
    scoring_columns,
    settlement,
    waterfall,
)
from services.programmes.assemble import open_values
from services.programmes.review import review
from services.programmes.schema.insurance import Cover, SumInsured
from services.programmes.schema.loans import LoanProduct, Npl, Pricing
from services.programmes.schema.monitoring import CollectionBreaker, FiveTier, Monitoring
from services.programmes.schema.monitoring import RatioBreaker as Ratio
from services.programmes.schema.pack import Pack
from services.programmes.schema.reports import Grain
from services.programmes.schema.scoring import BasePointsScoring, WeightedScoring
from services.programmes.schema.values import known

ON = date(2020, 6, 1)
AMOUNT = Fen(12_345)
CALENDAR = calendars.Calendar(years=frozenset(range(2000, 2101)))


@contextmanager
def or_open() -> Iterator[None]:
    """An open value refuses and names its key; whatever else is refused should not have loaded."""
    try:
        yield
    except Refused as refused:
        if refused.reason != "PROGRAMME_VALUE_OPEN" or not refused.facts["key"]:
            raise


def evaluate(pack: Pack) -> None:
    """Every section, and what holds for all of them."""
    assert Pack.model_validate(pack.model_dump(by_alias=True)) == pack
    for value in open_values(pack):
        assert value.path
        with pytest.raises(Refused):
            known(value)
    for section, run in EVALUATORS.items():
        if getattr(pack, section):
            run(pack)


def eligibility(pack: Pack) -> None:
    assert pack.eligibility is not None
    with or_open():
        gates = known(pack.eligibility.gates)
        assert scoring.gates_held(gates, {gate.code: 1 for gate in gates}).eligible
        assert scoring.gates_held(gates, {}).failed == tuple(gate.code for gate in gates)
    if pack.eligibility.max_age is not None:
        with or_open():
            assert limits.age_check(ON, ON, known(pack.eligibility.max_age)).allowed


def scored(pack: Pack) -> None:
    scheme = pack.scoring
    assert scheme is not None
    for area in scheme.credit_areas:
        with or_open():
            found = scoring.credit_area_of(scheme.credit_areas, area.scope, 10, 10)
            assert found is not None
            assert found.awarded
    with or_open():
        review(scheme, [], on=ON)
    with or_open():
        if isinstance(scheme, BasePointsScoring):
            reads = [each.reads for each in known(scheme.adjustments)]
            for value in (0, 1):
                given = dict.fromkeys(reads, value)
                single = scoring.score_by_points(scheme, given, None)
                columns = scoring_columns.score_by_points(
                    scheme, {name: [value] for name in reads}, [None]
                )
                assert list(columns.limit_fen) == [single.limit_fen]
        elif isinstance(scheme, WeightedScoring):
            factors = known(scheme.factors)
            best = scoring.score_by_weights(scheme, {each.id: 10_000 for each in factors})
            assert best.score_centi == 10_000


def lent(pack: Pack) -> None:
    loans = pack.loans
    assert loans is not None
    with or_open():
        table = known(loans.benchmark)
        for rate in table:
            found = pricing.benchmark_rate_ppm(
                table, term_months=rate.max_tenor_months, on=rate.valid_from
            )
            assert 0 <= found <= 1_000_000
    with or_open():
        npl = cast("Npl", known(loans.npl))
        assert delinquency.is_non_performing(npl, days=36_501, tier=FiveTier.LOSS)
        assert not delinquency.is_non_performing(npl, days=0, tier=FiveTier.NORMAL)
    assert settlement.appropriation(loans.appropriation_order)
    limits.required_area(loans.area_of_use, "99010110020003")
    interest.days_interest_fen(AMOUNT, 43_500, 30, loans.day_basis)
    if loans.maturity_notice:
        with or_open():
            assert calendars.notice_day(ON, known(loans.maturity_notice.lead_months)) < ON
    if loans.controlled_drawdown:
        request = drawdown.DrawRequest(
            amount_fen=Fen(1), evidence_ok=True, county_approved=True, entrusted_payment=True
        )
        result = drawdown.controlled_drawdown(
            AMOUNT,
            [request],
            threshold_fen=loans.controlled_drawdown.threshold_fen,
            requires=loans.controlled_drawdown.requires,
        )
        assert result.controlled == drawdown.is_controlled(loans.controlled_drawdown, AMOUNT)
    for stage in loans.collection_discount.stages if loans.collection_discount else ():
        discount = interest.collection_discount(
            AMOUNT, interest_due_fen=AMOUNT, discount_pct=stage.discount_pct
        )
        assert 0 <= discount.discount_fen <= AMOUNT


def products(pack: Pack) -> None:
    for product in pack.loan_products:
        product_of(product)


def product_of(product: LoanProduct) -> None:
    with or_open():
        cap = known(product.max_principal_fen) if product.max_principal_fen is not None else None
        check = limits.amount_check(
            Fen(1), credit_limit_fen=AMOUNT, product_cap_fen=cap, outstanding_fen=Fen(0)
        )
        assert 0 <= check.max_amount_fen <= AMOUNT
    for purpose in product.purpose.prohibited:
        with or_open():
            assert not limits.purpose_check_of(product.purpose, purpose).allowed
    with or_open():
        price = cast("Pricing", known(product.pricing))
        rate = price_of(price)
        subsidised = pricing.subsidised_rate_ppm(
            known(product.subsidy), loan_rate_ppm=rate, benchmark_ppm=43_500
        )
        paid = interest.interest_subsidy(
            AMOUNT, loan_rate_ppm=rate, subsidised_rate_ppm=subsidised, months=12
        )
        assert paid.subsidy_fen + paid.borrower_interest_fen == paid.interest_fen
    if product.sla is not None:
        with or_open():
            if known(product.sla).unit == "working_days" and known(product.sla).value <= 1_000:
                assert calendars.deadline(CALENDAR, ON, known(product.sla).value).due_on >= ON


def price_of(price: Pricing) -> int:
    """A rate that the pricing allows; every pricing allows one."""
    low = getattr(price, "min_rate_ppm", None)
    high = getattr(price, "max_rate_ppm", None)
    proposed = low if low is not None else high if high is not None else 43_500
    return pricing.loan_rate_ppm(price, benchmark_ppm=43_500, proposed_ppm=proposed)


def insured(pack: Pack) -> None:
    assert pack.insurance is not None
    for cover in pack.insurance.covers:
        cover_of(cover)
    with or_open():
        for required in known(pack.insurance.required_covers):
            assert set(required.covers) <= {cover.id for cover in pack.insurance.covers}
    with or_open():
        tiers = known(pack.insurance.claim_tiers)
        for amount in (0, 200_000, 10**15):
            assert (
                covers.claim_deadline(Fen(amount), tiers, accepted_on=ON, calendar=CALENDAR).due_on
                >= ON
            )


def cover_of(cover: Cover) -> None:
    for trigger, difficulty in (("always", False), ("repayment_difficulty", True)):
        with or_open():
            groups = covers.payees_of(
                cover, consented=True, sweep_trigger=trigger, difficulty=difficulty
            )
            assert groups[-1] == ("household",)
    covers.in_catalogue(cover, ON)
    with or_open():
        insured_fen = covers.sum_insured_fen(
            cast("SumInsured", known(cover.sum_insured)),
            loan_principal_fen=AMOUNT,
            stated_fen=AMOUNT,
        )
        cap = known(cover.cap_fen) if cover.cap_fen is not None else None
        paid = covers.payable(AMOUNT, sum_insured_fen=insured_fen, cap_fen=cap)
        assert 0 <= paid.payable_fen <= AMOUNT
    with or_open():
        clause = known(cover.premium)
        covers.premium(AMOUNT, known(clause.rate_ppm), max_rate_ppm=clause.max_rate_ppm)


def shared_data(pack: Pack) -> None:
    assert pack.gateway is not None
    access.conditions_of(pack.gateway)


def funded(pack: Pack) -> None:
    fund = pack.fund
    assert fund is not None
    with or_open():
        leverage.leverage(AMOUNT, multiple=known(fund.multiple), outstanding_fen=AMOUNT)
    for model in fund.models:
        with or_open():
            shared = waterfall.share_loss_by(model, AMOUNT)
            paid = sum(line.amount_fen for line in shared.allocations)
            assert paid + shared.uncovered_fen == AMOUNT
    if fund.mutual_pool:
        leverage.pool_mix(
            AMOUNT,
            AMOUNT,
            government_pct=fund.mutual_pool.government_pct,
            max_multiple=fund.mutual_pool.max_multiple,
            loans_fen=AMOUNT,
        )
    if fund.insurer_pool:
        with or_open():
            leverage.insurer_pool_fen(
                AMOUNT,
                default_rate_ppm=known(fund.insurer_pool.default_rate_ppm),
                insurer_share_pct=fund.insurer_pool.insurer_share_pct,
            )


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
        breakers.tolerance_of(watched, deep_poverty=True)
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


EVALUATORS: Mapping[str, Callable[[Pack], None]] = {
    "eligibility": eligibility,
    "scoring": scored,
    "loans": lent,
    "loan_products": products,
    "insurance": insured,
    "fund": funded,
    "monitoring": monitored,
    "gateway": shared_data,
}
# Typed data that no function of this package computes with.
ONLY_DATA = frozenset({"programme", "registry", "conditions"})
