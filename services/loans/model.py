"""Loans: the nouns. Values only; nothing here acts."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from services.kernel.money import Fen
from services.kernel.values import light

NOTHING = Fen(0)


class LoanState(StrEnum):
    """Where a loan is in its life."""

    IN_REVIEW = "in_review"
    AWAITING_COVER = "awaiting_cover"
    APPROVED = "approved"
    REFUSED = "refused"
    ACTIVE = "active"
    SETTLED = "settled"
    WRITTEN_OFF = "written_off"


class BreakerScope(StrEnum):
    """What a breaker stops lending in."""

    VILLAGE = "village"
    TOWNSHIP = "township"
    COUNTY = "county"
    PROGRAMME = "programme"
    PRODUCT = "product"
    LENDER = "lender"
    OUTLET = "outlet"


@light
@dataclass(frozen=True, slots=True)
class Interest:
    """
    Interest of a loan, exact until it is posted.

    Numerators are principal × rate in parts per million × days, summed over all days that have
    passed; what they come to is rounded once, on the sum, so that segments never add up errors.
    """

    accrued_through: date
    household_numerator: int
    household_posted_fen: Fen
    """All that the household was ever charged; `owed_fen` is what it has not paid."""
    treasury_numerator: int
    treasury_posted_fen: Fen
    owed_fen: Fen


@light
@dataclass(frozen=True, slots=True)
class Loan:
    """A loan, from application on."""

    county_code: str
    loan_id: UUID
    version: int
    """Events said of it so far: the next one carries this plus one."""
    household_id: UUID
    area_code: str
    lender_id: str
    programme: str
    product_id: str
    borrower_class: str
    state: LoanState
    next_step: str
    decided: tuple[tuple[str, str], ...]
    """Steps passed, each with the person who passed it."""
    refusal_reasons: tuple[str, ...]
    principal_fen: Fen
    term_months: int
    purpose: str
    used_in_area: str
    assignment_evidence: str
    required_covers: tuple[str, ...]
    covers_in_force: tuple[str, ...]
    applied_on: date
    sla_due_on: date | None
    rate_ppm: int
    subsidised: bool
    disbursed_on: date | None
    matures_on: date | None
    notice_on: date | None
    outstanding_fen: Fen
    interest: Interest | None
    overdue_days: int
    five_tier_class: str
    non_performing_on: date | None
    subrogated_fen: Fen
    """Of what is owed, what belongs to those who compensated the lender."""
    compensated: bool
    covered: bool
    """A fund has reserved cover for it."""
    method: str
    """How it is paid back, the product's `interest_settlement`."""
    next_due_on: date | None
    """The first day on which something fell or falls due that is not paid yet."""
    suspense_fen: Fen
    """Paid too much: the payer's, until it is given back."""
    postings: int
    """Rows of its book so far; the next one carries this plus one."""
    subsidy_rate_ppm: int = 0
    """The yearly rate that the treasury bears at most; 0 of a subsidised loan: all of its rate."""
    subsidy_ends_on: date | None = None
    """When the household's months of subsidy are used up; None: not counted yet."""
    subsidy_ended_on: date | None = None
    """The day from which the household bears all interest itself."""
    undrawn_fen: Fen = NOTHING
    """Paid out already in part: what may still be drawn, or comes in later batches."""
    revolving_until: date | None = None
    """Last day on which a revolving limit may be drawn; None for a loan of a term."""
    outlet_code: str = ""
    """The lender's outlet that lends it; empty where the lender names none."""

    @property
    def owed_fen(self) -> Fen:
        """Principal and interest that the household owes, as posted."""
        return Fen(self.outstanding_fen + (self.interest.owed_fen if self.interest else 0))

    @property
    def covers_missing(self) -> tuple[str, ...]:
        """Required covers that are not in force yet."""
        return tuple(cover for cover in self.required_covers if cover not in self.covers_in_force)


@dataclass(frozen=True, slots=True)
class Borrower:
    """What loans knows of a household: where it is, what it may borrow, what it owes anywhere."""

    county_code: str
    household_id: UUID
    area_code: str
    status: str
    limit_fen: Fen
    grade: str
    limit_valid_until: date | None
    exposure_fen: Fen
    """Principal asked for, approved or owed, over all lenders (S55)."""
    people: int = 0
    """People in the household, 0 while nobody said."""
    entity_kind: str = ""
    """What it is when it is no household: `cooperative`, `village_company` and others."""
    held_by: tuple[str, ...] = ()
    """What took its limit away at credit: `gate:<code>`, `veto:<code>`, `sanction:<code>`."""


@dataclass(frozen=True, slots=True)
class Document:
    """A paper that came with an application, by reference: its kind and its hash."""

    kind: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Project:
    """A project of a library, as the application states it (HN-PO.loa.3)."""

    project_id: str
    grade: str
    library_levels: tuple[str, ...]
    whitelisted: bool


@dataclass(frozen=True, slots=True)
class Stated:
    """What an application states besides how much, from whom, for what and for how long."""

    channel: str = ""
    """`counter` or `online`; empty counts as the counter."""
    identity_proof: str = ""
    documents: tuple[Document, ...] = ()
    authorised_by: str = ""
    """Who authorised it from afar, empty when the borrower came."""
    authority_evidence: tuple[str, ...] = ()
    signatories: tuple[str, ...] = ()
    project: Project | None = None
    use_mode: str = ""
    conduct: tuple[str, ...] = ()
    user_id: UUID | None = None
    """Who uses the money; None: the borrower."""
    repayer_id: UUID | None = None
    production_cycle_months: int = 0
    proposed_rate_ppm: int = 0
    settlement: str = ""
    """One of the product's ways of paying interest; empty for the first."""
    funding: str = ""
    standing: str = ""
    """The borrower's standing among the product's amount tiers."""
    birth_date: date | None = None
    """Of the borrower, where the programme has an age limit."""
    facts: tuple[tuple[str, bool], ...] = ()
    fees: tuple[tuple[str, Fen], ...] = ()
    members: tuple[UUID, ...] = ()
    """Of a group: every household beside the borrower."""
    guarantor_id: str = ""


@dataclass(frozen=True, slots=True)
class Application:
    """What a borrower asks for."""

    household_id: UUID
    lender_id: str
    programme_id: str
    product_id: str
    principal_fen: Fen
    term_months: int
    purpose: str
    used_in_area: str
    assignment_evidence: str
    stated: Stated = Stated()
    outlet_code: str = ""
    """The lender's own number of the outlet that is asked; empty where it names none."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that forbids an application, and the numbers that decided."""

    reason: str
    working: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A household's place on the blacklist: the cause, since when."""

    household_id: UUID
    cause: str
    listed_on: date


@dataclass(frozen=True, slots=True)
class Contract:
    """What an approval fixed, for life."""

    approved_on: date
    rate_ppm: int
    reference_ppm: int | None
    """The published rate that the price was measured against; None: it refers to none."""
    subsidised_rate_ppm: int
    valid_until: date | None
    """Last day of a revolving limit."""
    breaker_epochs: tuple[tuple[str, int], ...]
    working: str


@dataclass(frozen=True, slots=True)
class Pause:
    """The clock stands while the borrower must supply something (S31)."""

    wanted: str
    asked_on: date
    asked_at: datetime
    supplied_on: date | None = None
    supplied_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class File:
    """An application's file: what was stated, what was found, how its clock stands."""

    loan_id: UUID
    borrower_kind: str
    """`household`, or the kind of the entity."""
    stated: Stated
    applied_by: str
    """The person who took it in."""
    findings: tuple[Finding, ...] = ()
    clock_on: date | None = None
    """Since when the programme's clock runs: the day of acceptance."""
    clock_at: datetime | None = None
    due_at: datetime | None = None
    """Of a deadline in minutes, the moment."""
    done_on: date | None = None
    done_at: datetime | None = None
    late: bool = False
    pauses: tuple[Pause, ...] = ()
    contract: Contract | None = None

    @property
    def paused(self) -> bool:
        """Whether the borrower must supply something now."""
        return bool(self.pauses) and self.pauses[-1].supplied_on is None


@dataclass(frozen=True, slots=True)
class StepTaken:
    """A step of the chain as it was taken; rows are only added."""

    loan_id: UUID
    number: int
    step: str
    organ: str
    body: str
    institution_id: str
    person_id: str
    approved: bool
    reason: str
    evidence: str
    taken_on: date


@dataclass(frozen=True, slots=True)
class Decision:
    """One step of the chain, decided by one person."""

    loan_id: UUID
    step: str
    approve: bool
    reason: str
    person_id: str
    evidence: str = ""
    """Hash of the report or minutes that it rests on."""
    proposed_rate_ppm: int = 0
    """The lender's rate, where the product leaves it to the lender."""


class BatchState(StrEnum):
    """Where a batch of a controlled loan is."""

    REQUESTED = "requested"
    PAID = "paid"


@dataclass(frozen=True, slots=True)
class Batch:
    """A part of a controlled loan, asked for, signed and paid out on its own."""

    loan_id: UUID
    number: int
    amount_fen: Fen
    purpose: str
    evidence: str
    supplier: str
    """The supplier's account that the lender pays on the borrower's behalf; empty for none."""
    state: BatchState
    requested_by: str
    requested_on: date
    county_approved_by: str = ""
    progress_signed_by: str = ""
    signed: tuple[tuple[str, str], ...] = ()
    """Signatories of the joint account so far, each organ with its person."""
    paid_on: date | None = None
    payment_evidence: str = ""


@dataclass(frozen=True, slots=True)
class Repayment:
    """Money that a lender received for a loan."""

    loan_id: UUID
    amount_fen: Fen
    value_date: date
    reference: str = ""
    """The lender's own, where its core system is the book."""
    recovery_id: str = ""
    """The recovery at the funds that it comes from; empty for none."""


@dataclass(frozen=True, slots=True)
class Undoing:
    """A repayment that is undone, and the loan it was meant for when that is another."""

    loan_id: UUID
    number: int
    reason: str
    to_loan_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Breaker:
    """A stop of lending in a scope, or its absence."""

    county_code: str
    scope: BreakerScope
    scope_id: str
    tripped: bool
    epoch: int
    effects: tuple[str, ...]
    numerator: int
    denominator: int
    version: int


@dataclass(frozen=True, slots=True)
class AreaBalance:
    """Principal of a village's loans: all that is owed, and the bad part of it."""

    area_code: str
    outstanding_fen: Fen
    non_performing_fen: Fen


@dataclass(frozen=True, slots=True)
class ScopeBalance:
    """Principal of a scope's loans under a programme: all that is owed, and the bad part of it."""

    scope_id: str
    outstanding_fen: Fen
    non_performing_fen: Fen


@dataclass(frozen=True, slots=True)
class DueMonth:
    """Principal of one loan that fell due in a month, and how much of it was collected (S19)."""

    loan_id: UUID
    programme_id: str
    due_fen: Fen
    collected_fen: Fen


@dataclass(frozen=True, slots=True)
class ScopeMonth:
    """The same of all loans of a scope."""

    scope_id: str
    month: date
    """Its first day."""
    due_fen: Fen
    collected_fen: Fen


@dataclass(frozen=True, slots=True)
class Payout:
    """An insurance payout to be put toward loans, the groups of equal rank in order."""

    payout_id: UUID
    household_id: UUID
    amount_fen: Fen
    value_date: date
    groups: tuple[tuple[UUID, ...], ...]


@dataclass(frozen=True, slots=True)
class AllocatedPart:
    """What one loan takes of a payout."""

    loan_id: UUID
    lender_id: str
    interest_fen: Fen
    principal_fen: Fen
    subrogated_fen: Fen
    outstanding_fen: Fen

    @property
    def amount_fen(self) -> Fen:
        """All that it takes."""
        return Fen(self.interest_fen + self.principal_fen)


@dataclass(frozen=True, slots=True)
class Allocation:
    """A payout, divided: what each loan takes and what is left for the household."""

    payout: Payout
    parts: tuple[AllocatedPart, ...]
    household_fen: Fen
    corrections: int = 0
    """How often a lender kept less than it was sent, and the rest was divided anew."""
    version: int = 1
    """Events said of it."""
    reversed_on: date | None = None


@dataclass(frozen=True, slots=True)
class Correction:
    """A lender keeps less of a payout than it was sent: the rest is for those after it."""

    payout_id: UUID
    number: int
    """From 1, in the order in which the payout was corrected."""
    loan_id: UUID
    freed_fen: Fen
    """What the lender gives back of what the loan has of the payout."""
    groups: tuple[tuple[UUID, ...], ...]


@dataclass(frozen=True, slots=True)
class PayoutReversal:
    """A payout that the insurer takes back."""

    payout_id: UUID
    value_date: date


@dataclass(frozen=True, slots=True)
class Compensation:
    """A loss that was shared: what the lender is compensated for, and by whom."""

    case_id: UUID
    loan_id: UUID
    loss_fen: Fen
    parts: tuple[tuple[str, str, Fen, bool], ...]
    """Party, institution, amount and whether it is paid; they sum to the loss."""


@dataclass(frozen=True, slots=True)
class SharePayment:
    """What somebody owed the lender of a compensated loan, paid later or taken back."""

    loan_id: UUID
    reference: str
    institution_id: str
    amount_fen: int


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was collected of a compensated loan and shared by the funds, after its costs."""

    loan_id: UUID
    recovery_id: UUID
    amount_fen: Fen
    value_date: date


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person said of a loan's class; the days may only make it worse."""

    judged_class: str = ""
    """The class that was judged; empty for none."""
    kept_non_performing: bool = False
    """It was given new terms while non-performing, and nobody judged it better since."""


@dataclass(frozen=True, slots=True)
class ClassChange:
    """One change of a loan's class."""

    loan_id: UUID
    changed_on: date
    was: str
    now: str
    overdue_days: int
    rule_version: str
    person_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """One of the programme's ordered steps on a loan that is overdue or non-performing."""

    loan_id: UUID
    cause: str
    since: date
    place: int
    action: str
    taken_on: date


@dataclass(frozen=True, slots=True)
class Review:
    """A review of a loan that is frozen until it ends."""

    review_id: UUID
    loan_id: UUID
    cause: str
    opened_on: date
    closed_on: date | None = None
    outcome: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that wants attention before it is a loss; raised once for each cause."""

    loan_id: UUID
    kind: str
    raised_on: date
    cause_id: str = ""


@dataclass(frozen=True, slots=True)
class CollectionCase:
    """What is done to have an overdue or non-performing loan paid."""

    case_id: UUID
    loan_id: UUID
    household_id: UUID
    lender_id: str
    area_code: str
    cause: str
    opened_on: date
    due_class: str = ""
    actions: tuple[str, ...] = ()
    organ: str = ""
    at_court: bool = False
    closed_on: date | None = None
    outcome: str = ""
    steps: int = 0


@dataclass(frozen=True, slots=True)
class CollectionStep:
    """One step of a collection."""

    number: int
    kind: str
    done_on: date
    organ: str
    note: str
    person_id: str


@dataclass(frozen=True, slots=True)
class WriteOff:
    """A write-off, proposed by one person and decided by another."""

    write_off_id: UUID
    loan_id: UUID
    reason: str
    proposed_by: str
    proposed_on: date
    decided_by: str = ""
    decided_on: date | None = None
    approved: bool = False
    principal_fen: Fen = NOTHING
    interest_fen: Fen = NOTHING


@dataclass(frozen=True, slots=True)
class Collateral:
    """What secures a loan."""

    collateral_id: UUID
    loan_id: UUID
    lender_id: str
    area_code: str
    pledge_id: str
    asset: str
    units: int
    unit_value_fen: Fen
    value_fen: Fen
    secures_fen: Fen
    source: str
    evidence: str
    valued_on: date
    revalue_by: date | None
    keeper_id: str
    registered_on: date
    month_yield_fen: Fen = NOTHING
    """What all its units bear a month while deposited."""
    months_borne: int = 0
    yield_fen: Fen = NOTHING
    refunded_fen: Fen = NOTHING
    released_on: date | None = None


@dataclass(frozen=True, slots=True)
class SubsidyBudget:
    """A year's budget for interest subsidies and what is left of it."""

    programme_id: str
    year: int
    budget_fen: Fen
    floor_fen: Fen
    claimed_fen: Fen
    paid_fen: Fen


@dataclass(frozen=True, slots=True)
class SubsidyClaim:
    """What a lender claims of the treasury for a quarter."""

    claim_id: UUID
    lender_id: str
    programme_id: str
    year: int
    quarter: int
    amount_fen: Fen
    loans: int
    claimed_on: date
    claimed_by: str
    paid_on: date | None = None


@dataclass(frozen=True, slots=True)
class SubsidyClaimLine:
    """One loan of a claim."""

    loan_id: UUID
    household_id: UUID
    amount_fen: Fen
    borne_fen: Fen
    """All that the treasury bore through the quarter's last day."""


@dataclass(frozen=True, slots=True)
class BreakerRecord:
    """One thing that befell a breaker."""

    scope: str
    scope_id: str
    what: str
    """`tripped`, `month_end` or `reset`."""
    recorded_on: date
    epoch: int
    numerator: int
    denominator: int
    below: bool
    rule_version: str
    person_id: str = ""
    reason: str = ""
