"""What a pack must say of insurance for a golden case to be its own."""

from collections.abc import Callable, Mapping

from services.programmes import covers, policies
from services.programmes.cases.values import Case
from services.programmes.schema.values import Open, known
from services.programmes.terms import Terms


def premium(terms: Terms, given: Case) -> None:
    if "max_rate_ppm" not in given:
        policy = terms.insurance.master_policy
        assert policy is not None
        assert policy.premium is not None
        assert policy.premium.rate_ppm == given["rate_ppm"]
        return
    clauses = [
        cover.premium
        for cover in terms.insurance.covers
        if not isinstance(cover.premium, Open) and cover.premium.max_rate_ppm is not None
    ]
    assert [clause.max_rate_ppm for clause in clauses] == [given["max_rate_ppm"]]
    assert clauses[0].payer == "borrower"
    assert not covers.premium(
        given["base_fen"], given["rate_ppm"], max_rate_ppm=clauses[0].max_rate_ppm
    ).allowed


def claim_tier(terms: Terms, given: Case) -> None:
    said = [
        {"tier": tier.tier, "max_fen": tier.max_fen, "working_days": tier.working_days}
        for tier in known(terms.insurance.claim_tiers)
    ]
    assert said == given["tiers"]


def cover_cap(terms: Terms, given: Case) -> None:
    caps = [known(cover.cap_fen) for cover in terms.insurance.covers if cover.cap_fen is not None]
    assert caps == [given["cap_fen"]]


def master_policy(terms: Terms, given: Case) -> None:
    assert terms.insurance.master_policy is not None
    assert terms.insurance.master_policy.scope == "county"
    assert len(policies.master_covers(terms.insurance)) == given["covers"]


def price_index(terms: Terms, given: Case) -> None:
    said = [known(c.price_index) for c in terms.insurance.covers if c.price_index is not None]
    assert [index.trigger_fen_per_jin for index in said] == [given["trigger_fen_per_jin"]]


SAYS: Mapping[str, Callable[[Terms, Case], None]] = {
    "insurance.claim_tier": claim_tier,
    "insurance.cover_cap": cover_cap,
    "insurance.master_policy": master_policy,
    "insurance.premium": premium,
    "insurance.price_index": price_index,
}
