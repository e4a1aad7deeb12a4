"""Cases: what a case says of insurance."""

from collections.abc import Callable, Mapping

from services.programmes import covers, indices, policies, upkeep
from services.programmes.cases.values import Case, calendar, day
from services.programmes.schema.insurance import ClaimTier


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


def price_index(given: Case) -> Case:
    result = indices.index_payout(
        given["trigger_fen_per_jin"],
        prices_fen_per_jin=[given["market_fen_per_jin"]],
        quantity_centi_jin=given["quantity_centi_jin"],
    )
    return {"gap_fen_per_jin": result.gap_fen_per_jin, "payout_fen": result.payout_fen}


def master_policy(given: Case) -> Case:
    result = policies.merged(given["households"], given["covers"])
    return {
        "certificates_before": result.certificates_before,
        "policies_after": result.policies_after,
    }


def stabilisation(given: Case) -> Case:
    result = upkeep.stabilise(given["premium_fen"], given["claims_fen"], fund_fen=given["fund_fen"])
    return {
        "deficit_fen": result.deficit_fen,
        "compensated_fen": result.compensated_fen,
        "fund_after_fen": result.fund_after_fen,
    }


RULES: Mapping[str, Callable[[Case], Case]] = {
    "insurance.claim_tier": claim_tier,
    "insurance.cover_cap": cover_cap,
    "insurance.master_policy": master_policy,
    "insurance.premium": premium,
    "insurance.price_index": price_index,
    "insurance.stabilisation": stabilisation,
}
