"""Scoring: points, vetoes, grades and limits of one household."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.kernel.money import Fen, ceil_div
from services.programmes.schema.scoring import (
    Adjustment,
    BasePointsScoring,
    CreditArea,
    Gate,
    Veto,
    WeightedScoring,
)
from services.programmes.schema.values import known


@dataclass(frozen=True, slots=True)
class Band:
    """A grade, the lowest score that earns it, and its limit."""

    grade: str
    min_score_centi: int
    limit_fen: Fen


@dataclass(frozen=True, slots=True)
class Weighted:
    """One factor of a weighted scheme: 0 to 100 points, in whole points."""

    code: str
    weight_pct: int
    score: int


@dataclass(frozen=True, slots=True)
class Score:
    """What a scheme makes of a household."""

    score_centi: int
    vetoes: tuple[str, ...]
    grade: str | None
    base_limit_fen: Fen
    uplift_fen: Fen
    limit_fen: Fen
    working: str

    @property
    def vetoed(self) -> bool:
        """Whether a veto refuses, whatever the score."""
        return bool(self.vetoes)


@dataclass(frozen=True, slots=True)
class GateResult:
    """Whether all gates hold, and which do not."""

    eligible: bool
    failed: tuple[str, ...]
    working: str


@dataclass(frozen=True, slots=True)
class AreaAward:
    """Whether an area is recognised, and how many units that takes."""

    awarded: bool
    min_units: int
    working: str


@dataclass(frozen=True, slots=True)
class Waiver:
    """The points that count after looking at why something went wrong."""

    waived: bool
    applied_points_centi: int
    working: str


def weighted(factors: Sequence[Weighted], bands: Sequence[Band] = ()) -> Score:
    """Sum of weight times score; the weights make 100."""
    assert sum(factor.weight_pct for factor in factors) == 100, "the pack's check says so"
    assert all(0 <= factor.score <= 100 for factor in factors)
    score_centi = sum(factor.weight_pct * factor.score for factor in factors)
    band = band_of(score_centi, bands)
    sums = " + ".join(f"{factor.weight_pct}×{factor.score}" for factor in factors)
    limit_fen = band.limit_fen if band else Fen(0)
    grade = band.grade if band else None
    working = f"{sums} = {score_centi} → {grade or 'no grade'}, limit {limit_fen} fen"
    return Score(score_centi, (), grade, limit_fen, Fen(0), limit_fen, working)


def base_points(
    base_centi: int,
    points: Sequence[tuple[str, int]],
    bands: Sequence[Band],
    *,
    vetoes: Sequence[str] = (),
    min_grade: str | None = None,
    honour: str | None = None,
    uplifts: Mapping[str, Fen] | None = None,
    honour_min_grade: str | None = None,
) -> Score:
    """Base plus points; any veto takes the grade; an honour adds to the limit of a grade (S12)."""
    score_centi = base_centi + sum(value for _, value in points)
    band = None if vetoes else _at_least(band_of(score_centi, bands), min_grade, bands)
    base_limit_fen = band.limit_fen if band else Fen(0)
    honoured = _at_least(band, honour_min_grade, bands)
    uplift_fen = (uplifts or {}).get(honour or "", Fen(0)) if honoured else Fen(0)
    grade = band.grade if band else None
    sums = "".join(f" {value:+d} {code}" for code, value in points)
    working = f"{base_centi}{sums} = {score_centi}"
    working += f"; veto {', '.join(vetoes)}" if vetoes else ""
    working += f" → {grade or 'no grade'}, limit {base_limit_fen}"
    working += f" + {uplift_fen} ({honour})" if uplift_fen else ""
    limit_fen = Fen(base_limit_fen + uplift_fen)
    return Score(
        score_centi, tuple(vetoes), grade, base_limit_fen, uplift_fen, limit_fen, f"{working} fen"
    )


def band_of(score_centi: int, bands: Sequence[Band]) -> Band | None:
    """The highest band whose minimum is reached (inclusive), in whatever order they come."""
    reached = [band for band in bands if score_centi >= band.min_score_centi]
    return max(reached, key=lambda band: band.min_score_centi, default=None)


def score_by_points(
    scheme: BasePointsScoring, indicators: Mapping[str, int], honour: str | None = None
) -> Score:
    """One household under a pack's base-points scheme; yes is 1 and no is 0 in the indicators."""
    honours = scheme.honours
    return base_points(
        scheme.base_points_centi,
        points_of(known(scheme.adjustments), indicators),
        bands_of(scheme),
        vetoes=vetoes_hit(scheme.vetoes, indicators),
        min_grade=scheme.min_grade,
        honour=honour,
        uplifts={level.id: level.uplift_fen for level in honours.levels} if honours else None,
        honour_min_grade=honours.min_grade if honours else None,
    )


def score_by_weights(scheme: WeightedScoring, scores: Mapping[str, int]) -> Score:
    """One household under a pack's weighted scheme; a factor without a score counts 0."""
    factors = [
        Weighted(factor.id, factor.weight_pct, scores.get(factor.id, 0))
        for factor in known(scheme.factors)
    ]
    return weighted(factors, bands_of(scheme))


def bands_of(scheme: BasePointsScoring | WeightedScoring) -> tuple[Band, ...]:
    """A scheme's grades as bands, low to high; refused while one is open."""
    return tuple(
        Band(grade.id, known(grade.min_score_centi), known(grade.limit_fen))
        for grade in scheme.grades
    )


def points_of(
    adjustments: Sequence[Adjustment], indicators: Mapping[str, int]
) -> tuple[tuple[str, int], ...]:
    """The adjustments whose indicator lies in their range, and their points."""
    return tuple(
        (adjustment.id, adjustment.points_centi)
        for adjustment in adjustments
        if applies(adjustment, indicators.get(adjustment.reads))
    )


def applies(adjustment: Adjustment, value: int | None) -> bool:
    """Whether an indicator's value earns the adjustment; an unknown value earns nothing."""
    if value is None or value < adjustment.min:
        return False
    return adjustment.max is None or value <= adjustment.max


def vetoes_hit(vetoes: Sequence[Veto], indicators: Mapping[str, int]) -> tuple[str, ...]:
    """The vetoes whose indicator is set, in declared order."""
    return tuple(veto.id for veto in vetoes if indicators.get(veto.reads, 0) >= 1)


def gates_held(gates: Sequence[Gate], indicators: Mapping[str, int]) -> GateResult:
    """All of a pack's gates against a household's indicators; unknown is not held."""
    return gate([(each.code, indicators.get(each.code, 0) >= 1) for each in gates])


def gate(gates: Sequence[tuple[str, bool]]) -> GateResult:
    """Eligible if every gate holds; what fails is named in declared order."""
    failed = tuple(code for code, held in gates if not held)
    working = f"{len(gates) - len(failed)} of {len(gates)} gates hold"
    working += f"; failed: {', '.join(failed)}" if failed else ""
    return GateResult(not failed, failed, working)


def credit_area(credited: int, total: int, at_least_pct: int) -> AreaAward:
    """An area is recognised when enough of its units are; exactly enough counts (S01)."""
    min_units = ceil_div(at_least_pct * total, 100)
    awarded = total > 0 and credited * 100 >= at_least_pct * total
    working = f"{credited} of {total} against {at_least_pct} %: {min_units} needed"
    return AreaAward(awarded, min_units, working)


def credit_area_of(
    areas: Sequence[CreditArea], scope: str, credited: int, total: int
) -> AreaAward | None:
    """The same by a pack's clause; None where it says nothing of the scope."""
    for area in areas:
        if area.scope == scope:
            return credit_area(credited, total, area.at_least_pct)
    return None


def deduction_waiver(
    points_centi: int, *, cause: str, subjective: bool, repaid_on_time_before: bool
) -> Waiver:
    """A deduction for what nobody could help, by who had always paid before, counts zero (S48)."""
    waived = cause == "force_majeure" and not subjective and repaid_on_time_before
    applied = 0 if waived else points_centi
    working = f"{points_centi} for {cause}: {'waived' if waived else 'counts'}"
    return Waiver(waived, applied, working)


def _at_least(band: Band | None, grade: str | None, bands: Sequence[Band]) -> Band | None:
    if band is None or grade is None:
        return band
    floor = next(each for each in bands if each.grade == grade)
    return band if band.min_score_centi >= floor.min_score_centi else None
