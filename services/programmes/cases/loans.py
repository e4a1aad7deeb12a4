"""Cases: what a case says of loans."""

from collections.abc import Callable, Mapping

from services.programmes import (
    calendars,
    delinquency,
    drawdown,
    interest,
    limits,
    pricing,
    sanctions,
)
from services.programmes.cases.values import Case, calendar, day
from services.programmes.schema.loans import Subsidy, SubsidyMode
from services.programmes.schema.monitoring import FiveTier, TierFrom
from services.programmes.schema.sanctions import Relation


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


def sanction_check(given: Case) -> Case:
    result = sanctions.sanction_check(
        [Relation(relation) for relation in given["relations"]],
        Relation(given["relation"]),
        sanctioned_on=day(given["sanctioned_on"]),
        ban_months=given["ban_years"] * 12,
        on=day(given["applied_on"]),
    )
    assert result.blocked_until is not None
    return {"blocked_until": result.blocked_until.isoformat(), "blocked": result.blocked}


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


RULES: Mapping[str, Callable[[Case], Case]] = {
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
    "loans.sanction_check": sanction_check,
    "loans.sla": sla,
    "loans.subsidy_stop": subsidy_stop,
}
