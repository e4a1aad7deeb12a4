"""Schema: covers, who is paid first, claim deadlines and premium."""

import itertools
from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import (
    BorrowerClass,
    Clause,
    Code,
    FenAmount,
    Open,
    OrOpen,
    RatePpm,
    Title,
    duplicates,
)

HOUSEHOLD = "household"


class CoverKind(StrEnum):
    """What a cover insures; the loan-linked kinds are claimed by `funds`, never by `claims`."""

    PERSONAL_ACCIDENT = "personal_accident"
    SMALL_LIFE = "small_life"
    NATURAL_DISASTER = "natural_disaster"
    AGRI = "agri"
    MICROLOAN = "microloan"
    LOAN_GUARANTEE = "loan_guarantee"
    CREDIT_LOAN = "credit_loan"
    SOCIETY_MEMBER = "society_member"
    PRICE_INDEX = "price_index"
    PRODUCE_INCOME = "produce_income"
    MEDICAL = "medical"
    PUBLIC_LIABILITY = "public_liability"
    STUDENT_SAFETY = "student_safety"


LOAN_LINKED = frozenset({CoverKind.LOAN_GUARANTEE, CoverKind.CREDIT_LOAN})


class SumInsuredOfLoan(Clause):
    """A percentage of the loan's principal."""

    of: Literal["loan_principal"]
    pct: Annotated[int, Field(ge=1, le=1_000)]


class SumInsuredFixed(Clause):
    """The same amount for everybody."""

    of: Literal["fixed"]
    amount_fen: FenAmount


class SumInsuredStated(Clause):
    """The amount the policy states for each insured thing."""

    of: Literal["policy"]


SumInsured = Annotated[
    SumInsuredOfLoan | SumInsuredFixed | SumInsuredStated, Field(discriminator="of")
]


class Premium(Clause):
    """What a cover costs a year, and who pays; several payers share by `shares`."""

    rate_ppm: OrOpen[RatePpm]
    max_rate_ppm: RatePpm | None = None
    payer: Literal["borrower", "county", "insurer", "enterprise"] = "borrower"

    @model_validator(mode="after")
    def _cap(self) -> Self:
        if isinstance(self.rate_ppm, Open) or self.max_rate_ppm is None:
            return self
        if self.rate_ppm > self.max_rate_ppm:
            raise ValueError("rate_ppm is above max_rate_ppm")
        return self


PayeeGroup = Code | tuple[Code, ...]


class Cover(Clause):
    """One insured risk: who is paid in which order, how much, and what it costs."""

    id: Code
    kind: CoverKind
    title: Title
    assigned: OrOpen[bool]
    payees: OrOpen[tuple[PayeeGroup, ...]]
    sum_insured: OrOpen[SumInsured]
    cap_fen: OrOpen[FenAmount] | None = None
    premium: OrOpen[Premium]
    valid_from: Annotated[date | None, Field(alias="from")] = None
    valid_to: Annotated[date | None, Field(alias="to")] = None

    @model_validator(mode="after")
    def _payees(self) -> Self:
        if self.valid_from and self.valid_to and self.valid_to < self.valid_from:
            raise ValueError("the cover ends before it starts")
        if isinstance(self.payees, Open):
            return self
        names = [name for group in groups_of(self.payees) for name in group]
        if not names or names[-1] != HOUSEHOLD or groups_of(self.payees)[-1] != (HOUSEHOLD,):
            raise ValueError("payees end with household: what is left belongs to it")
        if twice := duplicates(names):
            raise ValueError(f"payee {twice[0]} is named twice")
        return self


def groups_of(payees: tuple[PayeeGroup, ...]) -> tuple[tuple[str, ...], ...]:
    """Payees as ordered groups; those in one group have equal rank."""
    return tuple((group,) if isinstance(group, str) else tuple(group) for group in payees)


class RequiredCovers(Clause):
    """The covers a borrower must have before money is paid out."""

    borrower_class: BorrowerClass
    covers: tuple[Code, ...]


class ClaimTier(Clause):
    """Claims up to an amount are paid within so many working days; 0 is on the spot."""

    tier: Code
    max_fen: FenAmount | None
    working_days: Annotated[int, Field(ge=0, le=250)]


class MasterPolicy(Clause):
    """The covers are packed into one policy for each of these."""

    scope: Literal["county", "township"]


class Participation(Clause):
    """What an insurer must do to take part, and how policy lines are shared out."""

    agreement_required: bool
    lines_divided_by: Literal["guarantee_volume"]


class Insurance(Clause):
    """A programme's covers and the rules that hold for all of them."""

    covers: tuple[Cover, ...]
    required_covers: OrOpen[tuple[RequiredCovers, ...]]
    sweep_trigger: OrOpen[Literal["always", "repayment_difficulty"]]
    claim_tiers: OrOpen[tuple[ClaimTier, ...]]
    household_paid: Literal["after_lenders_confirm", "at_once"] = "after_lenders_confirm"
    master_policy: MasterPolicy | None = None
    participation: Participation | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        names = [cover.id for cover in self.covers]
        if twice := duplicates(names):
            raise ValueError(f"cover {twice[0]} is declared twice")
        if not isinstance(self.required_covers, Open):
            classes = [required.borrower_class.value for required in self.required_covers]
            if twice := duplicates(classes):
                raise ValueError(f"required_covers names {twice[0]} twice")
            for required in self.required_covers:
                if unknown := [code for code in required.covers if code not in names]:
                    raise ValueError(f"required_covers names {unknown[0]}, which is no cover")
        if not isinstance(self.claim_tiers, Open):
            _check_tiers(self.claim_tiers)
        return self


def _check_tiers(tiers: tuple[ClaimTier, ...]) -> None:
    if not tiers or tiers[-1].max_fen is not None:
        raise ValueError("the last claim tier has max_fen null, so that every claim has a tier")
    bounds = [tier.max_fen for tier in tiers[:-1]]
    if any(bound is None for bound in bounds):
        raise ValueError("only the last claim tier may have max_fen null")
    known = [bound for bound in bounds if bound is not None]
    if any(low >= high for low, high in itertools.pairwise(known)):
        raise ValueError("claim tiers go from small to large amounts")
