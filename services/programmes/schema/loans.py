"""Schema: loan products, and the loan rules that hold for all of a programme's products."""

from datetime import date
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from services.kernel.money import Fen
from services.programmes.schema.collection import (
    CollectionDiscount,
    Disposition,
    MaturityNotice,
    NplAction,
    OverdueAction,
    every_class,
)
from services.programmes.schema.notices import Notices
from services.programmes.schema.pledges import Security
from services.programmes.schema.post_loan import (
    AreaContracts,
    Disclosure,
    DueDiligence,
    JointAccount,
    LegacyLoans,
    PostLoanCheck,
    Relending,
    Segregation,
    TaskTerms,
)
from services.programmes.schema.product_terms import (
    AmountTier,
    Backing,
    Extension,
    Fee,
    FundingSource,
    GroupLending,
    LaterStep,
    Phase,
    PooledLending,
    Renewal,
    Revolving,
    SelfService,
    UseOfLoan,
    in_order,
)
from services.programmes.schema.rewards import (
    Grant,
    HardshipRelief,
    Reward,
    SubsidyBudget,
    whole_at_most,
)
from services.programmes.schema.sanctions import Rehabilitation, Sanction, one_length
from services.programmes.schema.scoring import Gate
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

SLA_DAYS_MAX = 1_000


class BenchmarkRate(Clause):
    """The central bank's rate for terms up to a tenor, from a day on."""

    valid_from: Annotated[date, Field(alias="from")]
    max_tenor_months: Months
    rate_ppm: RatePpm


def _distinct(table: tuple[BenchmarkRate, ...]) -> tuple[BenchmarkRate, ...]:
    if not table:
        raise ValueError("the table of rates is empty")
    keys = [f"{rate.valid_from} up to {rate.max_tenor_months}" for rate in table]
    if twice := duplicates(keys):
        raise ValueError(f"two rates for {twice[0]} months")
    return table


RateTable = Annotated[tuple[BenchmarkRate, ...], AfterValidator(_distinct)]
"""Published rates by tenor and day: the benchmark, or the loan prime rate after it."""

SpreadPpm = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]


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


class SpreadPricing(Clause):
    """A published rate plus a spread; equal bounds fix the price, a missing one does not bind."""

    mode: Literal["spread"]
    reference: Literal["benchmark", "lpr"]
    min_spread_ppm: SpreadPpm | None = None
    max_spread_ppm: SpreadPpm | None = None

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min_spread_ppm is None and self.max_spread_ppm is None:
            raise ValueError("a spread needs min_spread_ppm, max_spread_ppm or both")
        if (
            self.min_spread_ppm is not None
            and self.max_spread_ppm is not None
            and self.max_spread_ppm < self.min_spread_ppm
        ):
            raise ValueError("max_spread_ppm is below min_spread_ppm")
        return self


Pricing = Annotated[
    BenchmarkPricing | BenchmarkPlusPricing | RangePricing | SpreadPricing,
    Field(discriminator="mode"),
]


class PricingTier(Clause):
    """From this amount on, inclusive, the product has this price instead."""

    min_principal_fen: FenAmount
    pricing: OrOpen[Pricing]


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
    paid_from: Code | None = None

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
    SECOND_REVIEW = "second_review"
    CHECK = "check"
    CONSENT = "consent"
    RECOMMENDATION = "recommendation"
    GUARANTEE_RECOMMENDATION = "guarantee_recommendation"
    INVESTIGATION = "investigation"
    APPROVAL = "approval"


class ApprovalStep(Clause):
    """
    One step of the approval chain, in order; the last one approves.

    A `body` decides and its `organ` records it; `level` is the lender's own; `joint_session`: taken
    in one sitting with the steps beside it.
    """

    step: Code
    kind: StepKind
    organ: Organ
    body: Code | None = None
    level: Literal["outlet", "branch", "head_office"] | None = None
    joint_session: bool = False
    starts_sla: bool = False


class Sla(Clause):
    """How long it may take from acceptance to the money; a promise has no consequence (S31)."""

    unit: Literal["working_days", "days", "minutes"] = "working_days"
    value: Annotated[int, Field(ge=0, le=10_000)]
    promise: bool = False

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.unit != "minutes" and self.value > SLA_DAYS_MAX:
            raise ValueError(f"a deadline is at most {SLA_DAYS_MAX} days away")
        return self


class Purpose(Clause):
    """What the money may and may not be used for; no `allowed` list means all but prohibited."""

    prohibited: tuple[Code, ...] = ()
    allowed: OrOpen[tuple[Code, ...]] | None = None

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.allowed is None or isinstance(self.allowed, Open):
            return self
        if not self.allowed:
            raise ValueError("allowed names no purpose")
        if both := sorted(set(self.prohibited) & set(self.allowed)):
            raise ValueError(f"purpose {both[0]} is both allowed and prohibited")
        return self


SettlementCycle = Literal[
    "bullet", "annual", "quarterly", "monthly", "equal_principal", "equal_instalment"
]


class LoanProduct(Clause):
    """One product: who may have it, how much, at what price, by which chain, how fast."""

    id: Code
    title: Title
    borrower_classes: tuple[BorrowerClass, ...]
    entity_types: tuple[Code, ...] = ()
    gates: tuple[Gate, ...] = ()
    lender: Literal["bank", "mutual_aid_society", "insurer"] = "bank"
    funding_sources: tuple[FundingSource, ...] = ()
    backing: Backing | None = None
    line_fen: FenAmount | None = None
    availability: tuple[Phase, ...] = ()
    facility: Literal["term", "revolving"] = "term"
    revolving: Revolving | None = None
    min_principal_fen: FenAmount | None = None
    max_principal_fen: OrOpen[FenAmount] | None = None
    per_capita_fen: FenAmount | None = None
    amount_tiers: tuple[AmountTier, ...] = ()
    max_term_months: OrOpen[Months] | None = None
    term_mode: Literal["up_to_maximum", "production_cycle", "flexible"] = "up_to_maximum"
    security: Security = Security()
    group: GroupLending | None = None
    pooled: PooledLending | None = None
    pricing: OrOpen[Pricing]
    pricing_tiers: tuple[PricingTier, ...] = ()
    fees: OrOpen[tuple[Fee, ...]] | None = None
    subsidy: OrOpen[Subsidy]
    interest_settlement: OrOpen[SettlementCycle | tuple[SettlementCycle, ...]]
    approval_chain: OrOpen[tuple[ApprovalStep, ...]]
    later_steps: tuple[LaterStep, ...] = ()
    sla: OrOpen[Sla] | None = None
    self_service: SelfService | None = None
    channels: tuple[Literal["counter", "online"], ...] = ()
    purpose: Purpose = Purpose()
    use: UseOfLoan | None = None
    renewal: OrOpen[Renewal] | None = None
    extension: OrOpen[Extension] | None = None
    reborrowing: Literal["after_full_repayment"] | None = None
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
        names = [step.step for step in steps] + [step.step for step in self.later_steps]
        if twice := duplicates(names):
            raise ValueError(f"approval step {twice[0]} is declared twice")
        if sum(step.starts_sla for step in steps) > 1:
            raise ValueError("only one step starts the SLA clock")
        return self

    @model_validator(mode="after")
    def _amounts(self) -> Self:
        most = self.max_principal_fen
        if self.min_principal_fen is not None and most is not None and not isinstance(most, Open):
            in_order(self.min_principal_fen, most)
        for tier in self.amount_tiers:
            least = tier.min_principal_fen
            least = self.min_principal_fen if least is None else least
            if least is not None and not isinstance(tier.max_principal_fen, Open):
                in_order(least, tier.max_principal_fen)
        starts = [tier.min_principal_fen for tier in self.pricing_tiers]
        if any(low >= high for low, high in pairwise(starts)):
            raise ValueError("pricing_tiers rise: each min_principal_fen above the one before")
        return self

    @model_validator(mode="after")
    def _funded(self) -> Self:
        floors = [
            price.min_rate_ppm or 0 for price in self.prices if isinstance(price, RangePricing)
        ]
        for source in self.funding_sources:
            if source.max_rate_ppm is not None and source.max_rate_ppm < max(floors, default=0):
                raise ValueError(f"funding source {source.id} bears no rate that pricing allows")
        return self

    @model_validator(mode="after")
    def _facility(self) -> Self:
        if self.revolving is not None and self.facility != "revolving":
            raise ValueError("the clause revolving needs facility: revolving")
        days = [p.valid_from for p in self.availability if not isinstance(p.valid_from, Open)]
        if any(earlier >= later for earlier, later in pairwise(days)):
            raise ValueError("phases of availability follow each other: each from after the last")
        if self.pooled is None and any(p.state == "whitelist_only" for p in self.availability):
            raise ValueError("whitelist_only needs the clause pooled, which has the white list")
        return self

    @model_validator(mode="after")
    def _no_repeats(self) -> Self:
        lists: dict[str, list[str]] = {
            "gates": [gate.code for gate in self.gates],
            "interest_settlement": list(self.settlement_cycles),
        }
        if self.interest_settlement == ():
            raise ValueError("interest_settlement names no cycle")
        for key, names in lists.items():
            if twice := duplicates(names):
                raise ValueError(f"{key} names {twice[0]} twice")
        return self

    @property
    def prices(self) -> tuple[Pricing, ...]:
        """The product's price and those of its tiers, as far as they are known."""
        said = (self.pricing, *(tier.pricing for tier in self.pricing_tiers))
        return tuple(price for price in said if not isinstance(price, Open))

    @property
    def settlement_cycles(self) -> tuple[SettlementCycle, ...]:
        """When interest may be paid; none while that is open."""
        said = self.interest_settlement
        if isinstance(said, Open):
            return ()
        return said if isinstance(said, tuple) else (said,)


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
        if not self.requires:
            raise ValueError("requires names nothing, so that nothing is controlled")
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
    lpr: OrOpen[RateTable] | None = None
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
    notices: Notices | None = None
    controlled_drawdown: ControlledDrawdown | None = None
    segregation: Segregation | None = None
    purpose_verification: PurposeVerification | None = None
    post_loan_checks: tuple[PostLoanCheck, ...] = ()
    task_terms: TaskTerms | None = None
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
