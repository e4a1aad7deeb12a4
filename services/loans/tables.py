"""Loans: the rows. Shape only; `store` reads and writes them."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime
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
    subsidy_rate_ppm: int = Field(sa_type=BigInteger)
    subsidy_ends_on: date | None
    subsidy_ended_on: date | None
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
    held_by: str


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


class JudgementRow(SQLModel, table=True):
    """What a person said of a loan's class."""

    __tablename__ = "judgement"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    judged_class: str
    kept_non_performing: bool


class ClassChangeRow(SQLModel, table=True):
    """One change of a loan's class; rows are only added."""

    __tablename__ = "class_change"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    change_id: int = Field(primary_key=True, sa_type=BigInteger)
    changed_on: date
    was: str
    now_is: str
    overdue_days: int
    rule_version: str
    person_id: str
    reason: str


class LoanActionRow(SQLModel, table=True):
    """One of the programme's steps on an overdue or non-performing loan."""

    __tablename__ = "loan_action"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    cause: str = Field(primary_key=True)
    since: date = Field(primary_key=True)
    place: int = Field(primary_key=True)
    action: str
    taken_on: date


class LoanReviewRow(SQLModel, table=True):
    """A review of a loan that is frozen until it ends."""

    __tablename__ = "loan_review"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    review_id: UUID = Field(primary_key=True)
    loan_id: UUID
    cause: str
    opened_on: date
    closed_on: date | None
    outcome: str
    reason: str
    person_id: str


class EarlyWarningRow(SQLModel, table=True):
    """Something that wants attention before it is a loss."""

    __tablename__ = "early_warning"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    raised_on: date
    cause_id: str = Field(primary_key=True)


class PayoutConfirmedRow(SQLModel, table=True):
    """A payout that everybody has confirmed."""

    __tablename__ = "payout_confirmed"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    payout_id: UUID = Field(primary_key=True)


class AgreementRow(SQLModel, table=True):
    """An extension or new terms; rows are only added."""

    __tablename__ = "agreement"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    agreement_id: int = Field(primary_key=True, sa_type=BigInteger)
    kind: str
    made_on: date
    starts_on: date
    principal_fen: int = Field(sa_type=BigInteger)
    term_months: int
    method: str
    rate_ppm: int = Field(sa_type=BigInteger)
    matures_on: date
    reason: str
    person_id: str


class RenewalRow(SQLModel, table=True):
    """A loan that renews another."""

    __tablename__ = "renewal"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    renewed_loan_id: UUID
    renewed_on: date
    conditions: str
    evidence: str
    person_id: str


class InterestForgivenRow(SQLModel, table=True):
    """Interest that was forgiven, once for each cause."""

    __tablename__ = "interest_forgiven"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    cause: str = Field(primary_key=True)
    stage: str
    forgiven_on: date
    amount_fen: int = Field(sa_type=BigInteger)
    flexible: bool
    evidence: str
    person_id: str


class CollectionCaseRow(SQLModel, table=True):
    """What is done to have a loan paid."""

    __tablename__ = "collection_case"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    case_id: UUID = Field(primary_key=True)
    loan_id: UUID
    household_id: UUID
    lender_id: str
    area_code: str
    cause: str
    due_class: str
    actions: str
    organ: str
    at_court: bool
    opened_on: date
    closed_on: date | None
    outcome: str
    steps: int


class CollectionStepRow(SQLModel, table=True):
    """One step of a collection; rows are only added."""

    __tablename__ = "collection_step"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    case_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True)
    kind: str
    done_on: date
    organ: str
    note: str
    person_id: str


class WriteOffRow(SQLModel, table=True):
    """A write-off, proposed by one person and decided by another."""

    __tablename__ = "write_off"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    write_off_id: UUID = Field(primary_key=True)
    loan_id: UUID
    reason: str
    proposed_by: str
    proposed_on: date
    decided_by: str
    decided_on: date | None
    approved: bool
    principal_fen: int = Field(sa_type=BigInteger)
    interest_fen: int = Field(sa_type=BigInteger)


class CollateralRow(SQLModel, table=True):
    """What secures a loan."""

    __tablename__ = "collateral"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    collateral_id: UUID = Field(primary_key=True)
    loan_id: UUID
    lender_id: str
    area_code: str
    pledge_id: str
    asset: str
    units: int
    unit_value_fen: int = Field(sa_type=BigInteger)
    value_fen: int = Field(sa_type=BigInteger)
    secures_fen: int = Field(sa_type=BigInteger)
    source: str
    evidence: str
    valued_on: date
    revalue_by: date | None
    keeper_id: str
    month_yield_fen: int = Field(sa_type=BigInteger)
    months_borne: int
    yield_fen: int = Field(sa_type=BigInteger)
    refunded_fen: int = Field(sa_type=BigInteger)
    registered_on: date
    released_on: date | None


class ValuationRow(SQLModel, table=True):
    """One valuation of collateral; rows are only added."""

    __tablename__ = "valuation"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    collateral_id: UUID = Field(primary_key=True)
    valuation_id: int = Field(primary_key=True, sa_type=BigInteger)
    valued_on: date
    units: int
    unit_value_fen: int = Field(sa_type=BigInteger)
    value_fen: int = Field(sa_type=BigInteger)
    secures_fen: int = Field(sa_type=BigInteger)
    source: str
    person_id: str


class SubsidyBudgetRow(SQLModel, table=True):
    """A year's budget for interest subsidies."""

    __tablename__ = "subsidy_budget"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    programme_id: str = Field(primary_key=True)
    year: int = Field(primary_key=True)
    budget_fen: int = Field(sa_type=BigInteger)
    person_id: str


class SubsidyClaimRow(SQLModel, table=True):
    """What a lender claims of the treasury for a quarter."""

    __tablename__ = "subsidy_claim"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    claim_id: UUID = Field(primary_key=True)
    lender_id: str
    programme_id: str
    year: int
    quarter: int
    amount_fen: int = Field(sa_type=BigInteger)
    loans: int
    claimed_on: date
    claimed_by: str
    paid_on: date | None
    paid_by: str
    reference: str


class SubsidyClaimLineRow(SQLModel, table=True):
    """One loan of a claim."""

    __tablename__ = "subsidy_claim_line"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    claim_id: UUID = Field(primary_key=True)
    loan_id: UUID = Field(primary_key=True)
    household_id: UUID
    amount_fen: int = Field(sa_type=BigInteger)
    borne_fen: int = Field(sa_type=BigInteger)


class DueMonthRow(SQLModel, table=True):
    """What fell due of a loan in a month and was collected by its end; rows are only added."""

    __tablename__ = "due_month"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    month: date = Field(primary_key=True)
    loan_id: UUID = Field(primary_key=True)
    programme_id: str
    due_fen: int = Field(sa_type=BigInteger)
    collected_fen: int = Field(sa_type=BigInteger)


class BreakerRecordRow(SQLModel, table=True):
    """One thing that befell a breaker; rows are only added."""

    __tablename__ = "breaker_record"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    record_id: int = Field(primary_key=True, sa_type=BigInteger)
    scope: str
    scope_id: str
    what: str
    recorded_on: date
    epoch: int = Field(sa_type=BigInteger)
    numerator: int = Field(sa_type=BigInteger)
    denominator: int = Field(sa_type=BigInteger)
    below: bool
    rule_version: str
    person_id: str
    reason: str


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


class ProjectRow(SQLModel, table=True):
    """A project that uses the loans of many; rows are only added."""

    __tablename__ = "project"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    project_id: UUID = Field(primary_key=True)
    name: str
    enterprise_id: str
    enterprise_name: str
    sector: str
    area_code: str
    programme: str
    product_id: str
    legacy_id: str
    forbidden: bool
    registered_by: str
    registered_person: str
    registered_on: date


class ProjectLoanRow(SQLModel, table=True):
    """A loan that a project uses; rows are only added."""

    __tablename__ = "project_loan"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    project_id: UUID
    added_by: str
    added_person: str
    added_on: date


class StatementDueRow(SQLModel, table=True):
    """A day of which a lender owes its list; rows are only added."""

    __tablename__ = "statement_due"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    as_of: date = Field(primary_key=True)
    lender_id: str = Field(primary_key=True)


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


class NoticeRow(SQLModel, table=True):
    """A notice in the queue."""

    __tablename__ = "notice"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    notice_id: UUID = Field(primary_key=True)
    kind: str
    channel: str
    state: str
    subject_id: UUID
    cause_id: str
    loan_id: UUID | None
    household_id: UUID | None
    lender_id: str
    sender_id: str
    organ: str
    area_code: str
    text: str
    programme: str
    queued_on: date
    queued_by: str
    attempts: int
    attempts_max: int
    taken_by: str
    leased_until: datetime | None = Field(sa_type=DateTime(timezone=True))
    reason: str
    sent_on: date | None


class NoticeAttemptRow(SQLModel, table=True):
    """What became of an attempt to send a notice; rows are only added."""

    __tablename__ = "notice_attempt"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    notice_id: UUID = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    institution_id: str
    person_id: str
    result: str
    reason: str
    reference: str
    reported_at: datetime = Field(sa_type=DateTime(timezone=True))


class DepartmentWarningRow(SQLModel, table=True):
    """A department's warning."""

    __tablename__ = "department_warning"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    warning_id: UUID = Field(primary_key=True)
    kind: str
    risk: str
    institution_id: str
    person_id: str
    department: str
    area_codes: str
    industries: str
    project_ids: str
    advice: str
    channels: str
    starts_on: date
    ends_on: date
    received_on: date
    after_loan_id: UUID | None
    loans: int
    households: int
    spread: bool
    withdrawn_on: date | None
    reason: str
    version: int = Field(sa_type=BigInteger)


class WarningLoanRow(SQLModel, table=True):
    """A loan that a warning reached; rows are only added."""

    __tablename__ = "warning_loan"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    warning_id: UUID = Field(primary_key=True)
    loan_id: UUID = Field(primary_key=True)
    household_id: UUID
    lender_id: str


class PublicationRow(SQLModel, table=True):
    """What is made public."""

    __tablename__ = "publication"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    publication_id: UUID = Field(primary_key=True)
    kind: str
    programme_id: str
    rule_version: str
    area_code: str
    first_day: date
    last_day: date
    days: int
    places: str
    state: str
    made_on: date
    made_by: str
    published_on: date | None
    ends_on: date | None
    published_by: str
    withdrawn_on: date | None
    withdrawn_by: str
    reason: str
    lines: int
    amount_fen: int = Field(sa_type=BigInteger)
    version: int = Field(sa_type=BigInteger)


class PublicationLineRow(SQLModel, table=True):
    """A line of a publication; rows are only added."""

    __tablename__ = "publication_line"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    publication_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True)
    area_code: str
    lender_id: str
    product_id: str
    purpose: str
    line_on: date | None
    loans: int
    amount_fen: int = Field(sa_type=BigInteger)
    other_fen: int = Field(sa_type=BigInteger)


class EntitlementRow(SQLModel, table=True):
    """A grant, training or reward that somebody is entitled to."""

    __tablename__ = "entitlement"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    entitlement_id: UUID = Field(primary_key=True)
    household_id: UUID
    loan_id: UUID | None
    area_code: str
    lender_id: str
    rule_version: str
    programme_id: str
    rule_id: str
    kind: str
    payer: str
    amount_fen: int = Field(sa_type=BigInteger)
    effects: str
    once: bool
    working: str
    state: str
    due_on: date
    recorded_by: str
    approved_on: date | None
    approved_by: str
    paid_on: date | None
    paid_by: str
    reference: str
    reason: str
    version: int = Field(sa_type=BigInteger)


class EntitlementStepRow(SQLModel, table=True):
    """A step taken with an entitlement; rows are only added."""

    __tablename__ = "entitlement_step"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    entitlement_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_type=BigInteger)
    what: str
    taken_on: date
    institution_id: str
    person_id: str
    note: str


class RelendingFacilityRow(SQLModel, table=True):
    """A central bank's line to a lender."""

    __tablename__ = "relending_facility"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    facility_id: UUID = Field(primary_key=True)
    lender_id: str
    programme_id: str
    rule_version: str
    source: str
    limit_fen: int = Field(sa_type=BigInteger)
    rate_ppm: int = Field(sa_type=BigInteger)
    rate_cap_ppm: int = Field(sa_type=BigInteger)
    revolving: bool
    granted_on: date
    validity_months: int
    valid_until: date
    reference: str
    opened_by: str
    drawn_fen: int = Field(sa_type=BigInteger)
    repaid_fen: int = Field(sa_type=BigInteger)
    closed_on: date | None
    version: int = Field(sa_type=BigInteger)


class RelendingMovementRow(SQLModel, table=True):
    """A draw or repayment of a line; rows are only added."""

    __tablename__ = "relending_movement"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    facility_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True)
    draw: bool
    amount_fen: int = Field(sa_type=BigInteger)
    value_date: date
    booked_on: date
    reference: str
    owed_fen: int = Field(sa_type=BigInteger)
    free_fen: int = Field(sa_type=BigInteger)
    person_id: str


class RelendingVisitRow(SQLModel, table=True):
    """A visit to whoever borrowed out of relending; rows are only added."""

    __tablename__ = "relending_visit"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    visit_id: UUID = Field(primary_key=True)
    loan_id: UUID
    lender_id: str
    visited_on: date
    finding: str
    evidence: str


class PerformingChangeRow(SQLModel, table=True):
    """A loan became non-performing, or performs again; rows are only added."""

    __tablename__ = "performing_change"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    change_id: int = Field(primary_key=True, sa_type=BigInteger)
    changed_on: date
    non_performing: bool


class CountedHouseholdsRow(SQLModel, table=True):
    """Households of a village and a status at a month's end; rows are only added."""

    __tablename__ = "counted_households"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    counted_on: date = Field(primary_key=True)
    village_code: str = Field(primary_key=True)
    status: str = Field(primary_key=True)
    households: int


class KeptFiguresRow(SQLModel, table=True):
    """What a month's end came to, by village, lender and product; rows are only added."""

    __tablename__ = "kept_figures"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    kept_on: date = Field(primary_key=True)
    area_code: str = Field(primary_key=True)
    lender_id: str = Field(primary_key=True)
    programme: str = Field(primary_key=True)
    product_id: str = Field(primary_key=True)
    borrower_class: str = Field(primary_key=True)
    loans: int = Field(sa_type=BigInteger)
    owing_loans: int = Field(sa_type=BigInteger)
    lent_fen: int = Field(sa_type=BigInteger)
    disbursed_fen: int = Field(sa_type=BigInteger)
    collected_principal_fen: int = Field(sa_type=BigInteger)
    balance_fen: int = Field(sa_type=BigInteger)
    interest_owed_fen: int = Field(sa_type=BigInteger)
    overdue_principal_fen: int = Field(sa_type=BigInteger)
    non_performing_loans: int = Field(sa_type=BigInteger)
    non_performing_fen: int = Field(sa_type=BigInteger)
    covered_fen: int = Field(sa_type=BigInteger)


class LoanBatchRow(SQLModel, table=True):
    """The lending batch of a loan; rows are only added, the last one counts."""

    __tablename__ = "loan_batch"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_type=BigInteger)
    batch: str
    stated_on: date
    institution_id: str
    person_id: str


class FundingCostRow(SQLModel, table=True):
    """What a lender's money and work cost from a day on; rows are only added."""

    __tablename__ = "funding_cost"


class LenderRatioRow(SQLModel, table=True):
    """What a lender states of all its loans on a day; rows are only added."""

    __tablename__ = "lender_ratio"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    lender_id: str = Field(primary_key=True)
    valid_from: date = Field(primary_key=True)
    own_funds_ppm: int = Field(sa_type=BigInteger)
    operating_ppm: int = Field(sa_type=BigInteger)
    number: int = Field(primary_key=True, sa_type=BigInteger)
    on_day: date
    non_performing_fen: int = Field(sa_type=BigInteger)
    outstanding_fen: int = Field(sa_type=BigInteger)
    evidence: str
    stated_on: date
    person_id: str


class StatedCountRow(SQLModel, table=True):
    """A count of a programme that somebody states for a day; rows are only added."""

    __tablename__ = "stated_count"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    programme_id: str = Field(primary_key=True)
    count_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_type=BigInteger)
    on_day: date
    value: int = Field(sa_type=BigInteger)
    evidence: str
    stated_on: date
    institution_id: str
    person_id: str


class DutyRow(SQLModel, table=True):
    """Who owns an institution's tasks of a kind, and the deputy; rows are only added."""

    __tablename__ = "duty"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    institution_id: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_type=BigInteger)
    owner_id: str
    deputy_id: str
    assigned_on: date
    assigned_by: str


class TaskRow(SQLModel, table=True):
    """A task after the loan."""

    __tablename__ = "task"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    task_id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    kind: str
    clause_id: str
    key: str
    programme: str
    area_code: str
    loan_id: UUID | None
    household_id: UUID | None
    lender_id: str
    organ: str
    institution_id: str
    owner_id: str
    deputy_id: str
    opened_on: date
    due_on: date
    closed_on: date | None
    levels: str
    signed: int
    chain: str
    escalated_to: str
    escalations: int
    next_escalation_on: date | None
    cause: str
    looks_at: str
    steps: int


class TaskStepRow(SQLModel, table=True):
    """One thing done with a task; rows are only added."""

    __tablename__ = "task_step"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    task_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True)
    kind: str
    taken_on: date
    institution_id: str
    person_id: str
    organ: str
    note: str
    evidence: str
    findings: str
    figures: str
    in_time: bool


class IssueRow(SQLModel, table=True):
    """An issue that was found, until it is crossed off."""

    __tablename__ = "issue"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    issue_id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    ledger: str
    code: str
    programme: str
    area_code: str
    loan_id: UUID | None
    household_id: UUID | None
    lender_id: str
    state: str
    registered_on: date
    due_on: date | None
    rectified_on: date | None
    rectified_by: str
    closed_on: date | None
    closed_by: str
    task_id: UUID | None
    note: str
    steps: int


class IssueStepRow(SQLModel, table=True):
    """One thing done with an issue; rows are only added."""

    __tablename__ = "issue_step"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    issue_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True)
    kind: str
    taken_on: date
    institution_id: str
    person_id: str
    note: str
    evidence: str
    in_time: bool


class DispositionRow(SQLModel, table=True):
    """A decision on a problem loan; rows are only added."""

    __tablename__ = "disposition"
    __table_args__ = {"schema": "loans"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True)
    due_class: str
    actions: str
    plan: str
    reason: str
    evidence: str
    organ: str
    institution_id: str
    person_id: str
    decided_on: date
    in_effect: bool
