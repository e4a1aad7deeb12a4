"""Loans: the rows. Shape only; `store` reads and writes them."""

from datetime import date
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


class DayWorkRow(SQLModel, table=True):
    """How far a county's loans are aged at the end of a day."""

    __tablename__ = "day_work"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    business_date: date
    after_loan_id: UUID | None
    done: bool


class LenderBookRow(SQLModel, table=True):
    """Who keeps a lender's book from a day on; rows are only added."""

    __tablename__ = "lender_book"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    lender_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_type=BigInteger)
    keeper: str
    from_day: date
    decided_on: date
    decided_by: str


class CoreEntryRow(SQLModel, table=True):
    """What a lender's core system booked; rows are only added."""

    __tablename__ = "core_entry"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    lender_id: str = Field(primary_key=True)
    reference: str = Field(primary_key=True)
    loan_id: UUID
    kind: str
    value_date: date
    amount_fen: int = Field(sa_type=BigInteger)
    principal_fen: int = Field(sa_type=BigInteger)
    interest_fen: int = Field(sa_type=BigInteger)
    outstanding_fen: int | None = Field(sa_type=BigInteger)
    five_tier_class: str
    undoes: str
    posting: int | None
    booked_on: date


class BookDifferenceRow(SQLModel, table=True):
    """Where a core system and our computation part; rows are only added."""

    __tablename__ = "book_difference"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    number: int = Field(primary_key=True, sa_type=BigInteger)
    lender_id: str
    reference: str
    loan_id: UUID
    cause: str
    theirs_fen: int = Field(sa_type=BigInteger)
    ours_fen: int = Field(sa_type=BigInteger)
    detail: str
    value_date: date
    found_on: date


class OpeningRow(SQLModel, table=True):
    """A loan that was taken over; rows are only added."""

    __tablename__ = "opening"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    lender_id: str = Field(primary_key=True)
    reference: str = Field(primary_key=True)
    loan_id: UUID
    opening_on: date
    outstanding_fen: int = Field(sa_type=BigInteger)
    interest_owed_fen: int = Field(sa_type=BigInteger)
    person_id: str
