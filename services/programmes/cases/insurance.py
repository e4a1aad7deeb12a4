"""Cases: what a case says of insurance."""

from collections.abc import Callable, Mapping

from services.programmes import covers
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


RULES: Mapping[str, Callable[[Case], Case]] = {
    "insurance.claim_tier": claim_tier,
    "insurance.cover_cap": cover_cap,
    "insurance.premium": premium,
}
