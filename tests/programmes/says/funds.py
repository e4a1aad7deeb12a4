"""What a pack must say of funds for a golden case to be its own."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from services.programmes import waterfall
from services.programmes.cases.values import Case
from services.programmes.loader import load
from services.programmes.schema.fund import SharingModel
from services.programmes.schema.values import Open, known
from services.programmes.terms import Terms

CATALOGUE = load([Path(__file__).resolve().parents[1] / "county"])


def decided_models(terms: Terms) -> Iterator[SharingModel]:
    """The pack's models that are not open, and those that an example county has decided."""
    funds = [terms.fund]
    funds += [
        pack.fund
        for (_, ref), pack in CATALOGUE.overlaid.items()
        if ref.startswith(f"{terms.ref}:") and pack.fund
    ]
    for fund in funds:
        yield from (model for model in fund.models if not isinstance(model.layers, Open))


def layers_said(given: Case) -> list[waterfall.Layer]:
    return [
        waterfall.Pot(layer["layer"], layer["party"])
        if layer["type"] == "pot"
        else waterfall.Ratio(
            layer["layer"], tuple((each["party"], each["share"]) for each in layer["shares"])
        )
        for layer in given["layers"]
    ]


def risk_share(terms: Terms, given: Case) -> None:
    wanted = tuple((each["party"], each["share"]) for each in given["shares"])
    found = [
        model
        for model in decided_models(terms)
        if isinstance(last := waterfall.layers_of(model)[-1], waterfall.Ratio)
        and last.shares == wanted
    ]
    assert found
    if "condition" in given:
        assert list(found[0].covered_causes or ()) == given["condition"]["covered_causes"]
        assert found[0].otherwise_borne_by == given["condition"]["otherwise_borne_by"]
    if "balances_fen" in given:
        assert terms.fund.shortfall == "dated_claim"


def loss_waterfall(terms: Terms, given: Case) -> None:
    said = [list(waterfall.layers_of(model)) for model in decided_models(terms)]
    assert layers_said(given) in said


def leverage(terms: Terms, given: Case) -> None:
    assert known(terms.fund.multiple) == given["multiple"]


def top_up_rule(terms: Terms, given: Case) -> None:
    assert [each.amount_fen for each in terms.fund.contributions] == given["contributions_fen"]
    assert terms.fund.min_balance_fen == given["min_balance_fen"]
    assert terms.fund.top_up is not None
    assert terms.fund.top_up.yearly_ppm == given["pct_ppm"]


def fee_subsidy(terms: Terms, given: Case) -> None:
    assert terms.fund.fee_subsidy is not None
    assert terms.fund.fee_subsidy.rate_ppm == given["rate_ppm"]
    assert terms.fund.fee_subsidy.per_household_fen == given["per_household_fen"]


def village_fund(terms: Terms, given: Case) -> None:
    clause = terms.fund.village_fund
    assert clause is not None
    assert (clause.min_pct, clause.max_pct) == (given["min_pct"], given["max_pct"])


def stabilisation(terms: Terms, given: Case) -> None:
    clause = terms.fund.insurer_stabilisation
    assert clause is not None
    assert (clause.initial_fen, clause.compensates_pct) == (given["fund_fen"], 100)


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
    paid = [each["party"] for each in given["paid"]]
    assert paid in [list(model.parties) for model in decided_models(terms)]
    assert terms.fund.recovery == "ratio_paid"


SAYS: Mapping[str, Callable[[Terms, Case], None]] = {
    "funds.allocate": allocate,
    "funds.fee_subsidy": fee_subsidy,
    "funds.insurer_pool": insurer_pool,
    "funds.leverage": leverage,
    "funds.pool_mix": pool_mix,
    "funds.recovery": recovery,
    "funds.risk_share": risk_share,
    "funds.top_up_rule": top_up_rule,
    "funds.village_fund": village_fund,
    "funds.waterfall": loss_waterfall,
    "insurance.stabilisation": stabilisation,
}
