"""Scoring in columns: the same decisions as `scoring`, for a whole county at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.kernel.money import Fen
from services.programmes.schema.scoring import BasePointsScoring, ScoringRules, WeightedScoring
from services.programmes.schema.values import known
from services.programmes.scoring import (
    applies,
    bands_of,
    factor_score,
    uplifts_of,
    weights_of,
)

Column = Sequence[int | None]


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """One entry a household, in the order of the input columns."""

    score_centi: list[int]
    vetoed: list[bool]
    grade: list[str | None]
    base_limit_fen: list[Fen]
    uplift_fen: list[Fen]
    limit_fen: list[Fen]


def score_by_points(
    scheme: BasePointsScoring,
    indicators: Mapping[str, Column],
    honours: Sequence[str | None],
    *,
    waived: Mapping[str, Sequence[bool]] | None = None,
) -> ScoreColumns:
    """
    Score `len(honours)` households; an indicator without a column is unknown for all.

    `waived` says for a deduction's id which households do not bear it.
    """
    rows = len(honours)
    assert all(len(column) == rows for column in indicators.values())
    scores = [scheme.base_points_centi] * rows
    for adjustment in known(scheme.adjustments):
        # One verdict a distinct value: a county has few of them.
        column = indicators.get(adjustment.reads, ())
        earned = {value: applies(adjustment, value) for value in set(column)}
        points = adjustment.points_centi
        spared = (waived or {}).get(adjustment.id, ()) if points < 0 else ()
        for row, value in enumerate(column):
            if earned[value] and not (spared and spared[row]):
                scores[row] += points
    return _graded(scheme, scores, _vetoed(scheme, indicators, rows), honours)


def score_by_weights(
    scheme: WeightedScoring,
    indicators: Mapping[str, Column],
    honours: Sequence[str | None],
) -> ScoreColumns:
    """The same under a weighted scheme; a factor without a score counts 0."""
    rows = len(honours)
    assert all(len(column) == rows for column in indicators.values())
    scores = [0] * rows
    for code, weight in weights_of(scheme):
        column = indicators.get(code, ())
        worth = {value: weight * factor_score(code, value or 0) for value in set(column)}
        for row, value in enumerate(column):
            scores[row] += worth[value]
    return _graded(scheme, scores, _vetoed(scheme, indicators, rows), honours)


def _vetoed(scheme: ScoringRules, indicators: Mapping[str, Column], rows: int) -> list[bool]:
    vetoed = [False] * rows
    for veto in scheme.vetoes:
        for row, value in enumerate(indicators.get(veto.reads, ())):
            if value is not None and value >= 1:
                vetoed[row] = True
    return vetoed


def _graded(
    scheme: ScoringRules,
    scores: list[int],
    vetoed: list[bool],
    honours: Sequence[str | None],
) -> ScoreColumns:
    bands = bands_of(scheme)
    place = {band.grade: index for index, band in enumerate(bands)}
    lowest = place[scheme.min_grade] if scheme.min_grade else 0
    by_score: dict[int, int] = {}
    for score in set(scores):
        reached = [index for index, band in enumerate(bands) if score >= band.min_score_centi]
        by_score[score] = reached[-1] if reached and reached[-1] >= lowest else -1
    uplifts = uplifts_of(scheme)
    honour_from = place[scheme.honours.min_grade] if scheme.honours else len(bands)

    grades: list[str | None] = []
    base: list[Fen] = []
    uplift: list[Fen] = []
    for score, barred, honour in zip(scores, vetoed, honours, strict=True):
        index = -1 if barred else by_score[score]
        grades.append(bands[index].grade if index >= 0 else None)
        base.append(bands[index].limit_fen if index >= 0 else Fen(0))
        uplift.append(uplifts.get(honour or "", Fen(0)) if 0 <= index >= honour_from else Fen(0))
    total = [Fen(low + high) for low, high in zip(base, uplift, strict=True)]
    return ScoreColumns(scores, vetoed, grades, base, uplift, total)
