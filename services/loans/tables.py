"""Loans: the rows. Shape only; `store` reads and writes them."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class LoanRow(SQLModel, table=True):
    """A loan, from application on."""

    __tablename__ = "loan"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    household_id: UUID
    area_code: str
    lender_id: str
    programme: str
    product_id: str
    borrower_class: str
    state: str
    next_step: str
    decided: str
    refusal_reasons: str
    principal_fen: int = Field(sa_type=BigInteger)
    term_months: int
    purpose: str
    used_in_area: str
    assignment_evidence: str
    required_covers: str
    covers_in_force: str
    applied_on: date
    sla_due_on: date | None
    rate_ppm: int = Field(sa_type=BigInteger)
    subsidised: bool
    disbursed_on: date | None
    matures_on: date | None
    notice_on: date | None
    outstanding_fen: int = Field(sa_type=BigInteger)
    accrued_through: date | None
    household_numerator: int = Field(sa_type=BigInteger)
    household_posted_fen: int = Field(sa_type=BigInteger)
    treasury_numerator: int = Field(sa_type=BigInteger)
    treasury_posted_fen: int = Field(sa_type=BigInteger)
    interest_owed_fen: int = Field(sa_type=BigInteger)
    overdue_days: int
    five_tier_class: str
    non_performing_on: date | None
    subrogated_fen: int = Field(sa_type=BigInteger)
    compensated: bool
    covered: bool
    method: str
    next_due_on: date | None
    suspense_fen: int = Field(sa_type=BigInteger)
    postings: int
    undrawn_fen: int = Field(sa_type=BigInteger)
    revolving_until: date | None


class PostingRow(SQLModel, table=True):
    """One fact of a loan's book; rows are only added."""

    __tablename__ = "posting"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True)
    kind: str
    value_date: date
    booked_on: date
    amount_fen: int = Field(sa_type=BigInteger)
    interest_fen: int = Field(sa_type=BigInteger)
    principal_fen: int = Field(sa_type=BigInteger)
    rate_ppm: int = Field(sa_type=BigInteger)
    reverses: int | None
    reference: str
    person_id: str


class AccountingPeriodRow(SQLModel, table=True):
    """Up to which day a county's books are closed."""

    __tablename__ = "accounting_period"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    closed_through: date


class BorrowerRow(SQLModel, table=True):
    """A household as loans knows it."""

    __tablename__ = "borrower"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    household_id: UUID = Field(primary_key=True)
    area_code: str
    status: str
    limit_fen: int = Field(sa_type=BigInteger)
    grade: str
    limit_valid_until: date | None
    exposure_fen: int = Field(sa_type=BigInteger)
    people: int
    entity_kind: str


class BreakerRow(SQLModel, table=True):
    """A scope in which lending may be stopped."""

    __tablename__ = "breaker"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    scope: str = Field(primary_key=True)
    scope_id: str = Field(primary_key=True)
    tripped: bool
    epoch: int = Field(sa_type=BigInteger)
    effects: str
    numerator: int = Field(sa_type=BigInteger)
    denominator: int = Field(sa_type=BigInteger)
    version: int = Field(sa_type=BigInteger)


class AllocationRow(SQLModel, table=True):
    """A payout that was allocated, once."""

    __tablename__ = "allocation"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    payout_id: UUID = Field(primary_key=True)
    household_id: UUID
    amount_fen: int = Field(sa_type=BigInteger)
    lenders_fen: int = Field(sa_type=BigInteger)
    household_fen: int = Field(sa_type=BigInteger)
    value_date: date


class AllocationPartRow(SQLModel, table=True):
    """What one loan took of a payout."""

    __tablename__ = "allocation_part"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    payout_id: UUID = Field(primary_key=True)
    loan_id: UUID = Field(primary_key=True)
    lender_id: str
    interest_fen: int = Field(sa_type=BigInteger)
    principal_fen: int = Field(sa_type=BigInteger)
    subrogated_fen: int = Field(sa_type=BigInteger)


class CompensationRow(SQLModel, table=True):
    """A compensation that was posted, once."""

    __tablename__ = "compensation"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    case_id: UUID = Field(primary_key=True)
    loan_id: UUID
    loss_fen: int = Field(sa_type=BigInteger)
    others_fen: int = Field(sa_type=BigInteger)


class ApplicationRow(SQLModel, table=True):
    """The file of an application: what was stated and found, and its clock."""

    __tablename__ = "application"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    borrower_kind: str
    channel: str
    applied_by: str
    stated: str
    findings: str
    clock_on: date | None
    clock_at: datetime | None
    due_at: datetime | None
    done_on: date | None
    done_at: datetime | None
    late: bool
    pauses: str
    contract: str


class StepTakenRow(SQLModel, table=True):
    """A step of an approval chain as it was taken; rows are only added."""

    __tablename__ = "step_taken"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True)
    step: str
    organ: str
    body: str
    institution_id: str
    person_id: str
    approved: bool
    reason: str
    evidence: str
    taken_on: date
    taken_at: datetime


class BatchRow(SQLModel, table=True):
    """A batch of a controlled loan."""

    __tablename__ = "batch"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True)
    amount_fen: int = Field(sa_type=BigInteger)
    purpose: str
    evidence: str
    supplier: str
    state: str
    requested_by: str
    requested_on: date
    county_approved_by: str
    progress_signed_by: str
    signed: str
    paid_on: date | None
    payment_evidence: str


class ListingRow(SQLModel, table=True):
    """A household that is on the blacklist now."""

    __tablename__ = "listing"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    household_id: UUID = Field(primary_key=True)
    cause: str = Field(primary_key=True)
    listed_on: date
