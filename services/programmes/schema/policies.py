"""Schema: what is sold as one: bundles, master policies, and an insurer's own lending."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import (
    Clause,
    Code,
    FenAmount,
    OrOpen,
    Pct,
    RatePpm,
    Title,
    duplicates,
)


class PremiumSubsidy(Clause):
    """A part of a premium that somebody else pays, beside other support."""

    pct: OrOpen[Pct]
    payer: Literal["county", "insurer", "enterprise"]
    together_with: tuple[Literal["interest_subsidy", "direct_grant", "training"], ...] = ()


class Bundle(Clause):
    """Covers that are sold together under one name."""

    id: Code
    title: Title
    covers: Annotated[tuple[Code, ...], Field(min_length=2)]


class PolicyPremium(Clause):
    """What a whole policy costs a year: a rate on the loans paid out, some covers left out."""

    rate_ppm: RatePpm
    of: Literal["lending"]
    payer: Literal["borrower", "county", "insurer", "enterprise"]
    excludes: tuple[Code, ...] = ()


class MasterPolicy(Clause):
    """The covers are packed into one policy for each of these; all covers unless some are named."""

    scope: Literal["county", "township"]
    title: Title | None = None
    covers: tuple[Code, ...] = ()
    premium: PolicyPremium | None = None

    @model_validator(mode="after")
    def _covers(self) -> Self:
        if twice := duplicates(list(self.covers)):
            raise ValueError(f"the master policy names cover {twice[0]} twice")
        excluded = self.premium.excludes if self.premium else ()
        if self.covers and (outside := [code for code in excluded if code not in self.covers]):
            raise ValueError(f"the premium excludes {outside[0]}, which the policy does not cover")
        return self


class Participation(Clause):
    """What an insurer must do to take part, and how policy lines are shared out."""

    agreement_required: bool
    lines_divided_by: Literal["guarantee_volume"]


class FinancingCap(Clause):
    """The most that an insurer lends to one borrower of a kind."""

    entity_type: Code
    max_principal_fen: FenAmount


class DirectFinancing(Clause):
    """What an insurer lends of its own money: to each borrower, and in all."""

    line_fen: OrOpen[FenAmount]
    caps: tuple[FinancingCap, ...] = ()

    @model_validator(mode="after")
    def _caps(self) -> Self:
        if twice := duplicates([cap.entity_type for cap in self.caps]):
            raise ValueError(f"entity type {twice[0]} has two caps")
        return self
