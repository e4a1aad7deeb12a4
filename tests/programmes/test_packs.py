"""The packs say what the golden cases say, and every row that must be computable has a clause."""

import itertools
import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from services.programmes import breakers, covers, pricing, scoring, waterfall
from services.programmes.loader import PACKAGED, load
from services.programmes.schema.loans import BenchmarkPlusPricing, OverdueNpl
from services.programmes.schema.scoring import BasePointsScoring
from services.programmes.schema.values import Open, known
from services.programmes.terms import Terms
from services.programmes.yaml_text import parse
from tests.programmes.rules_by_name import NOT_BUILT

GOLDEN = Path(__file__).parent / "cases" / "golden.json"
DEMO = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "county"
CATALOGUE = load([DEMO])
COUNTY = CATALOGUE.counties()[0]
WRITTEN = {"henan-lushi@1", "henan-lushi@2", "henan-sanmenxia-211@1", "cn-national-2014@1"}

Case = Mapping[str, Any]
CASES: list[Case] = [
    case
    for case in json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
    if case["programme"] in WRITTEN and case["rule"] not in NOT_BUILT
]


def terms_of(case: Case) -> Terms:
    """The case's programme; where the demo county follows it, with that county's values."""
    adopted = CATALOGUE.adoptions(COUNTY, date(2018, 6, 1))[0].programme
    own = adopted.startswith(f"{case['programme']}:")
    return CATALOGUE.terms(COUNTY, adopted if own else case["programme"])


def base_points(terms: Terms, given: Case) -> None:
    scheme = terms.scoring
    assert isinstance(scheme, BasePointsScoring)
    assert scheme.base_points_centi == given["base"] * 100
    bands = [
        (band.grade, band.min_score_centi, band.limit_fen) for band in scoring.bands_of(scheme)
    ]
    assert bands == [(b["grade"], b["min_score"] * 100, b["limit_fen"]) for b in given["bands"]]
    assert set(given["veto_hits"]) <= {veto.id for veto in scheme.vetoes}
    if "honour_uplift_fen" in given:
        assert scheme.honours is not None
        uplifts = {level.id: level.uplift_fen for level in scheme.honours.levels}
        assert uplifts == {**given["honour_uplift_fen"], "law_abiding": 0}


def credit_area(terms: Terms, given: Case) -> None:
    said = {area.scope: area.at_least_pct for area in terms.scoring.credit_areas}
    assert said[given["area"]] == given["threshold_pct"]


def amount_check(terms: Terms, given: Case) -> None:
    assert terms.product("microcredit").max_principal_fen == given["product_cap_fen"]


def interest_subsidy(terms: Terms, given: Case) -> None:
    clause = known(terms.product("entity_credit").subsidy)
    assert clause.mode.value == given["subsidy"]["mode"]
    assert clause.rate_ppm == given["subsidy"]["rate_ppm"]
    assert clause.max_months == given["subsidy"]["max_months"]


def rate_check(terms: Terms, given: Case) -> None:
    clause = known(terms.product("entity_credit").pricing)
    assert isinstance(clause, BenchmarkPlusPricing)
    assert clause.max_uplift_pct == given["cap"]["uplift_pct"]


def sla(terms: Terms, given: Case) -> None:
    product = "microcredit" if given["working_days"] < 10 else "entity_credit"
    clause = terms.product(product).sla
    assert clause is not None
    assert known(clause).unit == "working_days"
    assert known(clause).value == given["working_days"]


def purpose_check(terms: Terms, given: Case) -> None:
    product = terms.product("microcredit")
    assert list(product.purpose.prohibited) == given["prohibited"]
    assert terms.loans.area_of_use == "county"
    assert terms.county_code == given["required_area"]


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


def premium(terms: Terms, given: Case) -> None:
    clause = known(terms.cover("loan_guarantee").premium)
    assert clause.max_rate_ppm == given["max_rate_ppm"]
    assert clause.payer == "borrower"
    assert not covers.premium(
        given["base_fen"], given["rate_ppm"], max_rate_ppm=clause.max_rate_ppm
    ).allowed


def risk_share(terms: Terms, given: Case) -> None:
    wanted = [(each["party"], each["share"]) for each in given["shares"]]
    said = [waterfall.layers_of(model) for model in terms.fund.models]
    assert any(
        isinstance(layers[-1], waterfall.Ratio) and list(layers[-1].shares) == wanted
        for layers in said
    )


def loss_waterfall(terms: Terms, given: Case) -> None:
    layers = waterfall.layers_of(terms.sharing_model("gov_bank_enterprise"))
    wanted: list[waterfall.Layer] = [
        waterfall.Pot(layer["layer"], layer["party"])
        if layer["type"] == "pot"
        else waterfall.Ratio(
            layer["layer"], tuple((each["party"], each["share"]) for each in layer["shares"])
        )
        for layer in given["layers"]
    ]
    assert list(layers) == wanted


def insurer_pool(terms: Terms, given: Case) -> None:
    assert terms.fund.insurer_pool is not None
    assert terms.fund.insurer_pool.insurer_share_pct == given["insurer_share_pct"]


def allocate(terms: Terms, given: Case) -> None:
    assert terms.fund.divided_by == "lending_share"
    assert given["weights"]


def pool_mix(terms: Terms, given: Case) -> None:
    assert terms.fund.mutual_pool is not None
    assert terms.fund.mutual_pool.government_pct == given["gov_pct"]
    assert terms.fund.mutual_pool.max_multiple == given["max_multiple"]


def recovery(terms: Terms, given: Case) -> None:
    parties = terms.sharing_model("four_party_household").parties
    assert list(parties) == [each["party"] for each in given["paid"]]


def circuit_breaker(terms: Terms, given: Case) -> None:
    village = breakers.ratio_breaker(terms.monitoring.breakers, "village")
    assert village is not None
    assert village.more_than_ppm == given["village_threshold_ppm"]
    township_breaker(terms, {"threshold_pct": given["township_threshold_pct"]})


def township_breaker(terms: Terms, given: Case) -> None:
    township = breakers.villages_breaker(terms.monitoring.breakers)
    assert township is not None
    assert township.at_least_pct == given["threshold_pct"]


SAYS: Mapping[str, Callable[[Terms, Case], None]] = {
    "funds.allocate": allocate,
    "funds.insurer_pool": insurer_pool,
    "funds.pool_mix": pool_mix,
    "funds.recovery": recovery,
    "funds.risk_share": risk_share,
    "funds.waterfall": loss_waterfall,
    "insurance.premium": premium,
    "loans.amount_check": amount_check,
    "loans.collection_discount": collection_discount,
    "loans.controlled_drawdown": controlled_drawdown,
    "loans.interest_subsidy": interest_subsidy,
    "loans.maturity_notice": maturity_notice,
    "loans.npl_trigger": npl_trigger,
    "loans.purpose_check": purpose_check,
    "loans.rate_check": rate_check,
    "loans.sla": sla,
    "loans.subsidy_stop": subsidy_stop,
    "monitoring.circuit_breaker": circuit_breaker,
    "monitoring.township_breaker": township_breaker,
    "scoring.base_points": base_points,
    "scoring.credit_area": credit_area,
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_the_pack_says_what_the_case_says(case: Case) -> None:
    SAYS[case["rule"]](terms_of(case), case["inputs"])


# The rows of these four programmes that must be computable: section, kind, how many.
ROWS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "NAT": {"reg": (1,), "loa": (1, 2, 3)},
    "SMX": {
        "loa": (1, 2, 3, 5),
        "ins": (1, 2, 3, 4, 5),
        "fun": (1, 3, 5, 6, 7, 8, 9),
        "mon": (1, 2),
    },
    "LS17": {
        "reg": (1, 2, 3, 4, 5, 6, 7),
        "sco": (1, 2, 3, 4, 5, 6, 7),
        "loa": (1, 2, 3, 4, 5, 6, 7, 8, 9),
        "fun": (1, 3),
        "gat": (1,),
        "mon": (1, 2, 3, 4),
    },
    "LS18": {
        "reg": (1,),
        "sco": (1, 2, 3),
        "loa": (1, 2, 3, 4, 5, 6, 7, 8),
        "fun": (1, 2, 3, 4, 5, 6, 7),
        "mon": (1, 2),
    },
}


def rows_named(node: object) -> set[str]:
    """Every row in every `source` of a parsed pack."""
    if isinstance(node, dict):
        own = node.get("source", [])
        below = (rows_named(value) for value in node.values())
        return set(own if isinstance(own, list) else []).union(*below)
    if isinstance(node, list):
        return set[str]().union(*(rows_named(item) for item in node))
    return set()


def test_every_row_that_must_be_computable_has_a_clause() -> None:
    files = sorted(PACKAGED[0].glob("*.yaml"))
    named = set[str]().union(
        *(rows_named(parse(file.name, file.read_text(encoding="utf-8")).value) for file in files)
    )
    wanted = {
        f"{section}.{kind}.{number}"
        for section, kinds in ROWS.items()
        for kind, numbers in kinds.items()
        for number in numbers
    }

    assert len(wanted) == 73
    assert wanted - named == set()


def test_versions_of_a_programme_follow_each_other() -> None:
    by_id: dict[str, list[tuple[date, date]]] = {}
    for pack in CATALOGUE.packs.values():
        header = pack.programme
        by_id.setdefault(header.id, []).append(
            (header.effective_from, header.effective_to or date.max)
        )

    for spans in by_id.values():
        spans.sort()
        assert all(end < start for (_, end), (start, _) in itertools.pairwise(spans))


# LS17.mon.3, LS17.mon.4, LS18.mon.1: the union of what both reports say stops.
def test_the_second_version_stops_granting_and_lending_and_opens_collection() -> None:
    first, second = (CATALOGUE.programme(f"henan-lushi@{version}") for version in "12")

    assert first.monitoring is not None
    assert second.monitoring is not None
    effects = [
        [{effect.value for effect in breaker.effects} for breaker in pack.breakers]
        for pack in (first.monitoring, second.monitoring)
    ]
    stops = {"stop_grant", "stop_approve", "stop_draw", "stop_disburse"}
    assert effects == [[stops, stops], [stops | {"open_collection"}] * 2]


# LS17.sco.6: a certain period, whose length the report does not give.
def test_what_the_sources_leave_open_stays_open_in_the_pack() -> None:
    pack = CATALOGUE.programme("henan-lushi@2")

    assert pack.scoring is not None
    assert isinstance(pack.scoring.observation_months, Open)
