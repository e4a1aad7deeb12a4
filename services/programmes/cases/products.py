"""Cases: what a case says of products: pledges, groups, renewals and revolving limits."""

from collections.abc import Callable, Mapping

from services.programmes import facilities, pledges, products
from services.programmes.cases.values import Case, day
from services.programmes.schema.pledges import InterestRefund

MONTHS_A_YEAR = 12
SALE = InterestRefund(when="sold_to_keeper")


def asset_deposit(given: Case) -> Case:
    result = pledges.asset_deposit(
        given["units"],
        unit_price_fen=given["unit_price_fen"],
        deposit_pct=given["deposit_pct"],
        monthly_rate_ppm=given["monthly_rate_ppm"],
    )
    decided: dict[str, object] = {
        "deposit_value_per_unit_fen": result.value_per_unit_fen,
        "interest_per_unit_month_fen": result.interest_per_unit_month_fen,
        "pledge_loan_fen": result.pledge_loan_fen,
    }
    if "loan_rate_ppm" in given:
        refund = pledges.interest_refund(
            SALE,
            result.pledge_loan_fen,
            loan_rate_ppm=given["loan_rate_ppm"],
            months=given["loan_months"],
            sold_to_keeper=given["sold_to_company"],
        )
        decided["loan_interest_fen"] = refund.loan_interest_fen
        decided["refund_fen"] = refund.refund_fen
    return decided


def collateral_cover(given: Case) -> Case:
    result = pledges.collateral_cover(
        given["loan_fen"], collateral_value_fen=given["collateral_value_fen"]
    )
    return {"accepted": result.accepted}


def collateral_limit(given: Case) -> Case:
    result = pledges.collateral_limit(
        given["units"], unit_value_fen=given["unit_value_fen"], advance_pct=given["advance_pct"]
    )
    return {"collateral_value_fen": result.collateral_value_fen, "limit_fen": result.limit_fen}


def group_micro(given: Case) -> Case:
    return {"amount_fen": products.per_capita(given["persons"], given["per_capita_fen"]).amount_fen}


def renewal(given: Case) -> Case:
    result = facilities.renewal(
        given["principal_fen"],
        interest_unpaid_fen=given["interest_unpaid_fen"],
        conditions=given["conditions"],
        max_subsidy_months=given["max_subsidy_months"],
        prior_subsidised_months=given["prior_subsidised_months"],
    )
    return {
        "allowed": result.allowed,
        "new_principal_fen": result.new_principal_fen,
        "principal_cash_fen": result.principal_cash_fen,
        "remaining_subsidy_months": result.remaining_subsidy_months,
    }


def revolving(given: Case) -> Case:
    result = facilities.revolving(
        given["limit_fen"],
        granted_on=day(given["granted_on"]),
        validity_months=given["validity_years"] * MONTHS_A_YEAR,
        movements=[
            facilities.Movement(event["type"], day(event["on"]), event["amount_fen"])
            for event in given["events"]
        ],
    )
    return {
        "last_valid_on": result.last_valid_on.isoformat(),
        "results": [
            {
                "accepted": moved.accepted,
                "reason": moved.reason,
                "outstanding_fen": moved.outstanding_fen,
                "available_fen": moved.available_fen,
            }
            for moved in result.results
        ],
    }


RULES: Mapping[str, Callable[[Case], Case]] = {
    "loans.asset_deposit": asset_deposit,
    "loans.collateral_cover": collateral_cover,
    "loans.collateral_limit": collateral_limit,
    "loans.group_micro": group_micro,
    "loans.renewal": renewal,
    "loans.revolving": revolving,
}
