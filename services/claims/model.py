"""Claims: the nouns. Values only; nothing here acts."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from services.kernel.money import Fen

NOTHING = Fen(0)


class LoanState(StrEnum):
    """What claims knows of a loan; all but APPROVED are closed."""

    APPROVED = "approved"
    REFUSED = "refused"
    SETTLED = "settled"


class ClaimState(StrEnum):
    """Where a claim is."""

    REPORTED = "reported"
    SUSPENDED = "suspended"
    PROPOSED = "proposed"
    APPROVED = "approved"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


OPEN_CLAIMS = (ClaimState.REPORTED, ClaimState.SUSPENDED, ClaimState.PROPOSED)


class ReporterKind(StrEnum):
    """For whom a claim is reported."""

    HOUSEHOLD = "household"
    VILLAGE = "village"
    INSURER = "insurer"


class StepKind(StrEnum):
    """What happened to a claim."""

    REPORTED = "reported"
    REPORT_REFUSED = "report_refused"
    DOCUMENTS_ADDED = "documents_added"
    SURVEYED = "surveyed"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    PROPOSED = "proposed"
    SENT_BACK = "sent_back"
    APPROVED = "approved"
    REFUSED = "refused"
    DECISION_REFUSED = "decision_refused"
    WITHDRAWN = "withdrawn"
    REOPENED = "reopened"
    DISPUTED = "disputed"
    DISPUTE_ANSWERED = "dispute_answered"
    OVERDUE = "overdue"


class EntryState(StrEnum):
    """Where an insured entry is."""

    WAITING = "waiting"
    """Not begun, or its premium is not paid where the programme wants that first."""
    IN_FORCE = "in_force"
    OVER = "over"
    CANCELLED = "cancelled"
    """Ended before it began."""


class PayoutState(StrEnum):
    """Where a payout is on its way."""

    AUTHORISED = "authorised"
    ALLOCATED = "allocated"
    """Divided; nothing is sent, every instruction is held."""
    INSTRUCTED = "instructed"
    UNKNOWN = "unknown"
    """A payee did not answer in time."""
    CORRECTING = "correcting"
    """A lender kept less than it was sent; loans divides the rest."""
    CONFIRMED = "confirmed"
    """Every lender has confirmed; the household's instruction is held."""
    HOUSEHOLD_INSTRUCTED = "household_instructed"
    SETTLED = "settled"
    REVERSED = "reversed"

    @property
    def is_over(self) -> bool:
        """Whether everybody had what was theirs; it may have been taken back since."""
        return self in (PayoutState.SETTLED, PayoutState.REVERSED)


class InstructionState(StrEnum):
    """Where a payment instruction is."""

    HELD = "held"
    """Not sent, for a reason."""
    OPEN = "open"
    UNKNOWN = "unknown"
    """Sent and not answered in time."""
    NOT_RECEIVED = "not_received"
    """Asked, and not there: it may be sent again with the same id."""
    CONFIRMED = "confirmed"


class PayeeKind(StrEnum):
    """Whom an instruction pays."""

    LENDER = "lender"
    HOUSEHOLD = "household"


@dataclass(frozen=True, slots=True)
class Actor:
    """A person behind an institution."""

    institution_id: str
    person_id: str


@dataclass(frozen=True, slots=True)
class Household:
    """What claims knows of a household: where it is, and its status."""

    county_code: str
    household_id: UUID
    area_code: str
    status: str


@dataclass(frozen=True, slots=True)
class ApprovedLoan:
    """A loan whose household joins the insured lists of the covers that it requires."""

    county_code: str
    loan_id: UUID
    household_id: UUID
    area_code: str
    lender_id: str
    principal_fen: Fen
    programme: str
    assignment_evidence: str
    """Hash of the household's authorisation; empty when it gave none."""
    required_covers: tuple[str, ...]
    approved_on: date

    @property
    def programme_id(self) -> str:
        """The programme without version: policies of it insure this loan."""
        return self.programme.split("@", 1)[0]


@dataclass(frozen=True, slots=True)
class ClosedLoan:
    """A loan that is refused or owed nothing any more."""

    county_code: str
    loan_id: UUID
    state: LoanState
    closed_on: date


@dataclass(frozen=True, slots=True)
class MasterPolicy:
    """One policy of a county or a town for its covers, in place of one for each household."""

    county_code: str
    policy_id: UUID
    insurer_id: str
    programme_id: str
    programme: str
    """Pack version that it was issued under, for life."""
    area_code: str
    covers: tuple[str, ...]
    from_date: date
    until_date: date
    rate_ppm: int | None = None
    """The policy's own rate, where the programme leaves it to the policy."""
    enterprise_id: str = ""
    """Who pays, where the programme says that an enterprise does."""
    renews_policy_id: UUID | None = None
    end_reason: str = ""


@dataclass(frozen=True, slots=True)
class InsuredEntry:
    """A loan's household, or a household or person of a file, on the list of a master policy."""

    county_code: str
    insured_id: UUID
    policy_id: UUID
    household_id: UUID
    loan_id: UUID | None
    """None for a household that a file put on the list."""
    cover_id: str
    sum_insured_fen: Fen
    premium_fen: Fen
    """Premium of the whole term at the present sum."""
    premium_payer_id: str
    from_date: date
    until_date: date
    term_until: date
    """Last day that the premium was charged for; later than `until_date` once the entry left."""
    member_id: UUID | None = None
    state: EntryState = EntryState.IN_FORCE
    version: int = 1
    """How many events were said of the entry."""

    @property
    def left(self) -> bool:
        """Whether the entry ends before its term."""
        return self.until_date < self.term_until


@dataclass(frozen=True, slots=True)
class Charge:
    """Premium that a payer owes on a policy; below 0 what goes back."""

    county_code: str
    charge_id: UUID
    policy_id: UUID
    insured_id: UUID | None
    kind: str
    payer: str
    payer_id: str
    insurer_id: str
    amount_fen: Fen
    value_date: date


@dataclass(frozen=True, slots=True)
class Endorsement:
    """A change of a list, as it was recorded."""

    county_code: str
    endorsement_id: UUID
    policy_id: UUID
    insured_id: UUID
    kind: str
    effective_on: date
    sum_before_fen: Fen
    sum_after_fen: Fen
    premium_fen: Fen
    reason: str
    institution_id: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a list by file."""

    household_id: UUID
    member_id: UUID | None
    cover_id: str
    stated_fen: Fen
    loan_id: UUID | None
    from_date: date | None


@dataclass(frozen=True, slots=True)
class Change:
    """A change that somebody wants of an entry: a new sum, or that it leaves."""

    insured_id: UUID
    leaves: bool
    effective_on: date
    sum_insured_fen: Fen
    reason: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """A signed, dated agreement of government, banks and an insurer."""

    county_code: str
    agreement_id: UUID
    insurer_id: str
    programme_id: str
    government_id: str
    bank_ids: tuple[str, ...]
    signed_on: date
    from_date: date
    until_date: date
    document: str
    ended_from: date | None = None
    end_reason: str = ""

    def holds_on(self, day: date) -> bool:
        """Whether it stands on a day."""
        ended = self.ended_from is not None and self.ended_from <= day
        return self.from_date <= day <= self.until_date and not ended


@dataclass(frozen=True, slots=True)
class LineDivision:
    """A profitable line shared out by guarantee volume; the shares sum to the premium."""

    county_code: str
    division_id: UUID
    programme_id: str
    programme: str
    cover_id: str
    premium_fen: Fen
    from_date: date
    until_date: date
    shares: tuple[tuple[str, Fen, Fen], ...]
    """Insurer, volume and share."""


@dataclass(frozen=True, slots=True)
class Payment:
    """Premium that arrived at the insurer; below 0 a refund that it paid out."""

    policy_id: UUID
    payer_id: str
    amount_fen: Fen
    value_date: date
    reference: str


@dataclass(frozen=True, slots=True)
class Difficulty:
    """A lender's word that a loss made repayment of a loan difficult (S04)."""

    county_code: str
    difficulty_id: UUID
    loan_id: UUID
    household_id: UUID
    lender_id: str
    cause: str
    evidence: str
    from_date: date
    ended_from: date | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """An insured entry with what stands around it: its policy, its loan, its household's place."""

    entry: InsuredEntry
    insurer_id: str
    programme: str
    lender_id: str
    """Empty when the entry has no loan."""
    area_code: str
    loan_open: bool
    loan_approved_on: date | None


@dataclass(frozen=True, slots=True)
class Assignment:
    """The household's authorisation that payouts of a cover settle one loan first."""

    county_code: str
    assignment_id: UUID
    household_id: UUID
    cover_id: str
    loan_id: UUID
    lender_id: str
    evidence: str
    """Hash of the authorisation that the household signed."""
    from_date: date
    revoked_from: date | None = None
    """First day on which it stands no more."""


@dataclass(frozen=True, slots=True)
class AssignedLoan:
    """An open loan with an assignment in force, as a payee of a payout."""

    loan_id: UUID
    lender_id: str
    in_difficulty: bool = False
    """Its lender confirmed that repayment is in difficulty (S04)."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a document of a claim is and where its owner keeps it."""

    document_type: str
    reference: str
    hash: str


UNTYPED = "document"
"""Type of a document of which only the hash was said."""


@dataclass(frozen=True, slots=True)
class ClaimLine:
    """One thing of a survey or of a decision."""

    item: str
    claimed_fen: Fen
    assessed_fen: Fen
    payable_fen: Fen = NOTHING
    reason_code: str = ""


Pause = tuple[date, date]
"""First and last day on which a claim's clock stood still."""


@dataclass(frozen=True, slots=True)
class Report:
    """A loss, as somebody reports it."""

    household_id: UUID
    cover_id: str
    loss_date: date
    cause: str
    assessed_fen: Fen
    documents: tuple[str, ...]
    claimed_fen: Fen = NOTHING
    event_code: str = ""
    person_id: UUID | None = None
    reporter_kind: ReporterKind = ReporterKind.VILLAGE
    typed_documents: tuple[Document, ...] = ()

    @property
    def whole_claimed_fen(self) -> Fen:
        """What is claimed: what is assessed already, where nobody says more."""
        return self.claimed_fen or self.assessed_fen


@dataclass(frozen=True, slots=True)
class Claim:
    """A reported loss and what became of it."""

    county_code: str
    claim_id: UUID
    version: int
    """Raised with each event; `steps` with each step."""
    household_id: UUID
    area_code: str
    cover_id: str
    policy_id: UUID | None
    """None for a report that no policy covers."""
    insured_id: UUID | None
    """None also for an index unit's claim."""
    loan_id: UUID | None
    insurer_id: str
    lender_id: str
    """Empty when the insured entry has no loan."""
    programme: str
    loss_date: date
    cause: str
    assessed_fen: Fen
    documents: tuple[str, ...]
    reported_by: Actor
    reported_on: date
    state: ClaimState = ClaimState.REPORTED
    reason: str = ""
    payable_fen: Fen = NOTHING
    payout_id: UUID | None = None
    due_on: date | None = None
    decided_by: Actor | None = None
    decided_on: date | None = None
    claimed_fen: Fen = NOTHING
    event_code: str = ""
    person_id: UUID | None = None
    reporter_kind: ReporterKind = ReporterKind.VILLAGE
    taken_in: bool = True
    steps: int = 1
    accepted_on: date | None = None
    paused_from: date | None = None
    pauses: tuple[Pause, ...] = ()
    supplement: int = 0
    proposed_by: Actor | None = None
    overdue_since: date | None = None
    reason_code: str = ""
    unit_id: UUID | None = None
    paid_fen: Fen = NOTHING
    """What payees confirmed; known only of claims that were read for the wire."""
    overlaps: tuple[UUID, ...] = ()
    """The household's other claims of the same loss; so known too."""

    @property
    def loss(self) -> str:
        """What makes two reports the same loss: the disaster, or the day."""
        return self.event_code or self.loss_date.isoformat()


@dataclass(frozen=True, slots=True)
class Decision:
    """What an insurer decides about a claim."""

    claim_id: UUID
    approve: bool
    reason: str
    reason_code: str = ""
    lines: tuple[ClaimLine, ...] = ()
    rule: "EventRule | None" = None
    """The rule of an event, where one decides many."""


@dataclass(frozen=True, slots=True)
class Check:
    """What the second person says of a proposal."""

    claim_id: UUID
    confirm: bool
    reason: str


@dataclass(frozen=True, slots=True)
class EventRule:
    """One rule for all claims of an event; None where it sets no bound."""

    share_ppm: int
    max_fen: Fen | None
    min_assessed_fen: Fen


@dataclass(frozen=True, slots=True)
class Used:
    """What other claims of the insured took already."""

    event_fen: int = 0
    person_fen: int = 0
    period_fen: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to a claim."""

    claim: Claim
    """As it was after it."""
    kind: StepKind
    actor: Actor
    on: date
    reason_code: str = ""
    note: str = ""
    working: str = ""
    lines: tuple[ClaimLine, ...] = ()
    documents: tuple[Document, ...] = ()


@dataclass(frozen=True, slots=True)
class PastStep:
    """A step, as it is read again."""

    step: int
    kind: StepKind
    state: ClaimState
    actor: Actor
    on: date
    reason_code: str
    note: str
    claimed_fen: Fen
    assessed_fen: Fen
    payable_fen: Fen
    working: str
    lines: tuple[ClaimLine, ...]


@dataclass(frozen=True, slots=True)
class Dispute:
    """What a household says against a decision, and the answer."""

    county_code: str
    dispute_id: UUID
    claim_id: UUID
    said: str
    opened_by: Actor
    opened_on: date
    due_on: date
    answer: str = ""
    upheld: bool = False
    answered_by: Actor | None = None
    answered_on: date | None = None
    supplement_claim_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class History:
    """All that happened to a claim."""

    claim: Claim
    steps: tuple[PastStep, ...]
    documents: tuple[Document, ...]
    disputes: tuple[Dispute, ...]


@dataclass(frozen=True, slots=True)
class ClaimFilter:
    """Which claims a list shows; empty fields do not narrow it."""

    within: str = ""
    state: str = ""
    overdue_only: bool = False
    event_code: str = ""
    household_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class IndexPolicy:
    """A policy with one of its covers: a line's, or one that a price decides about."""

    county_code: str
    policy_id: UUID
    insurer_id: str
    programme_id: str
    programme: str
    cover_id: str
    from_date: date
    until_date: date


@dataclass(frozen=True, slots=True)
class IndexUnit:
    """What one household insures under a policy of an index cover."""

    county_code: str
    unit_id: UUID
    policy_id: UUID
    household_id: UUID
    area_code: str
    insured_id: UUID | None
    """Its entry on the insured list, where it has one."""
    loan_id: UUID | None
    lender_id: str
    quantity_centi_jin: int
    sum_insured_fen: Fen


@dataclass(frozen=True, slots=True)
class IndexValue:
    """A market price that somebody said; with a reason code it does not count."""

    county_code: str
    value_id: UUID
    programme_id: str
    cover_id: str
    source: Actor
    priced_on: date
    price_fen_per_jin: Fen
    evidence: str
    recorded_on: date
    reason_code: str = ""


@dataclass(frozen=True, slots=True)
class IndexPeriod:
    """A settlement period of a policy, worked out."""

    county_code: str
    policy_id: UUID
    cover_id: str
    from_date: date
    until_date: date
    prices_fen: tuple[Fen, ...]
    reporter: Actor
    """Who said its last price: the claims that it makes are that institution's report."""
    gap_fen_per_jin: Fen
    triggered: bool
    working: str
    settled_on: date
    done: bool
    claims_count: int = 0
    payable_fen: Fen = NOTHING


@dataclass(frozen=True, slots=True)
class LineResult:
    """What one insurer's policies of one cover came to over a period."""

    county_code: str
    line_id: UUID
    """Of the line over this period."""
    number: int
    """From 1 for each insurer, programme and cover."""
    insurer_id: str
    programme_id: str
    programme: str
    cover_id: str
    area_code: str
    from_date: date
    until_date: date
    premium_fen: Fen
    payouts_fen: Fen
    payouts_count: int


@dataclass(frozen=True, slots=True)
class Part:
    """What one lender takes of a payout for one loan, as loans allocated it."""

    loan_id: UUID
    lender_id: str
    amount_fen: Fen
    interest_fen: Fen
    principal_fen: Fen
    subrogated_fen: Fen
    outstanding_fen: Fen


@dataclass(frozen=True, slots=True)
class Allocation:
    """A payout, divided by loans; parts and household sum to the amount."""

    county_code: str
    payout_id: UUID
    amount_fen: Fen
    household_fen: Fen
    parts: tuple[Part, ...]
    corrections: int = 0
    """How many corrections this division takes in."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction to pay one payee of a payout."""

    instruction_id: UUID
    payout_id: UUID
    payee_kind: PayeeKind
    payee_id: str
    insurer_id: str
    loan_id: UUID | None
    amount_fen: Fen
    state: InstructionState = InstructionState.OPEN
    confirmed_by: Actor | None = None
    confirmed_value_date: date | None = None
    round: int = 0
    """Which division of the payout it comes from: 0, or the number of the correction."""
    account_ref: str = ""
    held_reason: str = ""
    sent_on: date | None = None
    attempt: int = 1
    asked_on: date | None = None
    confirmed_fen: Fen = NOTHING
    """What the payee kept, once it confirmed."""
    correction: int = 0
    """The correction that its confirmation made; 0 when it kept all."""

    @property
    def paid_fen(self) -> Fen:
        """What it moves in the end: the amount, or what was kept of it."""
        return self.confirmed_fen if self.state is InstructionState.CONFIRMED else self.amount_fen


@dataclass(frozen=True, slots=True)
class Payout:
    """Money that an insurer owes on a claim, and its way to the lenders and the household."""

    county_code: str
    payout_id: UUID
    version: int
    claim_id: UUID
    household_id: UUID
    area_code: str
    insurer_id: str
    programme: str
    amount_fen: Fen
    value_date: date
    loss_date: date
    household_at_once: bool
    """The programme pays the household without waiting for the lenders."""
    state: PayoutState = PayoutState.AUTHORISED
    lenders_fen: Fen = NOTHING
    household_fen: Fen = NOTHING
    parts: tuple[Part, ...] = ()
    instructions: tuple[Instruction, ...] = ()
    groups: tuple[tuple[UUID, ...], ...] = ()
    """The payees before the household, as they were authorised."""
    corrections: int = 0
    corrections_answered: int = 0

    @property
    def household_instructed_fen(self) -> Fen:
        """What the household is instructed to get so far."""
        own = (i.paid_fen for i in self.instructions if i.payee_kind is PayeeKind.HOUSEHOLD)
        return Fen(sum(own))


@dataclass(frozen=True, slots=True)
class Authorisation:
    """An approved claim's payout, with the payees before the household."""

    payout: Payout
    groups: tuple[tuple[UUID, ...], ...]
    """Loans in order; those of one group are of equal rank (S07)."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A payee's or payer's word that the money of an instruction arrived."""

    instruction_id: UUID
    confirmed_fen: Fen
    value_date: date
    reason: str = ""
    """OVERPAID when less is kept because less was owed."""


@dataclass(frozen=True, slots=True)
class Payee:
    """Where a payee is paid, or why it is not."""

    account_ref: str
    held_reason: str = ""


class Said(StrEnum):
    """What is said about an instruction; statuses of pain.002 by their own codes."""

    CONFIRM = "confirm"
    ASK = "ask"
    DONE = "done"
    NOT_RECEIVED = "not_received"
    REFUSED = "refused"
    RESEND = "resend"
    TAKEN_IN = "ACCP"
    SETTLED = "ACSC"
    REJECTED = "RJCT"
    PENDING = "PDNG"


@dataclass(frozen=True, slots=True)
class Word:
    """One thing that somebody says about an instruction."""

    said: Said
    instruction_id: UUID
    amount_fen: Fen = NOTHING
    """None of it: the whole instruction, where the word is a status."""
    value_date: date | None = None
    reason: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True)
class KeptWord:
    """A word as it is kept, also when it was refused."""

    county_code: str
    word_id: UUID
    word: Word
    refusal: str
    actor: Actor
    said_on: date


@dataclass(frozen=True, slots=True)
class Debt:
    """What a household itself owes on a loan, as loans said it last."""

    county_code: str
    loan_id: UUID
    outstanding_fen: Fen | None
    interest_fen: Fen | None
    """None: not said, as it was."""
    said_on: date

    @property
    def owed_fen(self) -> Fen:
        """Both together."""
        return Fen((self.outstanding_fen or 0) + (self.interest_fen or 0))


@dataclass(frozen=True, slots=True)
class QuotedPart:
    """What one lender would get."""

    loan: AssignedLoan
    amount_fen: Fen
    owed_fen: Fen
    said_on: date | None
    stale: bool


@dataclass(frozen=True, slots=True)
class Quote:
    """What a payout would come to."""

    parts: tuple[QuotedPart, ...]
    household_fen: Fen

    @property
    def stale(self) -> bool:
        """Some debt was said before the day."""
        return any(part.stale for part in self.parts)


class ReversalState(StrEnum):
    """Where a reversal is."""

    ASKED = "asked"
    APPROVED = "approved"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Reversal:
    """A wish to take a settled payout back, and what a second person decided."""

    county_code: str
    reversal_id: UUID
    payout_id: UUID
    reason: str
    evidence: str
    asked_by: Actor
    asked_on: date
    state: ReversalState = ReversalState.ASKED
    decided_by: Actor | None = None
    decided_on: date | None = None


@dataclass(frozen=True, slots=True)
class Receivable:
    """What a lender or a household owes back for a payout that was taken back."""

    county_code: str
    receivable_id: UUID
    payout_id: UUID
    insurer_id: str
    debtor_kind: PayeeKind
    debtor_id: str
    loan_id: UUID | None
    amount_fen: Fen
    paid_fen: Fen = NOTHING

    @property
    def closed(self) -> bool:
        """All of it came back."""
        return self.paid_fen >= self.amount_fen


@dataclass(frozen=True, slots=True)
class ReceivablePayment:
    """Money that came back."""

    receivable_id: UUID
    amount_fen: Fen
    value_date: date
    reference: str


@dataclass(frozen=True, slots=True)
class PaymentMessage:
    """Instructions that were sent together."""

    county_code: str
    message_id: UUID
    insurer_id: str
    created_on: date
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class MoneyEvent:
    """What a payout came to at one moment, for the household's note."""

    name: str
    amount_fen: Fen
    parts: tuple[tuple[str, Fen], ...]
    """Lenders with what each has."""
    household_fen: Fen
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Complaint:
    """A household's complaint about a payout or a claim."""

    county_code: str
    complaint_id: UUID
    subject_id: UUID
    household_id: UUID
    area_code: str
    insurer_id: str
    reason: str
    evidence: str
    filed_by: Actor
    filed_on: date
    due_on: date
    outcome: str = ""
    answered_on: date | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """What a caller may see of claims and payouts; empty fields do not narrow it."""

    insurer_id: str = ""
    lender_id: str = ""
    areas: tuple[str, ...] = ()
