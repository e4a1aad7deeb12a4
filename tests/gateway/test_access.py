"""The rules of access: complete, denying by default, and what it says for some who matter."""

import itertools
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2
from liandong.access.v1 import access_pb2

from gateway import access
from gateway.access import Conditions, Resource, Subject
from gateway.groups import GROUPS
from gateway.policy import policies
from gateway.routes import FILES, ROUTES
from gateway.rules import EVENT_FILES, RULES, TOLD, rule_of, told_of
from services.kernel.errors import Denied
from services.programmes.loader import load
from services.programmes.schema.deployment import InstitutionRole as Role
from services.programmes.schema.gateway import GatewayRules

SERVICES = [
    method
    for files in FILES.values()
    for file in files
    for service in file.services_by_name.values()
    for method in service.methods
]


def option(of: Any, extension: Any) -> Any:
    return of.GetOptions().Extensions[extension]


def test_every_method_carries_a_rule_that_names_groups_that_there_are() -> None:
    for method in SERVICES:
        rule = option(method, access_pb2.rule)
        assert rule.resource, method.full_name
        assert rule.action, method.full_name
        assert rule.ownership, method.full_name
        assert rule.callers, method.full_name
        assert set(rule.callers) <= set(GROUPS), method.full_name


def test_every_event_says_who_is_told_of_it() -> None:
    messages = [
        message
        for file in EVENT_FILES
        for message in file.message_types_by_name.values()
        if message.full_name not in PARTS
    ]
    for message in messages:
        told = option(message, access_pb2.told)
        assert told.resource, message.full_name
        assert told.ownership, message.full_name
        assert told.readers, message.full_name
        assert set(told.readers) <= set(GROUPS), message.full_name
    assert len(TOLD) == len(messages)


PARTS = {
    field.message_type.full_name
    for file in EVENT_FILES
    for message in file.message_types_by_name.values()
    for field in message.fields
    if field.message_type is not None
}
"""Messages that stand in events and are none."""


def test_what_carries_no_rule_is_denied() -> None:
    bare = descriptor_pb2.DESCRIPTOR.message_types_by_name["FileOptions"]
    assert told_of(bare).roles == frozenset()
    method: Any = health_pb2.DESCRIPTOR.services_by_name["Health"].methods[0]
    assert rule_of(method).roles == frozenset()


def test_every_role_may_at_least_ask_who_it_is() -> None:
    assert all(access.may_call(role, "liandong.gateway.v1.GatewayService/WhoAmI") for role in Role)


def test_what_no_row_names_is_denied() -> None:
    with pytest.raises(Denied) as refusal:
        access.require("operator", "liandong.loans.v1.LoansService/ForgiveLoan")

    assert refusal.value.reason == "ROLE_NOT_ALLOWED"
    assert not access.may_call("emperor", "liandong.loans.v1.LoansService/GetLoan")
    assert not access.may_call("", "liandong.loans.v1.LoansService/GetLoan")


@pytest.mark.parametrize(
    ("role", "method"),
    [
        ("guarantor", "loans.v1.LoansService/DisburseLoan"),
        ("insurer", "credit.v1.CreditService/GetCreditFile"),
        ("bank", "claims.v1.ClaimsService/AdjudicateClaim"),
        ("bank", "funds.v1.FundsService/DecideCompensationCase"),
        ("bank", "common.v1.OperatorService/GetTotals"),
        ("auditor", "common.v1.OperatorService/AdvanceDay"),
        ("operator", "loans.v1.LoansService/RepayLoan"),
        ("operator", "households.v1.HouseholdsService/GetHousehold"),
        ("village_department", "households.v1.HouseholdsService/ImportHouseholds"),
        ("regulator", "loans.v1.LoansService/ListLoans"),
    ],
)
def test_a_role_may_not_do_anothers_work(role: str, method: str) -> None:
    assert not access.may_call(role, f"liandong.{method}")


def test_only_operators_change_anything_on_the_operators_surface() -> None:
    for route in ROUTES:
        if "OperatorService" in route.method and route.command:
            assert RULES[route.method].roles == {Role.OPERATOR}


def test_auditors_change_nothing_but_say_what_they_took() -> None:
    assert [
        route.method.rpartition("/")[2]
        for route in ROUTES
        if route.command and access.may_call("auditor", route.method)
    ] == ["TakeDayRoot", "AcknowledgeFeed"]


VILLAGE = "990101101001"
BANK = Subject(Role.BANK, "rcb-1", areas=("990101",), person_id="p1")
STATION = Subject(Role.TOWNSHIP_STATION, "tst-1", areas=("990101101",), person_id="p2")
PERSON = Subject(access.HOUSEHOLD, household_id="h1")


def may(
    subject: Subject, action: str, resource: Resource, conditions: Conditions | None = None
) -> bool:
    return access.decide(subject, action, resource, conditions or Conditions()).allow


def test_an_action_nobody_wrote_down_is_denied() -> None:
    verdict = access.decide(BANK, "loan.forgive", Resource(lender="rcb-1"))

    assert not verdict.allow
    assert verdict.because == ()


def test_what_is_unknown_of_a_resource_gives_nobody_a_ground() -> None:
    roles = [*Role, access.HOUSEHOLD, ""]
    conditions = Conditions(compensation_approvers=frozenset(Role))

    for role, action in itertools.product(roles, policies().actions):
        nobody = Subject(role, person_id="p1")
        somebody = Subject(role, "inst-1", ("990101",), "p1", "h1")
        assert not may(nobody, action, Resource(), conditions)
        assert not may(somebody, action, Resource(), conditions)


def test_a_lender_reads_its_own_loans_wherever_they_are_and_no_others_anywhere() -> None:
    assert may(BANK, "loan.read", Resource(area="130000", lender="rcb-1"))
    assert not may(BANK, "loan.read", Resource(area=VILLAGE, lender="psb-1"))
    assert not may(BANK, "household.read", Resource(area=VILLAGE))
    assert may(BANK, "household.read", Resource(area=VILLAGE, application_to="rcb-1"))


# YC.sco.6, LS17.gat.1
def test_a_shared_grade_needs_an_application_and_a_programme_that_shares_it() -> None:
    asked = Resource(household_id="h1", application_to="rcb-1")

    assert may(BANK, "credit_grade.read", asked)
    assert may(BANK, "exposure.read", asked)
    assert not may(BANK, "credit_grade.read", asked, Conditions(shared_grade="none"))
    insurer = Subject(Role.INSURER, "rcb-1")
    assert not may(insurer, "credit_grade.read", asked)


def test_an_insurer_reads_a_debt_only_while_its_own_claim_is_open() -> None:
    insurer = Subject(Role.INSURER, "ins-1", areas=("990101",))

    assert may(insurer, "debt_snapshot.read", Resource(open_claim_insurer="ins-1"))
    assert not may(insurer, "debt_snapshot.read", Resource(open_claim_insurer="ins-2"))
    assert not may(insurer, "debt_snapshot.read", Resource(insurer="ins-1"))
    assert may(insurer, "policy.read", Resource(insurer="ins-1"))
    assert not may(insurer, "policy.read", Resource(insurer="ins-2"))


@pytest.mark.parametrize(
    ("area", "inner", "held"),
    [
        ("990101101", "990101101005", True),
        ("990101101", "990101102005", False),
        ("990101", "990101101", True),
        ("990101101", "990101", False),
        ("990100", "990101101", True),
        ("990000", "990201", True),
        ("990000", "980201", False),
        ("000000", "990201", False),
        ("", "990201", False),
        ("990101100", "990101101", False),
    ],
)
def test_an_area_holds_what_its_code_begins(area: str, inner: str, held: bool) -> None:
    assert access.contains(area, inner) == held
    assert may(Subject(Role.POVERTY_OFFICE, "po", (area,)), "loan.read", Resource(inner)) == held


def test_a_station_sees_every_one_of_its_areas() -> None:
    both = Subject(Role.TOWNSHIP_STATION, "tst-1", areas=("990101101", "990101102"))

    assert may(both, "household.read", Resource(area="990101102001"))
    assert not may(STATION, "household.read", Resource(area="990101102001"))


# YC.gat.2, TX.gat.1
def test_people_see_their_own_and_only_where_the_programme_lets_them() -> None:
    own = Resource(household_id="h1", lender="rcb-1")

    for action in ("loan.read", "credit_grade.read", "policy.read", "debt_snapshot.read"):
        assert may(PERSON, action, own)
        assert not may(PERSON, action, Resource(household_id="h2"))
        assert not may(PERSON, action, own, Conditions(self_service=False))
    assert not may(PERSON, "loan.disburse", own)


# HN-RCU.loa.9
def test_nobody_does_two_duties_that_are_kept_apart() -> None:
    reviewed = Resource(lender="rcb-1", done_by={"review": "p1"})
    disbursed = Resource(lender="rcb-1", done_by={"disbursement": "p1"})
    other = Subject(Role.BANK, "rcb-1", person_id="p9")
    hidden = Subject(Role.BANK, "rcb-1")

    assert not may(BANK, "loan.disburse", reviewed)
    assert not may(BANK, "loan.review", disbursed)
    assert may(other, "loan.disburse", reviewed)
    assert not may(hidden, "loan.disburse", reviewed)
    assert may(BANK, "loan.disburse", Resource(lender="rcb-1"))
    finance = Subject(Role.FINANCE_BUREAU, "fin-1", ("990101",), "p1")
    paid = Resource(area=VILLAGE, done_by={"disbursement": "p1"})
    assert not may(finance, "fund.compensation.approve", paid)


# JX.fun.3
def test_only_the_named_approve_compensation_and_only_in_their_area() -> None:
    case = Resource(area="990700")
    finance = Subject(Role.FINANCE_BUREAU, "fin-1", ("990000",), "p1")
    centre = Subject(Role.COUNTY_CENTRE, "cfc-1", ("990000",), "p1")

    assert may(finance, "fund.compensation.approve", case)
    assert not may(finance, "fund.compensation.approve", Resource(area="980700"))
    assert not may(centre, "fund.compensation.approve", case)
    both = Conditions(compensation_approvers=frozenset({"finance_bureau", "county_centre"}))
    assert may(centre, "fund.compensation.approve", case, both)


def test_a_programme_adds_to_the_platforms_conditions_and_takes_none_away() -> None:
    plain = access.conditions_of(GatewayRules())
    gateways = [pack.gateway for pack in load().packs.values() if pack.gateway]

    assert plain.compensation_approvers == Conditions().compensation_approvers
    assert not plain.self_service
    assert len(gateways) > 10
    for rules in gateways:
        made = access.conditions_of(rules)
        assert set(made.segregation) >= set(Conditions().segregation)
        assert made.compensation_approvers
