"""Cases: what a case says of scoring."""

from collections.abc import Callable, Mapping

from services.programmes import scoring
from services.programmes.cases.values import CENTI, Case


def base_points(given: Case) -> Case:
    result = scoring.base_points(
        given["base"] * CENTI,
        [(each["code"], each["points"] * CENTI) for each in given["adjustments"]],
        [
            scoring.Band(band["grade"], band["min_score"] * CENTI, band["limit_fen"])
            for band in given["bands"]
        ],
        vetoes=given["veto_hits"],
        honour=given.get("honour"),
        uplifts=given.get("honour_uplift_fen"),
    )
    score, rest = divmod(result.score_centi, CENTI)
    assert rest == 0
    return {
        "score": score,
        "vetoed": result.vetoed,
        "grade": result.grade,
        "base_limit_fen": result.base_limit_fen,
        "uplift_fen": result.uplift_fen,
        "limit_fen": result.limit_fen,
    }


def weighted(given: Case) -> Case:
    result = scoring.weighted(
        [
            scoring.Weighted(factor["code"], factor["weight_pct"], factor["score"])
            for factor in given["factors"]
        ],
        [
            scoring.Band(band["grade"], band["min_score_centi"], band["limit_fen"])
            for band in given.get("bands", ())
        ],
    )
    if "bands" not in given:
        return {"score_centi": result.score_centi}
    return {
        "score_centi": result.score_centi,
        "grade": result.grade,
        "limit_fen": result.limit_fen,
    }


def credit_area(given: Case) -> Case:
    result = scoring.credit_area(given["credited"], given["total"], given["threshold_pct"])
    return {"awarded": result.awarded, "min_units": result.min_units}


def deduction_waiver(given: Case) -> Case:
    result = scoring.deduction_waiver(
        given["points"] * CENTI,
        cause=given["cause"],
        subjective=given["subjective"],
        repaid_on_time_before=given["repaid_on_time_before"],
    )
    return {"waived": result.waived, "applied_points": result.applied_points_centi // CENTI}


def gate(given: Case) -> Case:
    result = scoring.gate([(each["code"], each["passed"]) for each in given["gates"]])
    return {"eligible": result.eligible, "failed": list(result.failed)}


RULES: Mapping[str, Callable[[Case], Case]] = {
    "scoring.base_points": base_points,
    "scoring.credit_area": credit_area,
    "scoring.deduction_waiver": deduction_waiver,
    "scoring.gate": gate,
    "scoring.weighted": weighted,
}
