"""Cases: what a case says of monitoring."""

from collections.abc import Callable, Mapping

from services.programmes import breakers
from services.programmes.cases.values import Case


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


RULES: Mapping[str, Callable[[Case], Case]] = {
    "monitoring.circuit_breaker": circuit_breaker,
    "monitoring.npl_suspension": npl_suspension,
    "monitoring.township_breaker": township_breaker,
}
