"""Schema: loan products, and the loan rules that hold for all of a programme's products."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import (
    BorrowerClass,
    Clause,
    Code,
    Days,
    FenAmount,
    Months,
    Open,
    Organ,
    OrOpen,
    Pct,
    RatePpm,
    Title,
    duplicates,
)


class BenchmarkRate(Clause):
    """The central bank's rate for terms up to a tenor, from a day on."""

    valid_from: Annotated[date, Field(alias="from")]
    max_tenor_months: Months
    rate_ppm: RatePpm


class BenchmarkPricing(Clause):
    """The loan costs the benchmark rate of its term."""

    mode: Literal["benchmark"]


class BenchmarkPlusPricing(Clause):
    """The lender's rate, at most the benchmark raised by a percentage of itself."""

    mode: Literal["benchmark_plus_pct"]
    max_uplift_pct: Pct


class RangePricing(Clause):
    """The lender's rate between fixed bounds; a missing bound does not bind."""

    mode: Literal["range"]
    min_rate_ppm: RatePpm | None = None
    max_rate_ppm: RatePpm | None = None

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min_rate_ppm is None and self.max_rate_ppm is None:
            raise ValueError("a range needs min_rate_ppm, max_rate_ppm or both")
        if (
            self.min_rate_ppm is not None
            and self.max_rate_ppm is not None
            and self.max_rate_ppm < self.min_rate_ppm
        ):
            raise ValueError("max_rate_ppm is below min_rate_ppm")
        return self


Pricing = Annotated[
    BenchmarkPricing | BenchmarkPlusPricing | RangePricing, Field(discriminator="mode")
]


class SubsidyMode(StrEnum):
    """How much of the interest the treasury pays."""

    NONE = "none"
    FULL_AT_BENCHMARK = "full_at_benchmark"
    FIXED_RATE = "fixed_rate"
    CAPPED_RATE = "capped_rate"


class Subsidy(Clause):
    """The interest subsidy of a product; its months are one household's budget (S29)."""

    mode: SubsidyMode
    rate_ppm: RatePpm | None = None
    max_months: OrOpen[Months] | None = None
    requires: tuple[Code, ...] = ()
    payer: Organ = Organ.FINANCE_BUREAU

    @model_validator(mode="after")
    def _rate(self) -> Self:
        needs_rate = self.mode in (SubsidyMode.FIXED_RATE, SubsidyMode.CAPPED_RATE)
        if needs_rate != (self.rate_ppm is not None):
            word = "needs" if needs_rate else "takes no"
            raise ValueError(f"subsidy mode {self.mode.value} {word} rate_ppm")
        return self


class StepKind(StrEnum):
    """What a step of the approval chain does."""

    INITIAL_REVIEW = "initial_review"
    CHECK = "check"
    RECOMMENDATION = "recommendation"
    GUARANTEE_RECOMMENDATION = "guarantee_recommendation"
    INVESTIGATION = "investigation"
    APPROVAL = "approval"


class ApprovalStep(Clause):
    """One step of the approval chain, in order; the last one approves."""

    step: Code
    kind: StepKind
    organ: Organ
    starts_sla: bool = False


class Sla(Clause):
    """How long it may take from acceptance to the money."""

    unit: Literal["working_days", "days", "minutes"] = "working_days"
    value: Annotated[int, Field(ge=0, le=10_000)]


class Purpose(Clause):
    """What the money may and may not be used for; no `allowed` list means all but prohibited."""

    prohibited: tuple[Code, ...] = ()
    allowed: OrOpen[tuple[Code, ...]] | None = None

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.allowed is None or isinstance(self.allowed, Open):
            return self
        if both := sorted(set(self.prohibited) & set(self.allowed)):
            raise ValueError(f"purpose {both[0]} is both allowed and prohibited")
        return self


class Security(Clause):
    """What the lender may ask for besides the borrower's word."""

    collateral: Literal["none", "optional", "required"] = "none"
    guarantor: Literal["none", "county_recommendation", "required"] = "none"


class LoanProduct(Clause):
    """One product: who may have it, how much, at what price, by which chain, how fast."""

    id: Code
    title: Title
    borrower_classes: tuple[BorrowerClass, ...]
    entity_types: tuple[Code, ...] = ()
    lender: Literal["bank", "mutual_aid_society", "insurer"] = "bank"
    facility: Literal["term", "revolving"] = "term"
    max_principal_fen: OrOpen[FenAmount] | None = None
    max_term_months: OrOpen[Months] | None = None
    security: Security = Security()
    pricing: OrOpen[Pricing]
    subsidy: OrOpen[Subsidy]
    interest_settlement: OrOpen[
        Literal["bullet", "annual", "quarterly", "monthly", "equal_principal", "equal_instalment"]
    ]
    approval_chain: OrOpen[tuple[ApprovalStep, ...]]
    sla: OrOpen[Sla] | None = None
    purpose: Purpose = Purpose()
    sharing_models: tuple[Code, ...] = ()

    @model_validator(mode="after")
    def _chain(self) -> Self:
        if not self.borrower_classes:
            raise ValueError("borrower_classes names nobody")
        if isinstance(self.approval_chain, Open):
            return self
        steps = self.approval_chain
        if not steps or steps[-1].kind is not StepKind.APPROVAL:
            raise ValueError("the last step of approval_chain must be an approval")
        if twice := duplicates([step.step for step in steps]):
            raise ValueError(f"approval step {twice[0]} is declared twice")
        if sum(step.starts_sla for step in steps) > 1:
            raise ValueError("only one step starts the SLA clock")
        return self


class OverdueNpl(Clause):
    """Non-performing when overdue for more than this many days (strict)."""

    measure: Literal["overdue_days"]
    more_than_days: Days


class FiveTierNpl(Clause):
    """Non-performing from a five-tier class on."""

    measure: Literal["five_tier"]
    from_tier: Literal["special_mention", "substandard", "doubtful", "loss"]


Npl = Annotated[OverdueNpl | FiveTierNpl, Field(discriminator="measure")]


class NplAction(StrEnum):
    """What follows on non-performing, in the pack's order."""

    STOP_SUBSIDY = "stop_subsidy"
    COLLECT = "collect"
    LOWER_GRADE = "lower_grade"
    BLACKLIST = "blacklist"
    COURT = "court"


class MaturityNotice(Clause):
    """Who hears of a maturity, and how many months ahead (S36)."""

    lead_months: Months
    to: tuple[Organ, ...] = ()


class ControlledDrawdown(Clause):
    """From this amount on, every drawdown needs all that is listed (S51)."""

    threshold_fen: FenAmount
    requires: tuple[Literal["evidence", "county_approval", "entrusted_payment"], ...]


class DiscountStage(Clause):
    """One stage of a collection campaign and its discount on unpaid interest."""

    id: Code
    discount_pct: Pct
    valid_from: Annotated[OrOpen[date], Field(alias="from")]
    valid_to: Annotated[OrOpen[date], Field(alias="to")]

    @model_validator(mode="after")
    def _dates(self) -> Self:
        start, end = self.valid_from, self.valid_to
        if not isinstance(start, Open) and not isinstance(end, Open) and end < start:
            raise ValueError("the stage ends before it starts")
        return self


class CollectionDiscount(Clause):
    """Discounts on unpaid interest in a campaign; never on principal, once a debt (S35)."""

    stages: tuple[DiscountStage, ...]


class Relending(Clause):
    """The central bank's line that funds the loans."""

    limit_fen: FenAmount
    rate_ppm: RatePpm


class PurposeVerification(Clause):
    """Every loan's use is verified and signed level by level."""

    disbursed_since: date
    signed_by: tuple[Organ, ...]


class Sanction(Clause):
    """What a sanctioned borrower loses."""

    id: Code
    effects: tuple[
        Literal["no_rating", "no_credit", "no_subsidy", "limited_government_subsidies"], ...
    ]
    ban_months: OrOpen[Months] | None = None


class LoanRules(Clause):
    """What holds for every loan of the programme."""

    benchmark: OrOpen[tuple[BenchmarkRate, ...]]
    day_basis: Literal[360, 365] = 360
    area_of_use: Literal["county", "township", "village"] | None = None
    appropriation_order: Literal["interest_first", "principal_first"] = "interest_first"
    npl: OrOpen[Npl]
    npl_actions: tuple[NplAction, ...] = ()
    maturity_notice: MaturityNotice | None = None
    controlled_drawdown: ControlledDrawdown | None = None
    purpose_verification: PurposeVerification | None = None
    collection_discount: CollectionDiscount | None = None
    sanctions: tuple[Sanction, ...] = ()
    ledger_levels: tuple[Literal["county", "township", "village"], ...] = ()
    relending: Relending | None = None

    @model_validator(mode="after")
    def _benchmark(self) -> Self:
        if twice := duplicates([action.value for action in self.npl_actions]):
            raise ValueError(f"action {twice[0]} is declared twice in npl_actions")
        if isinstance(self.benchmark, Open):
            return self
        if not self.benchmark:
            raise ValueError("the benchmark table is empty")
        keys = [f"{rate.valid_from} up to {rate.max_tenor_months}" for rate in self.benchmark]
        if twice := duplicates(keys):
            raise ValueError(f"two benchmark rates for {twice[0]} months")
        return self
