"""Funds: the nouns. Values only; nothing here acts."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from services.kernel.money import Fen

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
    COMPENSATED = "compensated"


class CaseState(StrEnum):
    """Where a compensation case is."""

    FILED = "filed"
    PAID = "paid"
    DENIED = "denied"


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
class Filing:
    """A lender's request to open a case."""

    loan_id: UUID
    cause: str
    evidence: tuple[str, ...]


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

    @property
    def key(self) -> Key:
        """County and id."""
        return self.county_code, self.case_id


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

    @property
    def owed_fen(self) -> Fen:
        """What is still to be paid to the lender."""
        return Fen(0) if self.own_loss else Fen(self.amount_fen - self.paid_fen)


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A case with its parts."""

    case: Case
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Recovered:
    """Money that a payout brought for those who had compensated a loan."""

    county_code: str
    loan_id: UUID
    payout_id: str
    amount_fen: Fen


@dataclass(frozen=True, slots=True)
class Recovery:
    """Money that came back after a compensation, and whom it belongs to."""

    county_code: str
    recovery_id: UUID
    case_id: UUID
    payout_id: str
    amount_fen: Fen
    shares: tuple[tuple[int, Fen], ...]
    """Position of the part and its amount; the rest is the household's."""
    household_fen: Fen
    business_date: date
