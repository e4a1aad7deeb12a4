"""Policies: certificates packed into master policies, who pays a premium, an insurer's line."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.kernel.errors import Refused
from services.kernel.money import Fen, half_up, split
from services.programmes import covers
from services.programmes.schema.insurance import Insurance, Premium
from services.programmes.schema.policies import DirectFinancing, PolicyPremium
from services.programmes.schema.values import known


@dataclass(frozen=True, slots=True)
class Merged:
    """How many certificates become how few policies."""

    certificates_before: int
    policies_after: int
    working: str


@dataclass(frozen=True, slots=True)
class FinancingCheck:
    """Whether an insurer may lend an amount, and which bound decided."""

    allowed: bool
    max_amount_fen: Fen
    binding: str
    working: str


def merged(households: int, covers_each: int, *, areas: int = 1) -> Merged:
    """A certificate a household and cover, packed into one policy for each area."""
    assert min(households, covers_each, areas) >= 0
    before = households * covers_each
    after = min(areas, before)
    return Merged(
        before, after, f"{households} × {covers_each} = {before}, one for each of {areas}"
    )


def master_covers(insurance: Insurance) -> tuple[str, ...]:
    """The covers inside the master policy; none without one."""
    if insurance.master_policy is None:
        return ()
    return insurance.master_policy.covers or tuple(cover.id for cover in insurance.covers)


def policy_premium(clause: PolicyPremium, *, lending_fen: Fen) -> covers.Premium:
    """A whole policy's premium on the loans paid out."""
    return covers.premium(lending_fen, clause.rate_ppm)


def premium_parts(clause: Premium, premium_fen: Fen) -> Mapping[str, Fen]:
    """Who pays how much of a premium; the parts sum to it."""
    if clause.subsidy is None:
        return {clause.payer: premium_fen}
    pct = known(clause.subsidy.pct)
    subsidised, own = split(premium_fen, [pct, 100 - pct])
    return {clause.subsidy.payer: subsidised, clause.payer: own}


def unearned_fen(premium_fen: Fen, *, days_left: int, days: int, refund: str) -> Fen:
    """What of a term's premium belongs to the days that are left, half up; nothing by `none`."""
    assert 0 <= days_left <= days
    assert days > 0
    return Fen(0) if refund == "none" else Fen(half_up(premium_fen * days_left, days))


def joining_fen(premium_fen: Fen, *, days_left: int, days: int, rule: str) -> Fen:
    """What one who joins so many days before a term's end pays of its premium, half up."""
    assert 0 < days_left <= days
    return premium_fen if rule == "whole" else Fen(half_up(premium_fen * days_left, days))


def line_shares(total_fen: Fen, volumes_fen: Mapping[str, Fen]) -> Mapping[str, Fen]:
    """A profitable line's premium shared out by each insurer's guarantee volume."""
    if not sum(volumes_fen.values()):
        raise Refused(
            "NO_GUARANTEE_VOLUME",
            "no insurer with an agreement has insured a loan in the period",
            message_zh="期内无保证保险业务量,无法分配",
        )
    names = sorted(volumes_fen)
    parts = split(total_fen, [volumes_fen[name] for name in names])
    return dict(zip(names, parts, strict=True))


def financing_check(
    clause: DirectFinancing, entity_type: str, *, requested_fen: Fen, lent_fen: Fen
) -> FinancingCheck:
    """The cap of the borrower's kind and what is left of the line; a kind without a cap is none."""
    cap = next((c.max_principal_fen for c in clause.caps if c.entity_type == entity_type), None)
    if cap is None:
        raise Refused(
            "ENTITY_TYPE_NOT_FINANCED",
            f"the insurer lends to no {entity_type}",
            message_zh="该类主体不在保险资金直接融资范围",
            facts={"entity_type": entity_type},
        )
    left = Fen(max(0, known(clause.line_fen) - lent_fen))
    binding, most = min((("cap", cap), ("line", left)), key=lambda bound: bound[1])
    working = f"min(cap {cap}, line {left}) = {most} fen, asked {requested_fen}"
    return FinancingCheck(requested_fen <= most, most, binding, working)
