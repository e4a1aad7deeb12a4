"""Credit: a programme's scoring made ready, and what it makes of a household's values."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.credit.model import Hold, Override, Pins
from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes.schema.scoring import (
    BasePointsScoring,
    ExternalScoring,
    Gate,
    ProposalScoring,
    ScoringRules,
    WeightedScoring,
)
from services.programmes.schema.values import Open, known
from services.programmes.scoring import (
    Band,
    ReadyPoints,
    Score,
    bands_of,
    ready_points,
    score_by_model,
    score_by_weights,
    score_ready,
    uplifts_of,
    vetoes_hit,
    weights_of,
)
from services.programmes.terms import Terms

FACTOR_MAX = 100
"""A factor of a weighted scheme is scored from 0 to this."""
RATED = "rated_and_granted"
"""The gate that a rating answers by itself: it cannot be asked before there is one."""
MODEL = "external_model:"
"""Before a model's id: its score as an input of a rating."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """A programme's scoring with nothing open that it needs, ready to rate many households."""

    ref: str
    scoring: ScoringRules
    validity_months: int | None
    observation_months: int | Open | None
    """After a veto; open holds a household back, for nobody knows how long."""
    digest: str
    """SHA-256 of the clauses, as they were read."""
    points: ReadyPoints | None = None
    """A base-points scheme's clauses as plain values."""
    gates: tuple[Gate, ...] = ()
    """What must hold besides the score; unknown is not held."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """The grades, low to high; none where people propose them."""
        return () if isinstance(self.scoring, ProposalScoring) else bands_of(self.scoring)

    @property
    def automatic(self) -> bool:
        """Whether data alone can make a grade."""
        return not isinstance(self.scoring, ProposalScoring)


def scheme_of(terms: Terms) -> Scheme:
    """The scheme to rate under; refused by key while a value that it needs is open."""
    scoring = terms.scoring
    points = ready_points(scoring) if isinstance(scoring, BasePointsScoring) else None
    if isinstance(scoring, WeightedScoring):
        weights_of(scoring)
    if not isinstance(scoring, ProposalScoring):
        bands_of(scoring)
    months = scoring.limit_validity_months
    text = scoring.model_dump_json(exclude_defaults=True)
    return Scheme(
        ref=terms.ref,
        scoring=scoring,
        validity_months=None if months is None else known(months),
        observation_months=scoring.observation_months,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        points=points,
        gates=_gates(terms),
    )


def _gates(terms: Terms) -> tuple[Gate, ...]:
    eligibility = terms.pack.eligibility
    if eligibility is None or isinstance(eligibility.gates, Open):
        return ()
    return tuple(gate for gate in eligibility.gates if gate.code != RATED)


def reads_of(scheme: Scheme) -> tuple[str, ...]:
    """Every indicator that the scheme reads, each once, in the pack's order."""
    scoring = scheme.scoring
    read: list[str] = []
    if isinstance(scoring, BasePointsScoring):
        read += [each.reads for each in known(scoring.adjustments)]
    elif isinstance(scoring, WeightedScoring):
        read += [code for code, _ in weights_of(scoring)]
    read += [veto.reads for veto in scoring.vetoes]
    return tuple(dict.fromkeys([*read, *(gate.code for gate in scheme.gates)]))


def missing_factors(scheme: Scheme, values: Mapping[str, int]) -> tuple[str, ...]:
    """Factors that nobody has scored, or a model's score that is not there: missing is not zero."""
    if isinstance(scheme.scoring, WeightedScoring):
        return tuple(code for code, _ in weights_of(scheme.scoring) if code not in values)
    if isinstance(scheme.scoring, ExternalScoring) and model_of(values) is None:
        return ("external_model",)
    return ()


def model_of(values: Mapping[str, int]) -> str | None:
    """The input that is a model's score, if there is one."""
    return next((code for code in values if code.startswith(MODEL)), None)


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
    require_factors(scheme, values)
    made = _by_scheme(scheme, values, honour or None, pins.waived)
    if pins.waived:
        made = replace(made, working=f"{made.working}; waived: {', '.join(pins.waived)}")
    if pins.override is not None and not made.vetoes:
        made = _overridden(scheme, made, pins.override, honour)
    made = _demoted(scheme, made, pins.demoted, honour)
    return _held(_capped(_rewarded(made, pins.reward_fen), pins.cap_fen), pins.holds)


def _by_scheme(
    scheme: Scheme, values: Mapping[str, int], honour: str | None, waived: Sequence[str]
) -> Score:
    if scheme.points is not None:
        return score_ready(scheme.points, values, honour, waived=waived)
    scoring = scheme.scoring
    if isinstance(scoring, WeightedScoring):
        return score_by_weights(scoring, values, honour)
    if isinstance(scoring, ExternalScoring):
        model = model_of(values)
        assert model is not None, "refused as missing"
        return score_by_model(scoring, values[model], model.removeprefix(MODEL), values)
    vetoes = vetoes_hit(scoring.vetoes, values)
    told = f"veto {', '.join(vetoes)} → no grade" if vetoes else "no points: people propose"
    return Score(0, vetoes, None, Fen(0), Fen(0), Fen(0), told)


def limit_of(scheme: Scheme, grade: str) -> Fen | None:
    """The limit that the scheme gives a grade; None where it names none for it."""
    grades = scheme.scoring.grades
    for each in () if isinstance(grades, Open) else grades:
        if each.id == grade:
            return None if isinstance(each.limit_fen, Open) else each.limit_fen
    return None


def has_grade(scheme: Scheme, grade: str) -> bool:
    """Whether the scheme has such a grade; where its grades are open, people name them."""
    grades = scheme.scoring.grades
    if isinstance(grades, Open):
        return bool(grade) and not scheme.automatic
    return any(each.id == grade for each in grades)


def rank_of(scheme: Scheme, grade: str) -> int:
    """The place of a grade from low to high; -1 for none."""
    grades = scheme.scoring.grades
    names = [] if isinstance(grades, Open) else [each.id for each in grades]
    return names.index(grade) if grade in names else -1


def uplift_of(scheme: Scheme, grade: str, honour: str) -> Fen:
    """What an honour adds to the limit of a grade (S12)."""
    honours = scheme.scoring.honours
    if honours is None or rank_of(scheme, grade) < rank_of(scheme, honours.min_grade):
        return Fen(0)
    return uplifts_of(scheme.scoring).get(honour, Fen(0))


def _overridden(scheme: Scheme, made: Score, override: Override, honour: str) -> Score:
    most = limit_of(scheme, override.grade)
    base = override.limit_fen if override.limit_fen is not None else most
    assert base is not None, "refused when it was proposed"
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


def _demoted(scheme: Scheme, made: Score, steps: int, honour: str) -> Score:
    """Some grades lower, with the limit of that one; below the lowest is none (LS18.loa.6)."""
    place = rank_of(scheme, made.grade or "")
    if not steps or place < 0:
        return made
    told = f"{made.working}; lowered by {steps} for non-performing loans"
    floor = max(0, rank_of(scheme, scheme.scoring.min_grade or ""))
    if place - steps < floor:
        nothing = Fen(0)
        return replace(
            made,
            grade=None,
            base_limit_fen=nothing,
            uplift_fen=nothing,
            limit_fen=nothing,
            working=f"{told}: no grade",
        )
    grades = scheme.scoring.grades
    assert not isinstance(grades, Open), "a grade has its place"
    grade = grades[place - steps].id
    most = limit_of(scheme, grade)
    base = made.base_limit_fen if most is None else min(made.base_limit_fen, most)
    uplift = min(made.uplift_fen, uplift_of(scheme, grade, honour))
    return replace(
        made,
        grade=grade,
        base_limit_fen=base,
        uplift_fen=uplift,
        limit_fen=Fen(base + uplift),
        working=f"{told}: {grade}, limit {base} + {uplift} fen",
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
