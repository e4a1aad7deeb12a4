"""Scoring: points, vetoes, grades and limits of one household."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from services.kernel.errors import Refused
from services.kernel.money import Fen, ceil_div
from services.programmes.schema.scoring import (
    Adjustment,
    BasePointsScoring,
    CreditArea,
    DeductionWaiver,
    ExternalScoring,
    Gate,
    ScoringRules,
    Target,
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
class ReadyPoints:
    """A base-points scheme with nothing open, its clauses as plain values."""

    base_points_centi: int
    adjustments: tuple[tuple[str, str, int, int | None, int], ...]
    """Each as its id, what it reads, from, to, and its points."""
    vetoes: tuple[tuple[str, str], ...]
    """Each as its id and what it reads."""
    bands: tuple[Band, ...]
    min_grade: str | None
    uplifts: Mapping[str, Fen]
    honour_min_grade: str | None


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


@dataclass(frozen=True, slots=True)
class TargetResult:
    """Whether a share is reached, and how many that takes."""

    met: bool
    needed: int
    working: str


def weighted(
    factors: Sequence[Weighted],
    bands: Sequence[Band] = (),
    *,
    vetoes: Sequence[str] = (),
    min_grade: str | None = None,
    honour: str | None = None,
    uplifts: Mapping[str, Fen] | None = None,
    honour_min_grade: str | None = None,
) -> Score:
    """Sum of weight times score; the weights make 100."""
    assert sum(factor.weight_pct for factor in factors) == 100, "the pack's check says so"
    score_centi = sum(
        factor.weight_pct * factor_score(factor.code, factor.score) for factor in factors
    )
    sums = " + ".join(f"{factor.weight_pct}×{factor.score}" for factor in factors)
    return _graded(
        score_centi,
        bands,
        f"{sums} = {score_centi}",
        vetoes=vetoes,
        min_grade=min_grade,
        honour=honour,
        uplifts=uplifts,
        honour_min_grade=honour_min_grade,
    )


def factor_score(code: str, score: int) -> int:
    """A factor's score as it is, or a refusal of what is not 0 to 100."""
    if not 0 <= score <= 100:
        raise Refused(
            "FACTOR_SCORE_OUT_OF_RANGE",
            f"factor {code} has the score {score}, which is not 0 to 100",
            message_zh=f"指标 {code} 的得分 {score} 不在 0 至 100 之间",
            facts={"factor": code},
        )
    return score


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
    sums = "".join(f" {value:+d} {code}" for code, value in points)
    return _graded(
        score_centi,
        bands,
        f"{base_centi}{sums} = {score_centi}",
        vetoes=vetoes,
        min_grade=min_grade,
        honour=honour,
        uplifts=uplifts,
        honour_min_grade=honour_min_grade,
    )


def _graded(
    score_centi: int,
    bands: Sequence[Band],
    working: str,
    *,
    vetoes: Sequence[str],
    min_grade: str | None,
    honour: str | None,
    uplifts: Mapping[str, Fen] | None,
    honour_min_grade: str | None,
) -> Score:
    band = None if vetoes else _at_least(band_of(score_centi, bands), min_grade, bands)
    base_limit_fen = band.limit_fen if band else Fen(0)
    honoured = _at_least(band, honour_min_grade, bands)
    uplift_fen = (uplifts or {}).get(honour or "", Fen(0)) if honoured else Fen(0)
    grade = band.grade if band else None
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
    scheme: BasePointsScoring,
    indicators: Mapping[str, int],
    honour: str | None = None,
    *,
    waived: Collection[str] = (),
) -> Score:
    """
    One household under a pack's base-points scheme; yes is 1 and no is 0 in the indicators.

    `waived` names the deductions that count zero for this household (`deduction_waiver_of`).
    """
    return score_ready(ready_points(scheme), indicators, honour, waived=waived)


def ready_points(scheme: BasePointsScoring) -> ReadyPoints:
    """The scheme made ready for many households; refused while a value of it is open."""
    return ReadyPoints(
        base_points_centi=scheme.base_points_centi,
        adjustments=tuple(
            (each.id, each.reads, each.min, each.max, each.points_centi)
            for each in known(scheme.adjustments)
        ),
        vetoes=tuple((veto.id, veto.reads) for veto in scheme.vetoes),
        bands=bands_of(scheme),
        min_grade=scheme.min_grade,
        uplifts=uplifts_of(scheme),
        honour_min_grade=scheme.honours.min_grade if scheme.honours else None,
    )


def score_ready(
    scheme: ReadyPoints,
    indicators: Mapping[str, int],
    honour: str | None = None,
    *,
    waived: Collection[str] = (),
) -> Score:
    """`score_by_points` under a scheme that is ready."""
    points = [
        (code, 0 if earned < 0 and code in waived else earned)
        for code, reads, least, most, earned in scheme.adjustments
        if (value := indicators.get(reads)) is not None
        and least <= value
        and (most is None or value <= most)
    ]
    return base_points(
        scheme.base_points_centi,
        points,
        scheme.bands,
        vetoes=[veto for veto, reads in scheme.vetoes if indicators.get(reads, 0) >= 1],
        min_grade=scheme.min_grade,
        honour=honour,
        uplifts=scheme.uplifts,
        honour_min_grade=scheme.honour_min_grade,
    )


def score_by_weights(
    scheme: WeightedScoring, indicators: Mapping[str, int], honour: str | None = None
) -> Score:
    """
    One household under a pack's weighted scheme.

    The indicators hold the factors' scores, 0 to 100 (a factor without one counts 0), and what
    the vetoes read.
    """
    factors = [
        Weighted(code, weight, indicators.get(code, 0)) for code, weight in weights_of(scheme)
    ]
    return weighted(
        factors,
        bands_of(scheme),
        vetoes=vetoes_hit(scheme.vetoes, indicators),
        min_grade=scheme.min_grade,
        honour=honour,
        uplifts=uplifts_of(scheme),
        honour_min_grade=scheme.honours.min_grade if scheme.honours else None,
    )


def score_by_model(
    scheme: ExternalScoring, score_centi: int, model_id: str, indicators: Mapping[str, int]
) -> Score:
    """A model's score under the pack's grades; the working keeps the model's id."""
    return _graded(
        score_centi,
        bands_of(scheme),
        f"{score_centi} by model {model_id}",
        vetoes=vetoes_hit(scheme.vetoes, indicators),
        min_grade=scheme.min_grade,
        honour=None,
        uplifts=None,
        honour_min_grade=None,
    )


def weights_of(scheme: WeightedScoring) -> tuple[tuple[str, int], ...]:
    """A scheme's factors and weights; refused while any of them is open."""
    return tuple((factor.id, known(factor.weight_pct)) for factor in known(scheme.factors))


def uplifts_of(scheme: ScoringRules) -> Mapping[str, Fen]:
    """What each honour of a scheme adds to a limit."""
    if scheme.honours is None:
        return {}
    return {level.id: level.uplift_fen for level in scheme.honours.levels}


def bands_of(scheme: ScoringRules) -> tuple[Band, ...]:
    """A scheme's grades as bands, low to high; refused while one is open."""
    return tuple(
        Band(grade.id, known(grade.min_score_centi), known(grade.limit_fen))
        for grade in known(scheme.grades)
    )


def graded_rate_ppm(scheme: ScoringRules, grade: str, rate_ppm: int) -> int:
    """The rate after what a grade takes off it; never below zero."""
    for each in known(scheme.grades):
        if each.id == grade:
            reduction = each.rate_reduction_ppm
            return rate_ppm if reduction is None else max(0, rate_ppm - known(reduction))
    raise Refused("GRADE_UNKNOWN", f"{scheme.scheme} has no grade {grade}")


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
        if area.scope == scope and area.at_least_pct is not None:
            return credit_area(credited, total, known(area.at_least_pct))
    return None


def target_met(target: Target, count: int, total: int) -> TargetResult:
    """A target against counts, exactly; nothing to reach is reached."""
    needed = ceil_div(target.at_least_pct * total, 100)
    met = count * 100 >= target.at_least_pct * total
    return TargetResult(met, needed, f"{count} of {total} against {target.at_least_pct} %")


def deduction_waiver(
    points_centi: int, *, cause: str, subjective: bool, repaid_on_time_before: bool
) -> Waiver:
    """A deduction for what nobody could help, by who had always paid before, counts zero (S48)."""
    waived = cause == "force_majeure" and not subjective and repaid_on_time_before
    applied = 0 if waived else points_centi
    working = f"{points_centi} for {cause}: {'waived' if waived else 'counts'}"
    return Waiver(waived, applied, working)


def deduction_waiver_of(
    waivers: Sequence[DeductionWaiver],
    points_centi: int,
    *,
    cause: str,
    subjective: bool,
    repaid_on_time_before: bool,
) -> Waiver:
    """The same by a pack's clauses; without one for the cause, the deduction counts."""
    for waiver in waivers:
        if (
            waiver.cause == cause
            and not (waiver.only_without_fault and subjective)
            and (repaid_on_time_before or not waiver.only_if_repaid_on_time_before)
        ):
            return Waiver(True, 0, f"{points_centi} for {cause}: waived by {waiver.id}")
    return Waiver(False, points_centi, f"{points_centi} for {cause}: counts")


def _at_least(band: Band | None, grade: str | None, bands: Sequence[Band]) -> Band | None:
    if band is None or grade is None:
        return band
    floor = next(each for each in bands if each.grade == grade)
    return band if band.min_score_centi >= floor.min_score_centi else None
