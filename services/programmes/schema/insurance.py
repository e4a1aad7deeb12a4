"""Schema: covers, who is paid first, claim deadlines and premium."""

import itertools
from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.index import PriceIndex
from services.programmes.schema.payouts import PayoutRules
from services.programmes.schema.policies import (
    Bundle,
    DirectFinancing,
    MasterPolicy,
    Participation,
    PremiumSubsidy,
)
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
EVERY = "every"
"""In `required_covers`: every class of borrower that is not named itself."""


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
    CRITICAL_ILLNESS = "critical_illness"
    THIRD_PARTY_LIABILITY = "third_party_liability"
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
    """What a cover costs a year, and who pays what no subsidy pays."""

    rate_ppm: OrOpen[RatePpm]
    max_rate_ppm: RatePpm | None = None
    payer: Literal["borrower", "county", "insurer", "enterprise"] = "borrower"
    subsidy: PremiumSubsidy | None = None

    @model_validator(mode="after")
    def _cap(self) -> Self:
        if self.subsidy and self.subsidy.payer == self.payer:
            raise ValueError(f"{self.payer} pays the premium and cannot subsidise it as well")
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
    """The most that one event pays."""
    person_cap_fen: OrOpen[FenAmount] | None = None
    """The most that one insured person is paid in a term."""
    period_cap_fen: OrOpen[FenAmount] | None = None
    """The most that one insured entry is paid in a term."""
    premium: OrOpen[Premium]
    price_index: OrOpen[PriceIndex] | None = None
    valid_from: Annotated[date | None, Field(alias="from")] = None
    valid_to: Annotated[date | None, Field(alias="to")] = None

    @model_validator(mode="after")
    def _payees(self) -> Self:
        if self.valid_from and self.valid_to and self.valid_to < self.valid_from:
            raise ValueError("the cover ends before it starts")
        if (self.kind is CoverKind.PRICE_INDEX) != (self.price_index is not None):
            raise ValueError("a cover has price_index, known or open, if its kind is price_index")
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

    borrower_class: BorrowerClass | Literal["every"]
    covers: tuple[Code, ...]


class ClaimTier(Clause):
    """Claims up to an amount are paid within so many working days; 0 is on the spot."""

    tier: Code
    max_fen: FenAmount | None
    working_days: Annotated[int, Field(ge=0, le=250)]


class Insurance(Clause):
    """A programme's covers and the rules that hold for all of them."""

    covers: tuple[Cover, ...]
    required_covers: OrOpen[tuple[RequiredCovers, ...]]
    sweep_trigger: OrOpen[Literal["always", "repayment_difficulty"]]
    claim_tiers: OrOpen[tuple[ClaimTier, ...]]
    # A claim that pays more than this is decided by two persons of the insurer.
    second_person_above_fen: OrOpen[FenAmount] | None = None
    household_paid: Literal["after_lenders_confirm", "at_once"] = "after_lenders_confirm"
    premium_due: Literal["later", "before_cover"] = "later"
    """Whether a cover comes into force only once its premium is paid."""
    premium_refund: Literal["by_days", "none"] = "by_days"
    """What of a premium goes back when a cover ends before its term."""
    premium_of_joiners: Literal["whole", "by_days"] = "whole"
    """What one who joins a list within its policy's term pays: all of it, or the days left."""
    master_policy: MasterPolicy | None = None
    bundles: tuple[Bundle, ...] = ()
    participation: Participation | None = None
    direct_financing: DirectFinancing | None = None
    payouts: PayoutRules = PayoutRules()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        names = [cover.id for cover in self.covers]
        if twice := duplicates(names):
            raise ValueError(f"cover {twice[0]} is declared twice")
        required = () if isinstance(self.required_covers, Open) else self.required_covers
        if twice := duplicates([str(each.borrower_class) for each in required]):
            raise ValueError(f"required_covers names {twice[0]} twice")
        if twice := duplicates([bundle.id for bundle in self.bundles]):
            raise ValueError(f"bundle {twice[0]} is declared twice")
        policy = self.master_policy.covers if self.master_policy else ()
        for place, codes in [
            *(("required_covers", each.covers) for each in required),
            *((f"bundle {bundle.id}", bundle.covers) for bundle in self.bundles),
            ("master_policy", policy),
        ]:
            if unknown := [code for code in codes if code not in names]:
                raise ValueError(f"{place} names {unknown[0]}, which is no cover")
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
    if any(low.working_days > high.working_days for low, high in itertools.pairwise(tiers)):
        raise ValueError("a larger claim may not be paid sooner than a smaller one")
    if twice := duplicates([tier.tier for tier in tiers]):
        raise ValueError(f"claim tier {twice[0]} is declared twice")
