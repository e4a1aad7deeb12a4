"""What a pack must say of scoring for a golden case to be its own."""

from collections.abc import Callable, Mapping

from services.programmes import scoring
from services.programmes.cases.values import Case
from services.programmes.schema.scoring import BasePointsScoring
from services.programmes.terms import Terms


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


SAYS: Mapping[str, Callable[[Terms, Case], None]] = {
    "scoring.base_points": base_points,
    "scoring.credit_area": credit_area,
}
