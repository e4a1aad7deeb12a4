"""What a pack must say of funds for a golden case to be its own."""

from collections.abc import Callable, Mapping

from services.programmes import waterfall
from services.programmes.cases.values import Case
from services.programmes.terms import Terms


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


SAYS: Mapping[str, Callable[[Terms, Case], None]] = {
    "funds.allocate": allocate,
    "funds.insurer_pool": insurer_pool,
    "funds.pool_mix": pool_mix,
    "funds.recovery": recovery,
    "funds.risk_share": risk_share,
    "funds.waterfall": loss_waterfall,
}
