"""What a pack must say of monitoring for a golden case to be its own."""

from collections.abc import Callable, Mapping

from services.programmes import breakers
from services.programmes.cases.values import Case
from services.programmes.terms import Terms


def circuit_breaker(terms: Terms, given: Case) -> None:
    village = breakers.ratio_breaker(terms.monitoring.breakers, "village")
    assert village is not None
    assert village.more_than_ppm == given["village_threshold_ppm"]
    township_breaker(terms, {"threshold_pct": given["township_threshold_pct"]})


def township_breaker(terms: Terms, given: Case) -> None:
    township = breakers.villages_breaker(terms.monitoring.breakers)
    assert township is not None
    assert township.at_least_pct == given["threshold_pct"]


SAYS: Mapping[str, Callable[[Terms, Case], None]] = {
    "monitoring.circuit_breaker": circuit_breaker,
    "monitoring.township_breaker": township_breaker,
}
