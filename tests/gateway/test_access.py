"""The table of rights: complete, denying by default, and what it says for some who matter."""

import pytest

from gateway import access
from gateway.routes import ROUTES
from services.kernel.errors import Denied
from services.programmes.schema.deployment import InstitutionRole as Role


def test_every_method_of_the_protos_has_a_row_and_no_row_is_of_a_method_that_is_gone() -> None:
    assert set(access.TABLE) == {route.method for route in ROUTES}


def test_no_row_is_empty_and_every_role_may_at_least_ask_who_it_is() -> None:
    assert all(access.TABLE.values())
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
        ("insurer", "loans.v1.LoansService/DisburseLoan"),
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
            assert access.TABLE[route.method] == {Role.OPERATOR}


def test_auditors_change_nothing() -> None:
    assert [
        route.method
        for route in ROUTES
        if route.command and access.may_call("auditor", route.method)
    ] == []
