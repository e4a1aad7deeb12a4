"""Credit: a programme's scoring made ready, and what it makes of a household's values."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.credit.model import Hold, Override, Pins
from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.programmes.schema.scoring import BasePointsScoring, WeightedScoring
from services.programmes.schema.values import Open, known
from services.programmes.scoring import (
    Band,
    Score,
    bands_of,
    score_by_points,
    score_by_weights,
    vetoes_hit,
)
from services.programmes.terms import Terms

FACTOR_MAX = 100
"""A factor of a weighted scheme is scored from 0 to this."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """A programme's scoring with nothing open that it needs, ready to rate many households."""

    ref: str
    scoring: BasePointsScoring | WeightedScoring
    validity_months: int | None
    observation_months: int | Open | None
    """After a veto; open holds a household back, for nobody knows how long."""
    digest: str
    """SHA-256 of the clauses, as they were read."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """The grades, low to high."""
        return bands_of(self.scoring)


def scheme_of(terms: Terms) -> Scheme:
    """The scheme to rate under; refused by key while a value that it needs is open."""
    scoring = terms.scoring
    if isinstance(scoring, BasePointsScoring):
        known(scoring.adjustments)
    else:
        known(scoring.factors)
    bands_of(scoring)
    months = scoring.limit_validity_months
    text = scoring.model_dump_json(exclude_defaults=True)
    return Scheme(
        ref=terms.ref,
        scoring=scoring,
        validity_months=None if months is None else known(months),
        observation_months=scoring.observation_months,
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def missing_factors(scheme: Scheme, values: Mapping[str, int]) -> tuple[str, ...]:
    """Factors of a weighted scheme that nobody has scored: missing is not zero."""
    if not isinstance(scheme.scoring, WeightedScoring):
        return ()
    return tuple(
        factor.id for factor in known(scheme.scoring.factors) if factor.id not in values
    )


def require_factors(scheme: Scheme, values: Mapping[str, int]) -> None:
    """Refuse to score a household of which a factor is missing."""
    if missing := missing_factors(scheme, values):
        raise Refused(
            "FACTOR_SCORES_MISSING",
            f"{scheme.ref} needs scores that nobody has given: {', '.join(missing)}",
            message_zh=f"方案 {scheme.ref} 缺少评分项:{'、'.join(missing)}",
            facts={"missing": ",".join(missing)},
        )


def score(scheme: Scheme, values: Mapping[str, int], honour: str, pins: Pins) -> Score:
    """What comes out: the scheme's own score, then what people decided, then what holds it back."""
    scoring = _without(scheme.scoring, pins.waived)
    if isinstance(scoring, BasePointsScoring):
        made = score_by_points(scoring, values, honour or None)
    else:
        require_factors(scheme, values)
        made = _graded(scheme, score_by_weights(scoring, values), values, honour)
    if pins.waived:
        made = replace(made, working=f"{made.working}; waived: {', '.join(pins.waived)}")
    if pins.override is not None and not made.vetoes:
        made = _overridden(scheme, made, pins.override, honour)
    return _held(_capped(_rewarded(made, pins.reward_fen), pins.cap_fen), pins.holds)


def limit_of(scheme: Scheme, grade: str) -> Fen | None:
    """The limit that the scheme gives a grade; None for a grade that it lacks."""
    for band in scheme.bands:
        if band.grade == grade:
            return band.limit_fen
    return None


def uplift_of(scheme: Scheme, grade: str, honour: str) -> Fen:
    """What an honour adds to the limit of a grade (S12)."""
    honours = scheme.scoring.honours
    names = [band.grade for band in scheme.bands]
    if honours is None or grade not in names:
        return Fen(0)
    if names.index(grade) < names.index(honours.min_grade):
        return Fen(0)
    return next((level.uplift_fen for level in honours.levels if level.id == honour), Fen(0))


def _without(
    scoring: BasePointsScoring | WeightedScoring, waived: Sequence[str]
) -> BasePointsScoring | WeightedScoring:
    """The same scheme with the waived deductions at nothing (S48)."""
    if not waived or not isinstance(scoring, BasePointsScoring):
        return scoring
    adjustments = tuple(
        each.model_copy(update={"points_centi": 0})
        if each.id in waived and each.points_centi < 0
        else each
        for each in known(scoring.adjustments)
    )
    return scoring.model_copy(update={"adjustments": adjustments})


def _graded(scheme: Scheme, made: Score, values: Mapping[str, int], honour: str) -> Score:
    """A weighted score with the vetoes, the lowest grade and the honours of its scheme."""
    scoring = scheme.scoring
    names = [band.grade for band in scheme.bands]
    vetoes = made.vetoes or vetoes_hit(scoring.vetoes, values)
    floor = names.index(scoring.min_grade) if scoring.min_grade else 0
    if made.grade is None or vetoes or names.index(made.grade) < floor:
        why = f"; veto {', '.join(vetoes)} → no grade" if vetoes else ""
        working = f"{made.working}{why}"
        return Score(made.score_centi, tuple(vetoes), None, Fen(0), Fen(0), Fen(0), working)
    if made.uplift_fen:
        return made
    uplift = uplift_of(scheme, made.grade, honour)
    told = f" + {uplift} ({honour}) fen" if uplift else ""
    return replace(
        made,
        uplift_fen=uplift,
        limit_fen=Fen(made.base_limit_fen + uplift),
        working=f"{made.working}{told}",
    )


def _overridden(scheme: Scheme, made: Score, override: Override, honour: str) -> Score:
    base = limit_of(scheme, override.grade)
    assert base is not None, "refused when it was proposed"
    if override.limit_fen is not None:
        base = min(base, override.limit_fen)
    uplift = uplift_of(scheme, override.grade, honour)
    told = f"; decided by people: {override.grade}, limit {base} + {uplift} fen"
    return replace(
        made,
        grade=override.grade,
        base_limit_fen=base,
        uplift_fen=uplift,
        limit_fen=Fen(base + uplift),
        working=f"{made.working}{told} (review {override.review_id})",
    )


def _rewarded(made: Score, reward_fen: Fen) -> Score:
    if not reward_fen or made.grade is None or not made.limit_fen:
        return made
    uplift = Fen(made.uplift_fen + reward_fen)
    return replace(
        made,
        uplift_fen=uplift,
        limit_fen=Fen(made.base_limit_fen + uplift),
        working=f"{made.working}; + {reward_fen} fen for good payment",
    )


def _capped(made: Score, cap_fen: Fen | None) -> Score:
    if cap_fen is None or made.limit_fen <= cap_fen:
        return made
    base = min(made.base_limit_fen, cap_fen)
    return replace(
        made,
        base_limit_fen=base,
        uplift_fen=Fen(cap_fen - base),
        limit_fen=cap_fen,
        working=f"{made.working}; at most {cap_fen} fen",
    )


def _held(made: Score, holds: Sequence[Hold]) -> Score:
    if not holds:
        return made
    told = "; ".join(
        f"{hold.code} holds {'the grade' if hold.grade_too else 'the limit'} back"
        + (f" until {hold.until}" if hold.until else "")
        for hold in holds
    )
    grade = None if any(hold.grade_too for hold in holds) else made.grade
    return replace(
        made,
        grade=grade,
        base_limit_fen=Fen(0),
        uplift_fen=Fen(0),
        limit_fen=Fen(0),
        working=f"{made.working}; {told}",
    )
