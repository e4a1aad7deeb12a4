"""Funds: the nouns. Values only; nothing here acts."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from services.kernel.money import Fen

NOTHING = Fen(0)

Key = tuple[str, UUID]
"""County code and id: the key of every aggregate."""


class FundState(StrEnum):
    """Whether a fund takes new cover and contributions."""

    OPEN = "open"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class FundClass(StrEnum):
    """What a fund is for."""

    COMPENSATION = "compensation"
    VILLAGE_MUTUAL = "village_mutual"
    VILLAGE_PROJECT = "village_project"
    MARGIN = "margin"
    MUTUAL_GUARANTEE = "mutual_guarantee"
    INSURER_POOL = "insurer_pool"
    STABILISATION = "stabilisation"


class CoverState(StrEnum):
    """Where the cover of one loan is."""

    ASKED = "asked"
    REFUSED = "refused"
    RESERVED = "reserved"
    RELEASED = "released"
    VOIDED = "voided"
    EXPIRED = "expired"
    COMPENSATED = "compensated"


class CaseState(StrEnum):
    """Where a compensation case is."""

    FILED = "filed"
    RETURNED = "returned"
    VERIFIED = "verified"
    PUBLISHED = "published"
    APPROVED = "approved"
    PAID = "paid"
    DENIED = "denied"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Fund:
    """A fund: money in it, principal that it stands behind, what it still owes."""

    county_code: str
    fund_id: UUID
    programme_id: str
    kind: str
    """Party of the programme that the fund is."""
    institution_id: str
    state: FundState
    balance_fen: Fen
    covered_fen: Fen
    owed_fen: Fen
    leverage_reached: bool
    """It refused cover for want of headroom and has not been able to give any since."""
    version: int
    fund_class: FundClass = FundClass.COMPENSATION
    scope_id: str = ""
    """Village, enterprise or insurer that it belongs to; empty for the county's."""
    accounts: tuple[tuple[str, Fen], ...] = ()
    """Sub-accounts by custodian bank, once it is divided; the rest of the balance is in none."""

    @property
    def key(self) -> Key:
        """County and id."""
        return self.county_code, self.fund_id

    @property
    def undivided_fen(self) -> Fen:
        """What lies in no bank's sub-account."""
        return Fen(self.balance_fen - sum(balance for _, balance in self.accounts))


@dataclass(frozen=True, slots=True)
class Contribution:
    """Money that was paid into a fund."""

    county_code: str
    contribution_id: UUID
    fund_id: UUID
    source: str
    amount_fen: Fen
    value_date: date
    business_date: date
    custodian_id: str = ""
    opening: bool = False
    """It came in with the books at cut-over."""


@dataclass(frozen=True, slots=True)
class Cover:
    """The cover of one loan, and what must be known of the loan for it."""

    county_code: str
    loan_id: UUID
    lender_id: str
    borrower_class: str
    area_code: str
    programme: str
    """Ref that the loan was made under; kept for life."""
    principal_fen: Fen
    model_id: str
    """The way its loss would be shared; empty while no fund stands behind it."""
    fund_id: UUID | None
    state: CoverState
    disbursed: bool
    version: int
    borrower_id: UUID | None = None
    product_id: str = ""
    renews_loan_id: UUID | None = None
    """The loan whose cover this one carries on."""
    until_on: date | None = None
    """Last agreed day of the loan, as far as it is known."""
    reserved_on: date | None = None
    opening: bool = False
    """It came in with the books at cut-over."""
    outlet_code: str = ""
    """The lender's outlet that lends; empty where the lender names none."""

    @property
    def key(self) -> Key:
        """County and loan."""
        return self.county_code, self.loan_id


@dataclass(frozen=True, slots=True)
class Amounts:
    """Principal and interest."""

    principal_fen: Fen
    interest_fen: Fen

    @property
    def total_fen(self) -> Fen:
        """Both together."""
        return Fen(self.principal_fen + self.interest_fen)


@dataclass(frozen=True, slots=True)
class Arrears:
    """What a lender said last of an overdue loan, and what was paid on it since."""

    stated_on: date
    overdue_days: int
    non_performing: bool
    stated: Amounts
    paid_since: Amounts
    five_tier_class: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """A lender's word on an overdue loan at a day close."""

    county_code: str
    loan_id: UUID
    loan_sequence: int
    stated_on: date
    overdue_days: int
    non_performing: bool
    owed: Amounts


@dataclass(frozen=True, slots=True)
class LoanPayment:
    """Money that lowered a loan; negative when an earlier payment was undone."""

    county_code: str
    loan_id: UUID
    event_id: UUID
    payout_id: str
    """The payout that it came from; empty for a repayment."""
    business_date: date
    paid: Amounts


@dataclass(frozen=True, slots=True)
class Collecting:
    """A step that the lender took to collect a loan."""

    kind: str
    on: date
    evidence: str


@dataclass(frozen=True, slots=True)
class Filing:
    """A lender's request to open a case."""

    loan_id: UUID
    cause: str
    evidence: tuple[str, ...]
    claimed_fen: Fen = NOTHING
    """What is claimed at most; 0 for all that is owed."""
    collection_steps: tuple[Collecting, ...] = ()
    shows: tuple[str, ...] = ()
    """What the evidence shows beside the cause, e.g. `unrecoverable`."""


@dataclass(frozen=True, slots=True)
class Insured:
    """What an insurer of a loan itself bears of its loss."""

    county_code: str
    loan_id: UUID
    cover_id: str
    insurer_id: str
    sum_insured_fen: Fen
    from_on: date | None
    until_on: date | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The county's word on a case."""

    case_id: UUID
    approve: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Case:
    """A loan's loss between trigger and settled shares."""

    county_code: str
    case_id: UUID
    loan_id: UUID
    lender_id: str
    state: CaseState
    loss_fen: Fen
    """Fixed on the day of filing; only payments after it lower it until the case is decided."""
    cause: str
    evidence: tuple[str, ...]
    programme: str
    model_id: str
    overdue_days: int
    stated_on: date
    paid_counted_fen: Fen
    """What was paid after `stated_on` and is taken off the loss already."""
    filed_by: str
    filed_on: date
    decided_by: str
    decided_on: date | None
    reason: str
    working: str
    version: int
    collection_steps: tuple[Collecting, ...] = ()
    shows: tuple[str, ...] = ()
    code: str = ""
    """Of a denial, or of what is wanted."""
    due_on: date | None = None
    """Last day of the next step."""
    notice_until: date | None = None
    notice_levels: tuple[str, ...] = ()
    reviewed_by: str = ""
    approvals: tuple[tuple[str, str], ...] = ()
    """Organ and person of each approval."""
    paid_by: str = ""
    denied_by_role: str = ""
    appeal: str = ""
    """`waiting`, `granted`, `rejected`, or none."""
    appealed_by: str = ""
    written_off_fen: Fen = NOTHING
    otherwise_borne_by: str = ""
    """Who bears a loss whose cause the programme does not cover."""

    @property
    def key(self) -> Key:
        """County and id."""
        return self.county_code, self.case_id


@dataclass(frozen=True, slots=True)
class CaseStep:
    """What was done on a case, by whom."""

    county_code: str
    case_id: UUID
    number: int
    step: str
    institution_id: str
    person_id: str
    code: str
    reason: str
    evidence: tuple[str, ...]
    late: bool
    business_date: date


@dataclass(frozen=True, slots=True)
class Part:
    """What one party bears of a case's loss."""

    county_code: str
    case_id: UUID
    position: int
    layer: str
    party: str
    institution_id: str
    fund_id: UUID | None
    """The fund that pays; none for institutions that pay themselves."""
    own_loss: bool
    """The lender's own: it bears this part and nobody owes it anything."""
    amount_fen: Fen
    paid_fen: Fen
    recovered_fen: Fen
    version: int = 0
    """Of the events that say when more of it was paid."""

    @property
    def owed_fen(self) -> Fen:
        """What is still to be paid to the lender."""
        return Fen(0) if self.own_loss else Fen(self.amount_fen - self.paid_fen)


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A case with its parts."""

    case: Case
    parts: tuple[Part, ...]


class Source(StrEnum):
    """Where money came from that is shared after a compensation."""

    PAYOUT = "payout"
    REPAYMENT = "repayment"
    COLLECTED = "collected"


@dataclass(frozen=True, slots=True)
class Recovered:
    """Money that came for those who had compensated a loan."""

    county_code: str
    loan_id: UUID
    reference: str
    """The payout, or the number of the loan's posting."""
    amount_fen: Fen
    source: Source = Source.PAYOUT
    value_date: date | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    """Money that somebody collected after a compensation, with what it cost."""

    case_id: UUID
    recovered_fen: Fen
    costs_fen: Fen
    value_date: date
    evidence: tuple[str, ...]
    reference: str


@dataclass(frozen=True, slots=True)
class Movement:
    """A change of a share; below zero when it is taken back."""

    county_code: str
    case_id: UUID
    position: int
    kind: str
    """`borne`, `paid`, `recovered` or `written_off`."""
    amount_fen: int
    reference: str
    person_id: str
    value_date: date
    business_date: date


@dataclass(frozen=True, slots=True)
class Recovery:
    """Money that came back after a compensation, and whom it belongs to."""

    county_code: str
    recovery_id: UUID
    case_id: UUID
    reference: str
    amount_fen: Fen
    shares: tuple[tuple[int, Fen], ...]
    """Position of the part and its amount; the rest is the household's."""
    household_fen: Fen
    business_date: date
    source: Source
    value_date: date
    costs_fen: Fen = NOTHING
    collected_by: str = ""
    evidence: tuple[str, ...] = ()
    reversed: bool = False
    waiting_fen: Fen = NOTHING
    """Beside the amount: what stands in the loan's book and nobody was left to get."""
    turn: int = 1
    """How often the same money was shared: what waited is shared when something is left again."""


@dataclass(frozen=True, slots=True)
class TakenUp:
    """How much of a recovery the loan's book had for those who paid; the rest is in suspense."""

    county_code: str
    loan_id: UUID
    recovery_id: UUID
    number: int
    """Of the posting that it has there."""
    amount_fen: Fen


@dataclass(frozen=True, slots=True)
class Standing:
    """How one institution stands in one case at the end of a day."""

    case_id: UUID
    position: int
    party: str
    institution_id: str
    own_loss: bool
    borne_fen: Fen
    paid_fen: Fen
    recovered_fen: Fen
    written_off_fen: Fen

    @property
    def owed_fen(self) -> Fen:
        """What is still to be paid to the lender."""
        return Fen(0) if self.own_loss else Fen(self.borne_fen - self.paid_fen)

    @property
    def subrogated_fen(self) -> Fen:
        """What may still come back."""
        return Fen(self.borne_fen - self.recovered_fen - self.written_off_fen)


@dataclass(frozen=True, slots=True)
class WriteOff:
    """What one person proposes to give up of a case, and another decides."""

    county_code: str
    write_off_id: UUID
    case_id: UUID
    amount_fen: Fen
    reason: str
    evidence: tuple[str, ...]
    proposed_by: str
    proposed_on: date
