"""Schema: how a household is scored, graded and given a limit."""

import itertools
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import (
    Clause,
    Code,
    Days,
    Every,
    FenAmount,
    GradeCode,
    Months,
    Open,
    Organ,
    OrOpen,
    Pct,
    RatePpm,
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
    weight_pct: OrOpen[Pct]


class Grade(Clause):
    """A grade: the lowest score that earns it, its limit, and what it takes off the rate."""

    id: GradeCode
    min_score_centi: OrOpen[ScoreCenti]
    limit_fen: OrOpen[FenAmount]
    rate_reduction_ppm: OrOpen[RatePpm] | None = None


class LimitRange(Clause):
    """The limits of all grades lie in here, both ends included; honours come on top (S10, S12)."""

    min_fen: FenAmount
    max_fen: FenAmount

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.max_fen < self.min_fen:
            raise ValueError("max_fen is below min_fen")
        return self


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
    """
    One step of the rating's review, in order; `panel` sits with the organ that decides.

    It is due within working days, and of the panel's members so many must be there.
    """

    step: Code
    organ: OrOpen[Organ]
    panel: tuple[Organ, ...] = ()
    kind: Literal["assessment", "check", "audit", "proposal", "grant"] | None = None
    working_days: OrOpen[Days] | None = None
    quorum_pct: OrOpen[Pct] | None = None

    @model_validator(mode="after")
    def _panel(self) -> Self:
        if twice := duplicates([organ.value for organ in self.panel]):
            raise ValueError(f"{twice[0]} sits on the panel twice")
        return self


class PublicNotice(Clause):
    """A rating hangs out for objections after a step, before it takes effect."""

    after_step: Code
    scope: OrOpen[Literal["village_group", "village", "township", "county"]]
    days: OrOpen[Days]


class DeductionWaiver(Clause):
    """For this cause, without fault, by who had paid before, a deduction counts zero (S48)."""

    id: Code
    cause: Code
    only_without_fault: bool = True
    only_if_repaid_on_time_before: bool = True
    evidence_by: tuple[Organ, ...] = ()


class CreditArea(Clause):
    """
    An area is recognised from this share of its credit units on.

    A township counts credit villages, a village and a group count credit households; a household
    itself is recognised by its grade.
    """

    scope: Literal["household", "villager_group", "village", "township"]
    at_least_pct: OrOpen[Pct] | None = None

    @model_validator(mode="after")
    def _share(self) -> Self:
        if (self.scope == "household") != (self.at_least_pct is None):
            raise ValueError("at_least_pct belongs to every scope but household")
        return self


class Rehabilitation(Clause):
    """When a barred household may be rated again."""

    after_full_repayment: bool


class Target(Clause):
    """A share that must be reached, computed from counts."""

    id: Literal["rated_ratio", "credit_granted_ratio", "fund_arrival_ratio"]
    at_least_pct: Pct
    of: Organ


class _ScoringCommon(Clause):
    scheme: Code
    grades: OrOpen[tuple[Grade, ...]]
    min_grade: GradeCode | None = None
    limit_range: LimitRange | None = None
    vetoes: tuple[Veto, ...] = ()
    waivers: tuple[DeductionWaiver, ...] = ()
    required_before_loan: bool = False
    recognised_by_all_lenders: bool = False
    override_with_reason: bool = False
    observation_months: OrOpen[Months] | None = None
    limit_validity_months: OrOpen[Months] | None = None
    honours: Honours | None = None
    item_count: Annotated[int, Field(ge=1, le=10_000)] | None = None
    refresh: tuple[Refresh, ...] = ()
    review_chain: tuple[ReviewStep, ...] = ()
    credit_areas: tuple[CreditArea, ...] = ()
    public_notice: PublicNotice | None = None
    rehabilitation: Rehabilitation | None = None
    targets: tuple[Target, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not isinstance(self.grades, Open):
            _check_grades(self.grades, self.limit_range)
            names = [grade.id for grade in self.grades]
            if self.min_grade is not None and self.min_grade not in names:
                raise ValueError(f"min_grade {self.min_grade} is not one of the grades")
            if self.honours is not None and self.honours.min_grade not in names:
                lowest = self.honours.min_grade
                raise ValueError(f"honours.min_grade {lowest} is not one of the grades")
        if self.honours and (twice := duplicates([level.id for level in self.honours.levels])):
            raise ValueError(f"honour {twice[0]} is declared twice")
        if twice := duplicates([veto.id for veto in self.vetoes]):
            raise ValueError(f"veto {twice[0]} is declared twice")
        if twice := duplicates([waiver.id for waiver in self.waivers]):
            raise ValueError(f"waiver {twice[0]} is declared twice")
        if twice := duplicates([area.scope for area in self.credit_areas]):
            raise ValueError(f"credit area {twice[0]} is declared twice")
        if twice := duplicates([target.id for target in self.targets]):
            raise ValueError(f"target {twice[0]} is declared twice")
        return self

    @model_validator(mode="after")
    def _chain(self) -> Self:
        steps = [step.step for step in self.review_chain]
        if twice := duplicates(steps):
            raise ValueError(f"review step {twice[0]} is declared twice")
        if self.public_notice is not None and self.public_notice.after_step not in steps:
            after = self.public_notice.after_step
            raise ValueError(f"public_notice comes after {after}, which is no review step")
        return self


def _check_grades(grades: tuple[Grade, ...], within: LimitRange | None) -> None:
    if not grades:
        raise ValueError("at least one grade is needed")
    if twice := duplicates([grade.id for grade in grades]):
        raise ValueError(f"grade {twice[0]} is declared twice")
    scores = [g.min_score_centi for g in grades if not isinstance(g.min_score_centi, Open)]
    if any(low >= high for low, high in itertools.pairwise(scores)):
        raise ValueError("grades go from low to high: each min_score_centi above the one before")
    limits = [g.limit_fen for g in grades if not isinstance(g.limit_fen, Open)]
    if any(low > high for low, high in itertools.pairwise(limits)):
        raise ValueError("a better grade never has a lower limit_fen")
    if within and any(not within.min_fen <= limit <= within.max_fen for limit in limits):
        raise ValueError("a grade's limit_fen lies outside limit_range")
    said = [g.rate_reduction_ppm for g in grades]
    if any(value is None for value in said) and any(value is not None for value in said):
        raise ValueError("rate_reduction_ppm is said of every grade or of none")
    rates = [value for value in said if isinstance(value, int)]
    if any(low > high for low, high in itertools.pairwise(rates)):
        raise ValueError("a better grade never has a smaller rate_reduction_ppm")


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
        if not self.factors:
            raise ValueError("a weighted scheme needs at least one factor")
        names = {factor.id for factor in self.factors}
        if both := [veto.id for veto in self.vetoes if veto.reads in names]:
            raise ValueError(f"veto {both[0]} reads a factor, whose every score would refuse")
        weights = [f.weight_pct for f in self.factors if not isinstance(f.weight_pct, Open)]
        total, more = sum(weights), len(weights) < len(self.factors)
        # While some are open, the rest must still leave room for them.
        if total > 100 or (total == 100 if more else total != 100):
            raise ValueError(
                f"the weights make {total}, {'no room is left' if more else 'not 100'}"
            )
        return self


class ExternalScoring(_ScoringCommon):
    """A lender's or a third party's model scores; its result is stored with the model's id."""

    type: Literal["external_model"]
    model_id_stored: Literal[True] = True


class ProposalScoring(_ScoringCommon):
    """No points: gates and vetoes decide who, and the review chain proposes how much."""

    type: Literal["proposal"]


ScoringRules = BasePointsScoring | WeightedScoring | ExternalScoring | ProposalScoring
Scoring = Annotated[ScoringRules, Field(discriminator="type")]
