"""
Access: who may do what, to whose. Pure, and denied unless something says otherwise.

First which role may call which method at all: its proto says it (`gateway/rules.py`). Then on which
ground somebody may act on one resource, and what bars it all the same: the policies say it
(`gateway/policies`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.groups import PEOPLE, groups_of
from gateway.identity import PURPOSE_KEY
from gateway.policy import Question, Thing, Verdict, policies
from gateway.rules import PURPOSES, RULES
from services.kernel.errors import Denied, invalid_field
from services.programmes.schema.deployment import InstitutionRole as Role
from services.programmes.schema.gateway import GatewayRules

_OWN = "liandong.gateway.v1.HouseholdSelfService"
_WHO = frozenset(
    {
        "liandong.households.v1.PeopleService/ResolvePersons",
        "liandong.households.v1.PeopleService/DisclosePersons",
        "liandong.households.v1.HouseholdsService/GetHousehold",
    }
)
_FILE = _WHO | {
    "liandong.households.v1.FactsService/ListFacts",
    "liandong.households.v1.FactsService/ListDisputes",
    "liandong.credit.v1.CreditService/GetCreditReport",
    "liandong.loans.v1.LoansService/ListLoans",
    "liandong.loans.v1.ReportsService/GetHouseholdStatement",
    "liandong.loans.v1.EntitlementsService/ListEntitlements",
    "liandong.claims.v1.PoliciesService/GetCertificate",
    "liandong.claims.v1.ClaimsService/ListClaims",
    "liandong.claims.v1.ClaimsService/GetPayout",
}
_BELONGS = _WHO | {
    "liandong.loans.v1.ReportsService/GetHouseholdStatement",
    "liandong.loans.v1.LoansService/ListLoans",
    "liandong.claims.v1.ClaimsService/ListClaims",
}
WITHIN: Mapping[str, frozenset[str]] = {
    f"{_OWN}/IdentifyMe": _WHO,
    f"{_OWN}/GetMyFile": _FILE,
    f"{_OWN}/PrintMyPaper": _FILE,
    f"{_OWN}/ListMyAccesses": _BELONGS,
    f"{_OWN}/FileMyDispute": _BELONGS
    | {
        "liandong.households.v1.FactsService/OpenDispute",
        "liandong.credit.v1.CreditService/GetCreditReport",
        "liandong.credit.v1.CreditService/ContestRefusal",
        "liandong.claims.v1.ClaimsService/DisputeClaim",
    },
}
"""
What a method of ours asks of services for a role that may not ask them itself.

A person's portal may call none of these: it would name any household it likes. The gateway asks
them for it, about the household that the person was found to belong to.
"""


HOUSEHOLD_REQUEST = "household_request"
"""The purpose of whatever a household asks for itself, unless it names another."""


def require_within(role: str, own: str, method: str) -> None:
    """Refuse what a method of ours would ask, unless its caller may, or it may for people."""
    if role in PEOPLE and method in WITHIN.get(own, frozenset()):
        return
    require(role, method)


def may_call(role: str, method: str) -> bool:
    """Whether the method's rule lets this role call it."""
    rule = RULES.get(method)
    return rule is not None and role in rule.roles


def require(role: str, method: str) -> None:
    """Refuse a call that the method's rule does not allow."""
    if not may_call(role, method):
        raise Denied(
            "ROLE_NOT_ALLOWED",
            f"role {role} may not call {method}",
            message_zh="本角色无此权限",
        )


def require_purpose(method: str, purpose: str) -> None:
    """Refuse a purpose that is none, or none for which a method may be called."""
    if purpose and purpose not in PURPOSES:
        rule = f"must be one of {', '.join(sorted(PURPOSES))}"
        raise invalid_field("UNKNOWN_PURPOSE", PURPOSE_KEY, purpose[:60], rule, "无此用途")
    wanted = RULES[method].purposes
    if wanted and purpose not in wanted:
        rule = f"{method} is called for {', '.join(sorted(wanted))}"
        if not purpose:
            raise invalid_field("PURPOSE_NEEDED", PURPOSE_KEY, "", rule, "须指明用途")
        raise Denied("PURPOSE_NOT_ALLOWED", rule, message_zh="用途不符")


HOUSEHOLD = "household"
"""A person who looks up what is kept about the own household; no institution's role."""

DUTIES: Mapping[str, str] = {
    "loan.review": "review",
    "loan.disburse": "disbursement",
    "fund.compensation.approve": "compensation_approval",
}
"""What doing an action counts as, where some duties are kept apart."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks: in which role, for which institution and areas, as which person."""

    role: str
    institution_id: str | None = None
    areas: tuple[str, ...] = ()
    person_id: str | None = None
    household_id: str | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """What is asked for, as far as access turns on it; what is unknown gives nobody a ground."""

    area: str | None = None
    household_id: str | None = None
    lender: str | None = None
    insurer: str | None = None
    application_to: str | None = None
    open_claim_insurer: str | None = None
    insured_by: str | None = None
    consented: bool = False
    """Its household lets who asks have this kind of data, for this purpose, today."""
    done_by: Mapping[str, str] | None = None
    """Which person did which duty on it so far: `{"review": "u7"}`."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a programme adds; the defaults are the platform's own (S47, S52)."""

    shared_grade: str = "application_only"
    self_service: bool = True
    compensation_approvers: frozenset[str] = frozenset({Role.FINANCE_BUREAU.value})
    segregation: tuple[tuple[str, str], ...] = (
        ("review", "disbursement"),
        ("review", "compensation_approval"),
        ("disbursement", "compensation_approval"),
    )


def conditions_of(rules: GatewayRules) -> Conditions:
    """A programme's gateway clauses as conditions; it adds to the platform's segregation."""
    own = Conditions()
    approvers = {organ.value for organ in rules.compensation_approved_by}
    pairs = [(pair.first, pair.second) for pair in rules.segregation]
    return Conditions(
        shared_grade=rules.shared_grade,
        self_service=rules.self_service,
        compensation_approvers=frozenset(approvers) or own.compensation_approvers,
        segregation=tuple(dict.fromkeys([*own.segregation, *pairs])),
    )


def together(all_of: Sequence[Conditions]) -> Conditions:
    """What several programmes of one county add together: what one shares, is shared."""
    if not all_of:
        return Conditions()
    return Conditions(
        shared_grade=max((each.shared_grade for each in all_of), key=_SHARED.index),
        self_service=any(each.self_service for each in all_of),
        compensation_approvers=frozenset().union(*(c.compensation_approvers for c in all_of)),
        segregation=tuple(dict.fromkeys(pair for each in all_of for pair in each.segregation)),
    )


_SHARED = ("none", "application_only", "government_and_banks")
"""How far grades are shared, from least to most."""


def decide(
    subject: Subject, action: str, resource: Resource, conditions: Conditions = Conditions()
) -> Verdict:
    """Whether a subject may act on a resource; an action nobody wrote down is denied."""
    holding = {
        "shared_grade": conditions.shared_grade != "none",
        "grade_for_banks": conditions.shared_grade == "government_and_banks",
        "self_service": conditions.self_service,
        "approver": subject.role in conditions.compensation_approvers,
        "same_person": _same_person(subject, DUTIES.get(action), resource, conditions),
    }
    question = Question(
        groups=groups_of(subject.role),
        institution=subject.institution_id or "",
        household=subject.household_id or "",
        action=action,
        thing=Thing(
            in_area=_in_area(subject, resource),
            lender=resource.lender or "",
            insurer=resource.insurer or "",
            household=resource.household_id or "",
            applied_to=_some(resource.application_to),
            claimed_from=_some(resource.open_claim_insurer),
            insured_by=_some(resource.insured_by),
            consented=resource.consented,
        ),
        conditions=frozenset(name for name, holds in holding.items() if holds),
    )
    return policies().decide(question)


def contains(area: str, inner: str) -> bool:
    """Whether an area holds another; `360000` is a whole province, and nothing holds nothing."""
    prefix = area
    while len(prefix) in (4, 6) and prefix.endswith("00"):
        prefix = prefix[:-2]
    return bool(prefix) and inner.startswith(prefix)


def _in_area(subject: Subject, resource: Resource) -> bool:
    return resource.area is not None and any(
        contains(area, resource.area) for area in subject.areas
    )


def _some(one: str | None) -> frozenset[str]:
    return frozenset({one}) if one else frozenset()


def _same_person(
    subject: Subject, duty: str | None, resource: Resource, conditions: Conditions
) -> bool:
    """Whether one did before what must be another's work; whoever hides who he is, may have."""
    for one, other in conditions.segregation:
        for done, now in ((one, other), (other, one)):
            by = (resource.done_by or {}).get(done)
            if now == duty and by is not None and subject.person_id in (None, by):
                return True
    return False
