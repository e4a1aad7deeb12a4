"""Schema: loan products, and the loan rules that hold for all of a programme's products."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.kernel.money import Fen
from services.programmes.schema.collection import (
    CollectionDiscount,
    Disposition,
    MaturityNotice,
    NplAction,
    OverdueAction,
    every_class,
)
from services.programmes.schema.post_loan import (
    AreaContracts,
    Disclosure,
    DueDiligence,
    JointAccount,
    LegacyLoans,
    PostLoanCheck,
    Relending,
    Segregation,
)
from services.programmes.schema.rewards import (
    Grant,
    HardshipRelief,
    Reward,
    SubsidyBudget,
    whole_at_most,
)
from services.programmes.schema.sanctions import Rehabilitation, Sanction, one_length
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
    interest_settlement: OrOpen[Literal["bullet", "annual", "quarterly", "monthly"]]
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


def makes_overdue_bad(npl: OverdueNpl | FiveTierNpl) -> bool:
    """Whether a day overdue is enough to be non-performing."""
    if isinstance(npl, OverdueNpl):
        return npl.more_than_days == 0
    return npl.from_tier == "special_mention"


class DrawNeed(StrEnum):
    """What a controlled drawdown may need before its money is released."""

    EVIDENCE = "evidence"
    COUNTY_APPROVAL = "county_approval"
    ENTRUSTED_PAYMENT = "entrusted_payment"
    PROGRESS_SIGNED = "progress_signed"
    JOINT_SIGNATURES = "joint_signatures"


class ControlledDrawdown(Clause):
    """From this amount on, every drawdown of these products needs all that is listed (S51)."""

    threshold_fen: FenAmount = Fen(0)
    products: tuple[Code, ...] = ()
    requires: tuple[DrawNeed, ...]
    staged: bool = False
    account: JointAccount | None = None

    @model_validator(mode="after")
    def _signatures(self) -> Self:
        if twice := duplicates([need.value for need in self.requires]):
            raise ValueError(f"{twice[0]} is required twice")
        signed = DrawNeed.JOINT_SIGNATURES in self.requires
        if signed != (self.account is not None):
            raise ValueError("joint_signatures and account go together")
        return self


class PurposeVerification(Clause):
    """Every loan's use is verified and signed level by level."""

    disbursed_since: date
    signed_by: tuple[Organ, ...]


class LoanRules(Clause):
    """What holds for every loan of the programme."""

    benchmark: OrOpen[tuple[BenchmarkRate, ...]]
    day_basis: Literal[360, 365] = 360
    area_of_use: Literal["county", "township", "village"] | None = None
    appropriation_order: Literal["interest_first", "principal_first"] = "interest_first"
    npl: OrOpen[Npl]
    keep_overdue_apart: bool = False
    overdue_actions: tuple[OverdueAction, ...] = ()
    npl_actions: tuple[NplAction, ...] = ()
    dispositions: tuple[Disposition, ...] = ()
    escalation: tuple[Organ, ...] = ()
    maturity_notice: MaturityNotice | None = None
    controlled_drawdown: ControlledDrawdown | None = None
    segregation: Segregation | None = None
    purpose_verification: PurposeVerification | None = None
    post_loan_checks: tuple[PostLoanCheck, ...] = ()
    collection_discount: CollectionDiscount | None = None
    sanctions: tuple[Sanction, ...] = ()
    rehabilitation: Rehabilitation | None = None
    rewards: tuple[Reward, ...] = ()
    grants: tuple[Grant, ...] = ()
    hardship_relief: HardshipRelief | None = None
    disclosure: Disclosure | None = None
    ledger_levels: tuple[Literal["county", "township", "village", "household"], ...] = ()
    account_manager: bool = False
    legacy_loans: tuple[LegacyLoans, ...] = ()
    area_contracts: AreaContracts | None = None
    due_diligence: DueDiligence | None = None
    relending: Relending | None = None
    subsidy_budget: SubsidyBudget | None = None

    @model_validator(mode="after")
    def _benchmark(self) -> Self:
        if isinstance(self.benchmark, Open):
            return self
        if not self.benchmark:
            raise ValueError("the benchmark table is empty")
        keys = [f"{rate.valid_from} up to {rate.max_tenor_months}" for rate in self.benchmark]
        if twice := duplicates(keys):
            raise ValueError(f"two benchmark rates for {twice[0]} months")
        return self

    @model_validator(mode="after")
    def _overdue(self) -> Self:
        npl = self.npl
        if self.keep_overdue_apart and not isinstance(npl, Open) and makes_overdue_bad(npl):
            raise ValueError("keep_overdue_apart, but npl takes every overdue loan")
        return self

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for key, names in (
            ("npl_actions", [action.value for action in self.npl_actions]),
            ("overdue_actions", [action.value for action in self.overdue_actions]),
            ("escalation", [organ.value for organ in self.escalation]),
            ("ledger_levels", [str(level) for level in self.ledger_levels]),
        ):
            if twice := duplicates(names):
                raise ValueError(f"{twice[0]} is declared twice in {key}")
        every_class(self.dispositions)
        one_length(self.sanctions)
        whole_at_most(self.grants)
        return self
