"""Loans: the nouns. Values only; nothing here acts."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from services.kernel.money import Fen


class LoanState(StrEnum):
    """Where a loan is in its life."""

    IN_REVIEW = "in_review"
    AWAITING_COVER = "awaiting_cover"
    APPROVED = "approved"
    REFUSED = "refused"
    ACTIVE = "active"
    SETTLED = "settled"


class BreakerScope(StrEnum):
    """What a breaker stops lending in."""

    VILLAGE = "village"
    TOWNSHIP = "township"


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


@dataclass(frozen=True, slots=True)
class Application:
    """What a household asks for."""

    household_id: UUID
    lender_id: str
    programme_id: str
    product_id: str
    principal_fen: Fen
    term_months: int
    purpose: str
    used_in_area: str
    assignment_evidence: str


@dataclass(frozen=True, slots=True)
class Decision:
    """One step of the chain, decided by one person."""

    loan_id: UUID
    step: str
    approve: bool
    reason: str
    person_id: str


@dataclass(frozen=True, slots=True)
class Repayment:
    """Money that a lender received for a loan."""

    loan_id: UUID
    amount_fen: Fen
    value_date: date
    reference: str = ""
    """The lender's own, where its core system is the book."""


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


@dataclass(frozen=True, slots=True)
class Compensation:
    """A loss that was shared: what the lender is compensated for, and by whom."""

    case_id: UUID
    loan_id: UUID
    loss_fen: Fen
    parts: tuple[tuple[str, str, Fen], ...]
    """Party, institution and amount; they sum to the loss."""
