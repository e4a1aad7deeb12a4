"""Adapters: a golden case's rule name to the function that decides it, in the case's own words."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from services.kernel.money import Fen
from services.programmes import (
    breakers,
    calendars,
    covers,
    delinquency,
    drawdown,
    interest,
    leverage,
    limits,
    pricing,
    scoring,
    settlement,
    waterfall,
)
from services.programmes.schema.insurance import ClaimTier
from services.programmes.schema.loans import Subsidy, SubsidyMode
from services.programmes.schema.monitoring import FiveTier, TierFrom

Case = Mapping[str, Any]
CENTI = 100
HOUSEHOLD = "household"


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


def claim_tier(given: Case) -> Case:
    result = covers.claim_deadline(
        given["amount_fen"],
        [ClaimTier(**tier) for tier in given["tiers"]],
        accepted_on=day(given["accepted_on"]),
        calendar=calendar(given["calendar"]),
    )
    return {
        "tier": result.tier,
        "working_days": result.working_days,
        "due_on": result.due_on.isoformat(),
    }


def cover_cap(given: Case) -> Case:
    paid = covers.payable(given["assessed_fen"], cap_fen=given["cap_fen"])
    return {"payable_fen": paid.payable_fen}


def premium(given: Case) -> Case:
    result = covers.premium(
        given["base_fen"], given["rate_ppm"], max_rate_ppm=given.get("max_rate_ppm")
    )
    if result.max_premium_fen is None:
        return {"premium_fen": result.premium_fen}
    return {
        "premium_fen": result.premium_fen,
        "allowed": result.allowed,
        "max_premium_fen": result.max_premium_fen,
    }


def age_check(given: Case) -> Case:
    result = limits.age_check(day(given["birth_date"]), day(given["on_date"]), given["max_age"])
    return {"age": result.age, "allowed": result.allowed}


def amount_check(given: Case) -> Case:
    result = limits.amount_check(
        given["requested_fen"],
        credit_limit_fen=given["credit_limit_fen"],
        product_cap_fen=given["product_cap_fen"],
        outstanding_fen=given["outstanding_fen"],
    )
    return {
        "allowed": result.allowed,
        "max_amount_fen": result.max_amount_fen,
        "binding": result.binding,
    }


def purpose_check(given: Case) -> Case:
    result = limits.purpose_check(
        given["purpose"],
        prohibited=given["prohibited"],
        allowed=given.get("allowed"),
        used_in_area=given.get("used_in_area"),
        required_area=given.get("required_area"),
    )
    return {"allowed": result.allowed, "reason": result.reason}


def collection_discount(given: Case) -> Case:
    result = interest.collection_discount(
        given["principal_fen"],
        interest_due_fen=given["interest_due_fen"],
        discount_pct=given["discount_pct"],
    )
    return {"discount_fen": result.discount_fen, "payable_fen": result.payable_fen}


def controlled_drawdown(given: Case) -> Case:
    result = drawdown.controlled_drawdown(
        given["approved_fen"],
        [drawdown.DrawRequest(**request) for request in given["requests"]],
        threshold_fen=given["threshold_fen"],
    )
    return {
        "controlled": result.controlled,
        "released": list(result.released),
        "released_total_fen": result.released_total_fen,
    }


def daily_interest(given: Case) -> Case:
    interest_fen = interest.balance_interest_fen(
        [(period["balance_fen"], period["days"]) for period in given["periods"]],
        rate_ppm=given["rate_ppm"],
        day_basis=given["day_basis"],
    )
    return {"interest_fen": interest_fen}


def debt_snapshot(given: Case) -> Case:
    result = interest.household_debt(
        given["principal_fen"],
        accrued_interest_fen=given["accrued_interest_fen"],
        subsidised_interest_fen=given["subsidised_interest_fen"],
    )
    return {
        "household_principal_fen": result.principal_fen,
        "household_interest_fen": result.interest_fen,
        "household_debt_fen": result.debt_fen,
        "treasury_receivable_fen": result.treasury_receivable_fen,
    }


def five_tier(given: Case) -> Case:
    table = [
        TierFrom(tier=FiveTier(band["tier"]), min_overdue_days=band["min_overdue_days"])
        for band in given["table"]
    ]
    result = delinquency.five_tier(given["overdue_days"], table)
    return {
        "tier": result.tier.value,
        "non_performing": result.non_performing,
        "risk_list": result.risk_list,
    }


def interest_subsidy(given: Case) -> Case:
    said = given["subsidy"]
    clause = Subsidy(mode=SubsidyMode(said["mode"]), rate_ppm=said.get("rate_ppm"))
    result = interest.interest_subsidy(
        given["principal_fen"],
        loan_rate_ppm=given["loan_rate_ppm"],
        subsidised_rate_ppm=pricing.subsidised_rate_ppm(
            clause,
            loan_rate_ppm=given["loan_rate_ppm"],
            benchmark_ppm=said.get("benchmark_rate_ppm", 0),
        ),
        months=given["months"],
        max_months=said["max_months"],
        prior_months=given.get("prior_subsidised_months", 0),
    )
    return {
        "interest_fen": result.interest_fen,
        "subsidy_fen": result.subsidy_fen,
        "borrower_interest_fen": result.borrower_interest_fen,
        "subsidised_months": result.subsidised_months,
    }


def maturity_notice(given: Case) -> Case:
    notify_on = calendars.notice_day(day(given["maturity_on"]), given["lead_months"])
    return {"notify_on": notify_on.isoformat()}


def npl_trigger(given: Case) -> Case:
    result = delinquency.npl_trigger(
        day(given["due_on"]), day(given["as_of"]), more_than_days=given["npl_after_days"]
    )
    return {"overdue_days": result.overdue_days, "triggered": result.triggered}


def rate_check(given: Case) -> Case:
    cap, proposed = given["cap"], given["proposed_rate_ppm"]
    if cap["mode"] == "absolute_max":
        result = pricing.at_most(proposed, cap["rate_ppm"])
    elif cap["mode"] == "absolute_min":
        result = pricing.at_least(proposed, cap["rate_ppm"])
    else:
        result = pricing.at_most_benchmark_plus(
            proposed, cap["benchmark_rate_ppm"], cap["uplift_pct"]
        )
    return {"bound_rate_ppm": result.bound_rate_ppm, "allowed": result.allowed}


def sla(given: Case) -> Case:
    done = given.get("completed_on")
    result = calendars.deadline(
        calendar(given["calendar"]),
        day(given["received_on"]),
        given["working_days"],
        done_on=day(done) if done else None,
    )
    due_on = result.due_on.isoformat()
    return {"due_on": due_on, "breached": result.breached} if done else {"due_on": due_on}


def subsidy_stop(given: Case) -> Case:
    result = interest.subsidy_stop(
        given["principal_fen"],
        rate_ppm=given["rate_ppm"],
        day_basis=given["day_basis"],
        start=day(given["from"]),
        npl_on=day(given["npl_on"]),
        as_of=day(given["as_of"]),
    )
    return {
        "subsidised_days": result.subsidised_days,
        "subsidy_fen": result.subsidy_fen,
        "household_interest_fen": result.household_interest_fen,
    }


def circuit_breaker(given: Case) -> Case:
    result = breakers.circuit(
        [
            breakers.Village(each["id"], each["npl_fen"], each["outstanding_fen"])
            for each in given["villages"]
        ],
        village_more_than_ppm=given["village_threshold_ppm"],
        township_at_least_pct=given["township_threshold_pct"],
    )
    return {
        "tripped_villages": list(result.tripped_villages),
        "township_tripped": result.township_tripped,
        "villages_needed": result.villages_needed,
    }


def township_breaker(given: Case) -> Case:
    result = breakers.township(
        given["tripped_villages"], given["total_villages"], at_least_pct=given["threshold_pct"]
    )
    return {"tripped": result.tripped, "villages_needed": result.villages_needed}


def npl_suspension(given: Case) -> Case:
    result = breakers.npl_ratio(
        given["npl_fen"], given["outstanding_fen"], more_than_ppm=given["threshold_ppm"]
    )
    return {"suspended": result.tripped}


def base_points(given: Case) -> Case:
    result = scoring.base_points(
        given["base"] * CENTI,
        [(each["code"], each["points"] * CENTI) for each in given["adjustments"]],
        [
            scoring.Band(band["grade"], band["min_score"] * CENTI, band["limit_fen"])
            for band in given["bands"]
        ],
        vetoes=given["veto_hits"],
        honour=given.get("honour"),
        uplifts=given.get("honour_uplift_fen"),
    )
    score, rest = divmod(result.score_centi, CENTI)
    assert rest == 0
    return {
        "score": score,
        "vetoed": result.vetoed,
        "grade": result.grade,
        "base_limit_fen": result.base_limit_fen,
        "uplift_fen": result.uplift_fen,
        "limit_fen": result.limit_fen,
    }


def weighted(given: Case) -> Case:
    result = scoring.weighted(
        [
            scoring.Weighted(factor["code"], factor["weight_pct"], factor["score"])
            for factor in given["factors"]
        ],
        [
            scoring.Band(band["grade"], band["min_score_centi"], band["limit_fen"])
            for band in given.get("bands", ())
        ],
    )
    if "bands" not in given:
        return {"score_centi": result.score_centi}
    return {
        "score_centi": result.score_centi,
        "grade": result.grade,
        "limit_fen": result.limit_fen,
    }


def credit_area(given: Case) -> Case:
    result = scoring.credit_area(given["credited"], given["total"], given["threshold_pct"])
    return {"awarded": result.awarded, "min_units": result.min_units}


def deduction_waiver(given: Case) -> Case:
    result = scoring.deduction_waiver(
        given["points"] * CENTI,
        cause=given["cause"],
        subjective=given["subjective"],
        repaid_on_time_before=given["repaid_on_time_before"],
    )
    return {"waived": result.waived, "applied_points": result.applied_points_centi // CENTI}


def gate(given: Case) -> Case:
    result = scoring.gate([(each["code"], each["passed"]) for each in given["gates"]])
    return {"eligible": result.eligible, "failed": list(result.failed)}


def payouts(given: Case) -> Case:
    debts = debts_of(given)
    before = dict(debts)
    seen: set[str] = set()
    lines: list[Case] = []
    household, ignored = 0, []
    for payout in given["payouts"]:
        if payout["id"] in seen:
            ignored.append(payout["id"])
            continue
        seen.add(payout["id"])
        settled = settle(given, payout, debts)
        debts = dict(settled.debts_after)
        household += settled.household_fen
        lines += allocation_lines(payout["id"], settled)
    return {
        "allocations": lines,
        "remaining": [debt_line(creditor, debt) for creditor, debt in debts.items()],
        "household_fen": household,
        "closed": [
            creditor
            for creditor, debt in debts.items()
            if debt.total_fen == 0 and before[creditor].total_fen > 0
        ],
        "ignored_payouts": ignored,
    }


def reversal(given: Case) -> Case:
    debts = debts_of(given)
    settled: dict[str, settlement.Settlement] = {}
    for payout in given["payouts"]:
        settled[payout["id"]] = settle(given, payout, debts)
        debts = dict(settled[payout["id"]].debts_after)
    result = settlement.reverse(settled[given["reverse_payout"]], debts)
    return {
        "refund_to_insurer_fen": result.refunds,
        "household_clawback_fen": result.household_clawback_fen,
        "reinstated": [
            debt_line(creditor, result.debts_after[creditor]) for creditor in result.refunds
        ],
    }


def stale_snapshot(given: Case) -> Case:
    result = settlement.stale_snapshot(
        given["payout_fen"],
        snapshot_debt_fen=given["snapshot_debt_fen"],
        actual_debt_fen=given["actual_debt_fen"],
    )
    return {
        "bank_received_fen": result.received_fen,
        "bank_keeps_fen": result.kept_fen,
        "bank_passes_to_household_fen": result.passed_on_fen,
        "household_total_fen": result.household_fen,
        "remaining_debt_fen": result.remaining_debt_fen,
    }


def sweep(given: Case) -> Case:
    groups = covers.payees(
        given["beneficiary_order"],
        assigned=given["cover_assigned"],
        sweep_trigger=given["sweep_trigger"],
        difficulty=given["repayment_difficulty"],
    )
    return {"priority": [group[0] if len(group) == 1 else list(group) for group in groups]}


def claim_to_compensation(given: Case) -> Case:
    settled = payouts(given)
    left = next(
        each for each in settled["remaining"] if each["creditor"] == given["compensated_creditor"]
    )
    loss_fen = left["principal_fen"] + left["interest_fen"]
    shared = loss_waterfall({"loss_fen": loss_fen, "layers": given["layers"]})
    return {"settlement": settled, "loss_fen": loss_fen, "waterfall": shared}


def settle(
    given: Case, payout: Case, debts: Mapping[str, settlement.Amounts]
) -> settlement.Settlement:
    groups = [
        [step] if isinstance(step, str) else step
        for step in payout["priority"]
        if step != HOUSEHOLD
    ]
    order = settlement.appropriation(given.get("appropriation_order", "interest_first"))
    return settlement.settle(payout["amount_fen"], groups, debts, order)


def debts_of(given: Case) -> dict[str, settlement.Amounts]:
    return {
        debt["creditor"]: settlement.Amounts(
            principal_fen=debt["principal_fen"], interest_fen=debt["interest_fen"]
        )
        for debt in given["debts"]
    }


def allocation_lines(payout: str, settled: settlement.Settlement) -> Sequence[Case]:
    lines: list[Case] = [
        {
            "payout": payout,
            "to": part.debt_id,
            "interest_fen": part.taken.interest_fen,
            "principal_fen": part.taken.principal_fen,
        }
        for part in settled.parts
    ]
    if settled.household_fen:
        lines.append({"payout": payout, "to": HOUSEHOLD, "amount_fen": settled.household_fen})
    return lines


def debt_line(creditor: str, debt: settlement.Amounts) -> Case:
    return {
        "creditor": creditor,
        "principal_fen": debt.principal_fen,
        "interest_fen": debt.interest_fen,
    }


def day(text: str) -> date:
    return date.fromisoformat(text)


def calendar(given: Case) -> calendars.Calendar:
    return calendars.Calendar(
        frozenset(map(day, given["holidays"])), frozenset(map(day, given["extra_workdays"]))
    )


RULES: Mapping[str, Callable[[Case], Case]] = {
    "chain.claim_to_compensation": claim_to_compensation,
    "funds.allocate": allocate,
    "funds.insurer_pool": insurer_pool,
    "funds.leverage": fund_leverage,
    "funds.pool_mix": pool_mix,
    "funds.recovery": recovery,
    "funds.risk_share": risk_share,
    "funds.village_fund": village_fund,
    "funds.waterfall": loss_waterfall,
    "insurance.claim_tier": claim_tier,
    "insurance.cover_cap": cover_cap,
    "insurance.premium": premium,
    "loans.age_check": age_check,
    "loans.amount_check": amount_check,
    "loans.collection_discount": collection_discount,
    "loans.controlled_drawdown": controlled_drawdown,
    "loans.daily_interest": daily_interest,
    "loans.debt_snapshot": debt_snapshot,
    "loans.five_tier": five_tier,
    "loans.interest_subsidy": interest_subsidy,
    "loans.maturity_notice": maturity_notice,
    "loans.npl_trigger": npl_trigger,
    "loans.purpose_check": purpose_check,
    "loans.rate_check": rate_check,
    "loans.sla": sla,
    "loans.subsidy_stop": subsidy_stop,
    "monitoring.circuit_breaker": circuit_breaker,
    "monitoring.npl_suspension": npl_suspension,
    "monitoring.township_breaker": township_breaker,
    "scoring.base_points": base_points,
    "scoring.credit_area": credit_area,
    "scoring.deduction_waiver": deduction_waiver,
    "scoring.gate": gate,
    "scoring.weighted": weighted,
    "settlement.payouts": payouts,
    "settlement.reversal": reversal,
    "settlement.stale_snapshot": stale_snapshot,
    "settlement.sweep": sweep,
}

# The rest of the language comes with the other programmes; nothing is skipped in silence.
NOT_BUILT: Mapping[str, str] = {
    "funds.fee_subsidy": "payments to lenders",
    "funds.top_up_rule": "minimum balance and yearly top-up",
    "gateway.access": "decided in the gateway",
    "insurance.master_policy": "certificates packed into one policy",
    "insurance.price_index": "index covers",
    "insurance.stabilisation": "insurers' pools",
    "loans.asset_deposit": "living assets",
    "loans.collateral_cover": "collateral",
    "loans.collateral_limit": "living assets",
    "loans.group_micro": "group lending",
    "loans.renewal": "renewal",
    "loans.revolving": "revolving facilities",
    "loans.sanction_check": "sanctions on relations",
    "monitoring.bulletin": "reports",
    "monitoring.compliance": "reports",
    "monitoring.count_check": "reports",
    "monitoring.npl_tolerance": "tolerance",
    "monitoring.overdue_report": "reports",
    "monitoring.ratio": "reports",
    "monitoring.recovery_rate": "suspension by collection rate",
}
