"""What a pack must say of loans for a golden case to be its own."""

from collections.abc import Callable, Mapping
from datetime import date

from services.programmes import pricing
from services.programmes.cases.values import Case
from services.programmes.schema.loans import (
    FiveTierNpl,
    OverdueNpl,
    SubsidyMode,
)
from services.programmes.schema.sanctions import SanctionEffect
from services.programmes.schema.values import Open, known
from services.programmes.terms import Terms


def age_check(terms: Terms, given: Case) -> None:
    assert terms.eligibility.max_age == given["max_age"]
    assert terms.eligibility.age_on == "application"


def npl_trigger(terms: Terms, given: Case) -> None:
    npl = known(terms.loans.npl)
    assert isinstance(npl, OverdueNpl)
    assert npl.more_than_days == given["npl_after_days"]


def collection_discount(terms: Terms, given: Case) -> None:
    assert terms.loans.collection_discount is not None
    stages = terms.loans.collection_discount.stages
    assert given["discount_pct"] in [stage.discount_pct for stage in stages]


def subsidy_stop(terms: Terms, given: Case) -> None:
    assert terms.loans.npl_actions[0].value == "stop_subsidy"
    assert terms.loans.day_basis == given["day_basis"]
    table = known(terms.loans.benchmark)
    assert pricing.benchmark_rate_ppm(table, term_months=12, on=date(2018, 1, 1)) == 43_500


def maturity_notice(terms: Terms, given: Case) -> None:
    assert terms.loans.maturity_notice is not None
    assert terms.loans.maturity_notice.lead_months == given["lead_months"]


def controlled_drawdown(terms: Terms, given: Case) -> None:
    assert terms.loans.controlled_drawdown is not None
    assert terms.loans.controlled_drawdown.threshold_fen == given["threshold_fen"]


def five_tier(terms: Terms, given: Case) -> None:
    npl = known(terms.loans.npl)
    assert isinstance(npl, FiveTierNpl)
    assert npl.from_tier == "substandard"
    watched = terms.pack.monitoring
    if watched is None or isinstance(watched.five_tier, Open):
        return
    table = [(band.tier.value, band.min_overdue_days) for band in watched.five_tier]
    assert table == [(band["tier"], band["min_overdue_days"]) for band in given["table"]]


def debt_snapshot(terms: Terms, given: Case) -> None:
    clause = known(terms.product("microcredit").subsidy)
    own = given["accrued_interest_fen"] - given["subsidised_interest_fen"]
    if own == 0:
        assert clause.mode is SubsidyMode.FULL_AT_BENCHMARK
    else:
        # What the treasury pays of a dearer loan is in proportion to the pack's ceiling.
        assert clause.mode is SubsidyMode.CAPPED_RATE
        assert clause.rate_ppm is not None
        whole = given["subsidised_interest_fen"] * 60_000
        assert whole == given["accrued_interest_fen"] * clause.rate_ppm


def sanction_check(terms: Terms, given: Case) -> None:
    bans = [
        sanction
        for sanction in terms.loans.sanctions
        if SanctionEffect.NO_CREDIT in sanction.effects
    ]
    assert [sanction.ban_months for sanction in bans] == [given["ban_years"] * 12]
    assert [relation.value for relation in bans[0].relations] == given["relations"]


SAYS: Mapping[str, Callable[[Terms, Case], None]] = {
    "loans.age_check": age_check,
    "loans.collection_discount": collection_discount,
    "loans.controlled_drawdown": controlled_drawdown,
    "loans.debt_snapshot": debt_snapshot,
    "loans.five_tier": five_tier,
    "loans.maturity_notice": maturity_notice,
    "loans.npl_trigger": npl_trigger,
    "loans.sanction_check": sanction_check,
    "loans.subsidy_stop": subsidy_stop,
}
