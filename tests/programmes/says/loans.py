"""What a pack must say of loans for a golden case to be its own."""

from collections.abc import Callable, Mapping
from datetime import date

from services.programmes import pricing
from services.programmes.cases.values import Case
from services.programmes.schema.loans import OverdueNpl
from services.programmes.schema.values import known
from services.programmes.terms import Terms


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


SAYS: Mapping[str, Callable[[Terms, Case], None]] = {
    "loans.collection_discount": collection_discount,
    "loans.controlled_drawdown": controlled_drawdown,
    "loans.maturity_notice": maturity_notice,
    "loans.npl_trigger": npl_trigger,
    "loans.subsidy_stop": subsidy_stop,
}
