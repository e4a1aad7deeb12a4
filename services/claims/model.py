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
    APPROVED = "approved"
    REFUSED = "refused"


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
    """One policy of a county for one cover, in place of one for each household."""

    county_code: str
    policy_id: UUID
    insurer_id: str
    programme_id: str
    programme: str
    """Pack version that it was issued under, for life."""
    cover_id: str
    from_date: date
    until_date: date


@dataclass(frozen=True, slots=True)
class InsuredEntry:
    """A loan's household on the insured list of a master policy."""

    county_code: str
    insured_id: UUID
    policy_id: UUID
    household_id: UUID
    loan_id: UUID | None
    """None for a household that a file put on the list."""
    cover_id: str
    sum_insured_fen: Fen
    premium_fen: Fen
    premium_payer_id: str
    from_date: date
    until_date: date


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
class Report:
    """A loss, as somebody reports it."""

    household_id: UUID
    cover_id: str
    loss_date: date
    cause: str
    assessed_fen: Fen
    documents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """A reported loss and what became of it."""

    county_code: str
    claim_id: UUID
    version: int
    household_id: UUID
    area_code: str
    cover_id: str
    policy_id: UUID
    insured_id: UUID
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


@dataclass(frozen=True, slots=True)
class Decision:
    """What an insurer decides about a claim."""

    claim_id: UUID
    approve: bool
    reason: str


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
