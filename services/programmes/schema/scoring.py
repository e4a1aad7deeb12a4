"""Schema: how a household is scored, graded and given a limit."""

import itertools
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import (
    Clause,
    Code,
    Every,
    FenAmount,
    GradeCode,
    Months,
    Open,
    Organ,
    OrOpen,
    Pct,
    ScoreCenti,
    duplicates,
)


class Gate(Clause):
    """A condition that must hold; unknown is not held."""

    code: Code


class Adjustment(Clause):
    """Points added or taken while an indicator lies in a range (yes = 1, no = 0)."""

    id: Code
    points_centi: ScoreCenti
    indicator: Code | None = None
    min: int = 1
    max: int | None = None

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.max is not None and self.max < self.min:
            raise ValueError("max is below min: the range holds nothing")
        return self

    @property
    def reads(self) -> str:
        """The indicator it reads: its own id unless another is named."""
        return self.indicator or self.id


class Veto(Clause):
    """One hit refuses, whatever the score."""

    id: Code
    indicator: Code | None = None

    @property
    def reads(self) -> str:
        """The indicator it reads: its own id unless another is named."""
        return self.indicator or self.id


class Factor(Clause):
    """One factor of a weighted scheme, scored 0 to 100."""

    id: Code
    weight_pct: Pct


class Grade(Clause):
    """A grade: the lowest score that earns it, and its limit."""

    id: GradeCode
    min_score_centi: OrOpen[ScoreCenti]
    limit_fen: OrOpen[FenAmount]


class Honour(Clause):
    """An honour and what it adds to the limit of its grade."""

    id: Code
    uplift_fen: FenAmount


class Honours(Clause):
    """The honours of a programme, and the grade below which none counts (S12)."""

    min_grade: GradeCode
    levels: tuple[Honour, ...]


class Refresh(Clause):
    """How often one kind of credit data is renewed."""

    id: Code
    every: Every


class ReviewStep(Clause):
    """One step of the rating's review, in order."""

    step: Code
    organ: Organ


class CreditArea(Clause):
    """A village or township is recognised from this share of credit households or villages."""

    scope: Literal["village", "township"]
    at_least_pct: Pct


class Rehabilitation(Clause):
    """When a barred household may be rated again."""

    after_full_repayment: bool


class _ScoringCommon(Clause):
    scheme: Code
    grades: tuple[Grade, ...]
    min_grade: GradeCode | None = None
    vetoes: tuple[Veto, ...] = ()
    observation_months: OrOpen[Months] | None = None
    limit_validity_months: OrOpen[Months] | None = None
    honours: Honours | None = None
    item_count: Annotated[int, Field(ge=1, le=10_000)] | None = None
    refresh: tuple[Refresh, ...] = ()
    review_chain: tuple[ReviewStep, ...] = ()
    credit_areas: tuple[CreditArea, ...] = ()
    rehabilitation: Rehabilitation | None = None

    @model_validator(mode="after")
    def _grades(self) -> Self:
        names = [grade.id for grade in self.grades]
        if not names:
            raise ValueError("at least one grade is needed")
        if twice := duplicates(names):
            raise ValueError(f"grade {twice[0]} is declared twice")
        scores = [g.min_score_centi for g in self.grades if not isinstance(g.min_score_centi, Open)]
        if any(low >= high for low, high in itertools.pairwise(scores)):
            raise ValueError(
                "grades go from low to high: each min_score_centi above the one before"
            )
        limits = [g.limit_fen for g in self.grades if not isinstance(g.limit_fen, Open)]
        if any(low > high for low, high in itertools.pairwise(limits)):
            raise ValueError("a better grade never has a lower limit_fen")
        if self.min_grade is not None and self.min_grade not in names:
            raise ValueError(f"min_grade {self.min_grade} is not one of the grades")
        if self.honours is not None and self.honours.min_grade not in names:
            raise ValueError(f"honours.min_grade {self.honours.min_grade} is not one of the grades")
        if self.honours and (twice := duplicates([level.id for level in self.honours.levels])):
            raise ValueError(f"honour {twice[0]} is declared twice")
        if twice := duplicates([veto.id for veto in self.vetoes]):
            raise ValueError(f"veto {twice[0]} is declared twice")
        return self


class BasePointsScoring(_ScoringCommon):
    """Every household starts with the same points; indicators add and take."""

    type: Literal["base_points"]
    base_points_centi: ScoreCenti
    adjustments: OrOpen[tuple[Adjustment, ...]]

    @model_validator(mode="after")
    def _adjustments(self) -> Self:
        if isinstance(self.adjustments, Open):
            return self
        if twice := duplicates([adjustment.id for adjustment in self.adjustments]):
            raise ValueError(f"adjustment {twice[0]} is declared twice")
        return self


class WeightedScoring(_ScoringCommon):
    """Factors of 0 to 100, weighted; the weights make 100."""

    type: Literal["weighted"]
    factors: OrOpen[tuple[Factor, ...]]

    @model_validator(mode="after")
    def _weights(self) -> Self:
        if isinstance(self.factors, Open):
            return self
        if twice := duplicates([factor.id for factor in self.factors]):
            raise ValueError(f"factor {twice[0]} is declared twice")
        total = sum(factor.weight_pct for factor in self.factors)
        if total != 100:
            raise ValueError(f"the weights make {total}, not 100")
        return self


Scoring = Annotated[BasePointsScoring | WeightedScoring, Field(discriminator="type")]
