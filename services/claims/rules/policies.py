"""Claims: what a master policy must say, what it costs, and whom its premium is owed by."""

from collections.abc import Callable, Mapping
from datetime import date
from uuid import UUID

from services.claims.model import NOTHING, Charge, InsuredEntry, MasterPolicy
from services.kernel.errors import NotFound, Refused, invalid_field
from services.kernel.money import Fen
from services.programmes import covers, policies
from services.programmes.schema.insurance import (
    Cover,
    Insurance,
    SumInsured,
    SumInsuredFixed,
    SumInsuredOfLoan,
    SumInsuredStated,
)
from services.programmes.schema.insurance import Premium as PremiumClause
from services.programmes.schema.policies import PolicyPremium
from services.programmes.schema.values import Open, known
from services.programmes.terms import Terms

TOWN_DIGITS = 9


def policy_not_found(policy_id: UUID) -> NotFound:
    """No such policy, or none of the asker's."""
    return NotFound("POLICY_NOT_FOUND", f"no policy {policy_id}", message_zh="无此保单")


def check_policy(policy: MasterPolicy, terms: Terms) -> None:
    """
    Refuse a policy whose claims could not be decided later.

    Whatever its covers leave open is refused here and now, so that joining a list, which follows
    from an event, never has to refuse.
    """
    if policy.until_date < policy.from_date:
        rule = f"must not be before from_date {policy.from_date}"
        raise invalid_field("TERM_ENDS_BEFORE_IT_STARTS", "until_date", policy.until_date, rule)
    if not policy.area_code.startswith(policy.county_code):
        rule = f"must lie in {policy.county_code}"
        raise invalid_field("AREA_NOT_IN_COUNTY", "area_code", policy.area_code, rule)
    if len(set(policy.covers)) < len(policy.covers):
        rule = "must name each cover once"
        raise invalid_field("COVER_TWICE", "more_cover_ids", ",".join(policy.covers), rule)
    for cover_id in policy.covers:
        _check_scope(policy, cover_id, terms.insurance)
        _check_cover(policy, terms.cover(cover_id), terms)


def _check_scope(policy: MasterPolicy, cover_id: str, insurance: Insurance) -> None:
    clause = insurance.master_policy
    if clause is None or cover_id not in policies.master_covers(insurance):
        return
    is_town = len(policy.area_code) == TOWN_DIGITS
    if is_town != (clause.scope == "township"):
        raise Refused(
            "POLICY_SCOPE",
            f"the programme packs {cover_id} into one policy for each {clause.scope},"
            f" not for {policy.area_code}",
            message_zh="大保单的承保范围与方案不符",
            facts={"scope": clause.scope, "area_code": policy.area_code},
        )


def _check_cover(policy: MasterPolicy, cover: Cover, terms: Terms) -> None:
    if not covers.in_catalogue(cover, policy.from_date):
        raise Refused(
            "COVER_NOT_OFFERED",
            f"{terms.ref} does not offer {cover.id} on {policy.from_date}",
            message_zh="该险种在起保日不在方案内",
        )
    known(cover.sum_insured)
    for cap in (cover.cap_fen, cover.person_cap_fen, cover.period_cap_fen):
        if cap is not None:
            known(cap)
    if known(cover.assigned):
        known(cover.payees)
        known(terms.insurance.sweep_trigger)
    if on_lending(terms.insurance, cover.id):
        return
    _check_rate(policy, cover)
    clause = _clause(policy, cover)
    if clause is None:
        return
    payers = {clause.payer, clause.subsidy.payer if clause.subsidy else clause.payer}
    if clause.subsidy:
        known(clause.subsidy.pct)
    if "enterprise" in payers and not policy.enterprise_id:
        raise Refused(
            "PREMIUM_PAYER_UNKNOWN",
            f"which enterprise pays the premium of {cover.id} is not known",
            message_zh="缴费企业未知",
        )


def _check_rate(policy: MasterPolicy, cover: Cover) -> None:
    if policy.rate_ppm is None:
        return
    clause = known(cover.premium)
    if not isinstance(clause.rate_ppm, Open) and clause.rate_ppm != policy.rate_ppm:
        rule = f"the programme fixes {clause.rate_ppm} ppm for {cover.id}"
        raise invalid_field("PREMIUM_RATE_FIXED", "rate_ppm", policy.rate_ppm, rule)
    if clause.max_rate_ppm is not None and policy.rate_ppm > clause.max_rate_ppm:
        raise Refused(
            "PREMIUM_RATE_ABOVE_CAP",
            f"{policy.rate_ppm} ppm is above the {clause.max_rate_ppm} allowed for {cover.id}",
            message_zh="保险费率高于规定上限",
            facts={"max_rate_ppm": str(clause.max_rate_ppm)},
        )


def sum_rule(cover: Cover) -> SumInsured:
    """How a cover's sum insured is found."""
    rule = known(cover.sum_insured)
    assert isinstance(rule, SumInsuredOfLoan | SumInsuredFixed | SumInsuredStated)
    return rule


def is_stated(cover: Cover) -> bool:
    """Whether each line of a list states its own sum: no event can then put a loan on it."""
    return isinstance(cover.sum_insured, SumInsuredStated)


def is_of_household(cover: Cover) -> bool:
    """Whether the sum has nothing to do with a loan, so that one entry serves all of them."""
    return not isinstance(cover.sum_insured, SumInsuredOfLoan)


def cap_fen(cover: Cover) -> Fen | None:
    """The most that a claim on this cover pays, where the programme caps it."""
    return None if cover.cap_fen is None else known(cover.cap_fen)


def on_lending(insurance: Insurance, cover_id: str) -> bool:
    """Whether a cover is paid with its policy's premium on lending, not entry by entry."""
    clause = insurance.master_policy
    if clause is None or clause.premium is None or cover_id in clause.premium.excludes:
        return False
    return cover_id in policies.master_covers(insurance)


def lending_premium(policy: MasterPolicy, insurance: Insurance) -> PolicyPremium | None:
    """The clause of a policy whose premium is on lending; None for every other."""
    if not any(on_lending(insurance, cover_id) for cover_id in policy.covers):
        return None
    assert insurance.master_policy is not None
    return insurance.master_policy.premium


def _clause(policy: MasterPolicy, cover: Cover) -> PremiumClause | None:
    """The cover's premium clause, None while nobody has said the rate."""
    if isinstance(cover.premium, Open):
        return None
    if isinstance(cover.premium.rate_ppm, Open) and policy.rate_ppm is None:
        return None
    return cover.premium


def premium_of(
    policy: MasterPolicy,
    cover: Cover,
    insurance: Insurance,
    sum_insured_fen: Fen,
    *,
    from_date: date,
    term_until: date,
) -> Mapping[str, Fen]:
    """
    The premium of an entry by who owes it; nothing while the programme leaves it open.

    One that joins within the policy's term owes the whole of it or the days left, as the programme
    says.
    """
    clause = _clause(policy, cover)
    if clause is None or on_lending(insurance, cover.id):
        return {}
    rate_ppm = policy.rate_ppm if isinstance(clause.rate_ppm, Open) else clause.rate_ppm
    assert rate_ppm is not None
    premium = covers.premium(sum_insured_fen, rate_ppm, max_rate_ppm=clause.max_rate_ppm)
    owed = policies.joining_fen(
        premium.premium_fen,
        days_left=(term_until - max(from_date, policy.from_date)).days + 1,
        days=(term_until - policy.from_date).days + 1,
        rule=insurance.premium_of_joiners,
    )
    return policies.premium_parts(clause, owed)


def payer_id(payer: str, policy: MasterPolicy, household_id: UUID | None) -> str:
    """Who a payer of the programme is for an entry; a campaign's payer is the insurer."""
    return {
        "borrower": str(household_id or ""),
        "county": policy.county_code,
        "insurer": policy.insurer_id,
        "enterprise": policy.enterprise_id,
    }[payer]


def charges(
    entry: InsuredEntry,
    policy: MasterPolicy,
    parts: Mapping[str, Fen],
    *,
    kind: str,
    value_date: date,
    new_id: Callable[[], UUID],
) -> list[Charge]:
    """What each payer of an entry owes (or gets back, below 0)."""
    return [
        Charge(
            county_code=entry.county_code,
            charge_id=new_id(),
            policy_id=entry.policy_id,
            insured_id=entry.insured_id,
            kind=kind,
            payer=payer,
            payer_id=payer_id(payer, policy, entry.household_id),
            insurer_id=policy.insurer_id,
            amount_fen=amount_fen,
            value_date=value_date,
        )
        for payer, amount_fen in parts.items()
        if amount_fen
    ]


def lending_charge(
    policy: MasterPolicy,
    clause: PolicyPremium,
    amount_fen: Fen,
    *,
    kind: str,
    value_date: date,
    charge_id: UUID,
) -> Charge:
    """A policy's premium on lending, or what a true-up adds to it."""
    if clause.payer == "borrower" or (clause.payer == "enterprise" and not policy.enterprise_id):
        raise Refused(
            "PREMIUM_PAYER_UNKNOWN",
            f"nobody in particular is the {clause.payer} of a whole policy",
            message_zh="保单缴费人未知",
        )
    return Charge(
        county_code=policy.county_code,
        charge_id=charge_id,
        policy_id=policy.policy_id,
        insured_id=None,
        kind=kind,
        payer=clause.payer,
        payer_id=payer_id(clause.payer, policy, None),
        insurer_id=policy.insurer_id,
        amount_fen=amount_fen,
        value_date=value_date,
    )


def total(parts: Mapping[str, Fen]) -> Fen:
    """The whole of what several payers owe."""
    return Fen(sum(parts.values(), NOTHING))
