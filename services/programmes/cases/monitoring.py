"""Cases: what a case says of monitoring."""

from collections.abc import Callable, Mapping

from services.programmes import breakers, bulletins, indicators, issues
from services.programmes.cases.values import Case, day


def circuit_breaker(given: Case) -> Case:
    result = breakers.circuit(
        [
            breakers.Village(each["id"], each["npl_fen"], each["outstanding_fen"])
            for each in given["villages"]
        ],
        village_more_than_ppm=given["village_threshold_ppm"],
        township_at_least_pct=given["township_threshold_pct"],
    )
    return {
        "tripped_villages": list(result.tripped_villages),
        "township_tripped": result.township_tripped,
        "villages_needed": result.villages_needed,
    }


def township_breaker(given: Case) -> Case:
    result = breakers.township(
        given["tripped_villages"], given["total_villages"], at_least_pct=given["threshold_pct"]
    )
    return {"tripped": result.tripped, "villages_needed": result.villages_needed}


def npl_suspension(given: Case) -> Case:
    result = breakers.npl_ratio(
        given["npl_fen"], given["outstanding_fen"], more_than_ppm=given["threshold_ppm"]
    )
    return {"suspended": result.tripped}


def recovery_rate(given: Case) -> Case:
    result = breakers.recovery_rate(
        [breakers.CollectionMonth(**month) for month in given["months"]],
        less_than_ppm=given["threshold_ppm"],
        consecutive=given["consecutive"],
    )
    return {"suspended": result.suspended, "suspended_after": result.suspended_after}


def npl_tolerance(given: Case) -> Case:
    result = breakers.npl_tolerance(
        given["micro_npl_fen"],
        given["micro_outstanding_fen"],
        given["all_npl_fen"],
        given["all_outstanding_fen"],
        tolerance_ppm=given["tolerance_ppm"],
    )
    return {"tolerated": result.tolerated}


def bulletin(given: Case) -> Case:
    loans = [
        bulletins.LoanLine(
            each["id"],
            day(each["maturity_on"]),
            each["principal_due_fen"],
            each["principal_outstanding_fen"],
            each["interest_overdue_fen"],
        )
        for each in given["loans"]
    ]
    result = bulletins.bulletin(day(given["report_on"]), loans)
    return {
        "due_this_month_fen": result.due_this_month_fen,
        "overdue_principal_fen": result.overdue_principal_fen,
        "overdue_interest_fen": result.overdue_interest_fen,
        "due_next_month_fen": result.due_next_month_fen,
    }


def compliance(given: Case) -> Case:
    result = issues.compliance({check["code"]: check["hit"] for check in given["checks"]})
    return {"compliant": result.compliant, "issues": list(result.issues)}


def overdue_report(given: Case) -> Case:
    result = indicators.overdue_report(**given)
    return {
        "overdue_count": result.overdue_count,
        "overdue_fen": result.overdue_fen,
        "overdue_ratio_pct": result.overdue_ratio_pct,
    }


def ratio(given: Case) -> Case:
    result = indicators.ratio(given["numerator"], given["denominator"], decimals=given["decimals"])
    return {"pct": result.pct}


def count_check(given: Case) -> Case:
    return {"result": indicators.count_check(given["plus"], given["minus"]).result}


RULES: Mapping[str, Callable[[Case], Case]] = {
    "monitoring.bulletin": bulletin,
    "monitoring.circuit_breaker": circuit_breaker,
    "monitoring.compliance": compliance,
    "monitoring.count_check": count_check,
    "monitoring.npl_suspension": npl_suspension,
    "monitoring.npl_tolerance": npl_tolerance,
    "monitoring.overdue_report": overdue_report,
    "monitoring.ratio": ratio,
    "monitoring.recovery_rate": recovery_rate,
    "monitoring.township_breaker": township_breaker,
}
