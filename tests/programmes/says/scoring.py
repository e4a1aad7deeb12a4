"""What a pack must say of scoring for a golden case to be its own."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from services.programmes import scoring
from services.programmes.cases.values import Case
from services.programmes.loader import Catalogue, load
from services.programmes.schema.scoring import BasePointsScoring, WeightedScoring
from services.programmes.schema.values import known
from services.programmes.terms import Terms

COUNTIES = Path(__file__).resolve().parents[1] / "county"
EXAMPLE = "example-scoring"


@cache
def catalogue() -> Catalogue:
    return load([COUNTIES])


def completed(programme: str) -> Terms:
    """A programme with the example values of a county, which sets only what is open."""
    ref = f"{programme}:{EXAMPLE}"
    (county,) = (county for county, name in catalogue().overlaid if name == ref)
    return catalogue().terms(county, ref)


def base_points(terms: Terms, given: Case) -> None:
    scheme = terms.scoring
    assert isinstance(scheme, BasePointsScoring)
    assert scheme.base_points_centi == given["base"] * 100
    bands = [
        (band.grade, band.min_score_centi, band.limit_fen) for band in scoring.bands_of(scheme)
    ]
    assert bands == [(b["grade"], b["min_score"] * 100, b["limit_fen"]) for b in given["bands"]]
    assert set(given["veto_hits"]) <= {veto.id for veto in scheme.vetoes}
    if "honour_uplift_fen" in given:
        assert scheme.honours is not None
        uplifts = {level.id: level.uplift_fen for level in scheme.honours.levels}
        assert uplifts == {**given["honour_uplift_fen"], "law_abiding": 0}


def credit_area(terms: Terms, given: Case) -> None:
    said = {area.scope: area.at_least_pct for area in terms.scoring.credit_areas}
    assert said[given["area"]] == given["threshold_pct"]


def weighted(terms: Terms, given: Case) -> None:
    scheme = terms.scoring
    assert isinstance(scheme, WeightedScoring)
    assert scheme.scheme == given["scheme"].replace("-", "_")
    weights = {factor["code"]: factor["weight_pct"] for factor in given["factors"]}
    assert dict(scoring.weights_of(scheme)) == weights
    if "bands" not in given:
        return
    whole = completed(terms.ref).scoring
    assert isinstance(whole, WeightedScoring)
    wanted = {b["grade"]: (b["min_score_centi"], b["limit_fen"]) for b in given["bands"]}
    said = {band.grade: (band.min_score_centi, band.limit_fen) for band in scoring.bands_of(whole)}
    assert said == wanted
    score = scoring.score_by_weights(whole, {f["code"]: f["score"] for f in given["factors"]})
    assert score.score_centi == sum(f["weight_pct"] * f["score"] for f in given["factors"])


def gate(terms: Terms, given: Case) -> None:
    gates = known(terms.eligibility.gates)
    assert [each.code for each in gates] == [each["code"] for each in given["gates"]]
    held = {each["code"]: int(each["passed"]) for each in given["gates"]}
    assert scoring.gates_held(gates, held).eligible == all(held.values())


def deduction_waiver(terms: Terms, given: Case) -> None:
    facts = {key: given[key] for key in ("cause", "subjective", "repaid_on_time_before")}
    points_centi = given["points"] * 100
    said = scoring.deduction_waiver_of(terms.scoring.waivers, points_centi, **facts)
    assert said.waived == scoring.deduction_waiver(points_centi, **facts).waived


SAYS: Mapping[str, Callable[[Terms, Case], None]] = {
    "scoring.base_points": base_points,
    "scoring.credit_area": credit_area,
    "scoring.deduction_waiver": deduction_waiver,
    "scoring.gate": gate,
    "scoring.weighted": weighted,
}
