"""Cases: what a case says of funds."""

from collections.abc import Callable, Mapping

from services.kernel.money import Fen
from services.programmes import leverage, upkeep, waterfall
from services.programmes.cases.values import Case


def allocate(given: Case) -> Case:
    weights = [(each["party"], each["weight"]) for each in given["weights"]]
    return {"amounts_fen": leverage.allocate(given["total_fen"], weights)}


def insurer_pool(given: Case) -> Case:
    pool_fen = leverage.insurer_pool_fen(
        given["expected_lending_fen"],
        default_rate_ppm=given["default_rate_ppm"],
        insurer_share_pct=given["insurer_share_pct"],
    )
    return {"pool_fen": pool_fen}


def fund_leverage(given: Case) -> Case:
    result = leverage.leverage(
        given["fund_fen"], multiple=given["multiple"], outstanding_fen=given["outstanding_fen"]
    )
    return {
        "capacity_fen": result.capacity_fen,
        "headroom_fen": result.headroom_fen,
        "within_cap": result.within_cap,
        "required_fund_fen": result.required_fund_fen,
        "top_up_fen": result.top_up_fen,
    }


def pool_mix(given: Case) -> Case:
    result = leverage.pool_mix(
        given["gov_fen"],
        given["enterprise_fen"],
        government_pct=given["gov_pct"],
        max_multiple=given["max_multiple"],
        loans_fen=given["loans_fen"],
    )
    return {
        "pool_fen": result.pool_fen,
        "mix_ok": result.mix_ok,
        "capacity_fen": result.capacity_fen,
        "headroom_fen": result.headroom_fen,
        "within_cap": result.within_cap,
        "multiple_centi": result.multiple_centi,
    }


def village_fund(given: Case) -> Case:
    result = leverage.village_fund(
        given["village_loans_fen"],
        min_pct=given["min_pct"],
        max_pct=given["max_pct"],
        fund_fen=given["fund_fen"],
    )
    return {"min_fen": result.min_fen, "max_fen": result.max_fen, "within": result.within}


def top_up_rule(given: Case) -> Case:
    result = upkeep.yearly_top_up(
        Fen(sum(given["contributions_fen"])),
        loans_fen=given["total_loans_fen"],
        yearly_ppm=given["pct_ppm"],
        min_balance_fen=given["min_balance_fen"],
    )
    return {
        "meets_minimum": result.meets_minimum,
        "added_fen": result.added_fen,
        "balance_after_fen": result.balance_after_fen,
    }


def fee_subsidy(given: Case) -> Case:
    result = upkeep.fee_subsidy(
        given["disbursed_fen"],
        rate_ppm=given["rate_ppm"],
        households=given["households"],
        per_household_fen=given["per_household_fen"],
    )
    return {
        "lending_subsidy_fen": result.lending_subsidy_fen,
        "data_fee_fen": result.data_fee_fen,
    }


def recovery(given: Case) -> Case:
    result = waterfall.share_recovery(
        given["recovered_fen"],
        costs_fen=given["costs_fen"],
        paid=[(each["party"], each["amount_fen"]) for each in given["paid"]],
    )
    return {
        "costs_fen": result.costs_fen,
        "amounts_fen": result.amounts_fen,
        "to_household_fen": result.to_household_fen,
    }


def risk_share(given: Case) -> Case:
    shares = tuple((each["party"], each["share"]) for each in given["shares"])
    condition = given.get("condition")
    if condition and condition["cause"] not in condition["covered_causes"]:
        alone = condition["otherwise_borne_by"]
        shares = tuple((party, 100 if party == alone else 0) for party, _ in shares)
    shared = waterfall.share_loss(given["loss_fen"], [waterfall.Ratio("ratio", shares)])
    amounts = {party: Fen(0) for party, _ in shares}
    amounts.update({line.party: line.amount_fen for line in shared.allocations})
    if "balances_fen" not in given:
        return {"amounts_fen": amounts}
    funded = waterfall.funded(amounts, given["balances_fen"])
    return {
        "amounts_fen": amounts,
        "paid_fen": funded.paid_fen,
        "unfunded_fen": funded.unfunded_fen,
    }


def loss_waterfall(given: Case) -> Case:
    layers: list[waterfall.Layer] = []
    balances: dict[str, Fen] = {}
    for layer in given["layers"]:
        if layer["type"] == "pot":
            layers.append(waterfall.Pot(layer["layer"], layer["party"]))
            balances[layer["party"]] = layer["balance_fen"]
        else:
            shares = tuple((each["party"], each["share"]) for each in layer["shares"])
            layers.append(waterfall.Ratio(layer["layer"], shares))
    shared = waterfall.share_loss(given["loss_fen"], layers, balances)
    return {
        "allocations": [
            {"layer": line.layer, "party": line.party, "amount_fen": line.amount_fen}
            for line in shared.allocations
        ],
        "pots_after_fen": shared.pots_after_fen,
        "uncovered_fen": shared.uncovered_fen,
    }


RULES: Mapping[str, Callable[[Case], Case]] = {
    "funds.allocate": allocate,
    "funds.fee_subsidy": fee_subsidy,
    "funds.insurer_pool": insurer_pool,
    "funds.leverage": fund_leverage,
    "funds.pool_mix": pool_mix,
    "funds.recovery": recovery,
    "funds.risk_share": risk_share,
    "funds.top_up_rule": top_up_rule,
    "funds.village_fund": village_fund,
    "funds.waterfall": loss_waterfall,
}
