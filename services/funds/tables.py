"""Funds: the rows. Shape only; `store` reads and writes them."""

from datetime import date
from uuid import UUID

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class FundRow(SQLModel, table=True):
    """A fund of a county."""

    __tablename__ = "fund"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    fund_id: UUID = Field(primary_key=True)
    programme_id: str
    kind: str
    institution_id: str
    state: str
    balance_fen: int = Field(sa_type=BigInteger)
    covered_fen: int = Field(sa_type=BigInteger)
    owed_fen: int = Field(sa_type=BigInteger)
    leverage_reached: bool
    version: int = Field(sa_type=BigInteger)
    fund_class: str
    scope_id: str
    divided: bool


class ContributionRow(SQLModel, table=True):
    """Money that was paid into a fund."""

    __tablename__ = "contribution"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    contribution_id: UUID = Field(primary_key=True)
    fund_id: UUID
    source: str
    amount_fen: int = Field(sa_type=BigInteger)
    value_date: date
    business_date: date
    custodian_id: str
    opening: bool


class CoverRow(SQLModel, table=True):
    """The cover of a loan."""

    __tablename__ = "cover"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    lender_id: str
    borrower_class: str
    area_code: str
    programme: str
    principal_fen: int = Field(sa_type=BigInteger)
    model_id: str
    fund_id: UUID | None
    state: str
    disbursed: bool
    version: int = Field(sa_type=BigInteger)
    borrower_id: UUID | None
    product_id: str
    renews_loan_id: UUID | None
    until_on: date | None
    reserved_on: date | None
    opening: bool
    outlet_code: str
    non_performing: bool
    five_tier_class: str
    written_off_on: date | None


class LoanStatementRow(SQLModel, table=True):
    """What was said last of an overdue loan; changes daily."""

    __tablename__ = "loan_statement"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    loan_sequence: int = Field(sa_type=BigInteger)
    stated_on: date
    overdue_days: int
    non_performing: bool
    principal_fen: int = Field(sa_type=BigInteger)
    interest_fen: int = Field(sa_type=BigInteger)


class LoanPaymentRow(SQLModel, table=True):
    """Money that lowered a covered loan."""

    __tablename__ = "loan_payment"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    event_id: UUID = Field(primary_key=True)
    payout_id: str
    business_date: date
    principal_fen: int = Field(sa_type=BigInteger)
    interest_fen: int = Field(sa_type=BigInteger)


class CompensationCaseRow(SQLModel, table=True):
    """A compensation case."""

    __tablename__ = "compensation_case"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    case_id: UUID = Field(primary_key=True)
    loan_id: UUID
    lender_id: str
    state: str
    loss_fen: int = Field(sa_type=BigInteger)
    cause: str
    evidence: str
    """A JSON list of hashes."""
    programme: str
    model_id: str
    overdue_days: int
    stated_on: date
    paid_counted_fen: int = Field(sa_type=BigInteger)
    filed_by: str
    filed_on: date
    decided_by: str
    decided_on: date | None
    reason: str
    working: str
    version: int = Field(sa_type=BigInteger)
    collection_steps: str
    """A JSON list."""
    shows: str
    """A JSON list."""
    code: str
    due_on: date | None
    notice_until: date | None
    notice_levels: str
    """A JSON list."""
    reviewed_by: str
    approvals: str
    """A JSON list of organ and person."""
    paid_by: str
    denied_by_role: str
    appeal: str
    appealed_by: str
    written_off_fen: int = Field(sa_type=BigInteger)
    otherwise_borne_by: str


class CasePartRow(SQLModel, table=True):
    """What one party bears of a case's loss."""

    __tablename__ = "case_part"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    case_id: UUID = Field(primary_key=True)
    position: int = Field(primary_key=True)
    layer: str
    party: str
    institution_id: str
    fund_id: UUID | None
    own_loss: bool
    amount_fen: int = Field(sa_type=BigInteger)
    paid_fen: int = Field(sa_type=BigInteger)
    recovered_fen: int = Field(sa_type=BigInteger)
    version: int = Field(sa_type=BigInteger)


class RecoveryRow(SQLModel, table=True):
    """Money that came back after a compensation."""

    __tablename__ = "recovery"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    recovery_id: UUID = Field(primary_key=True)
    case_id: UUID
    reference: str
    amount_fen: int = Field(sa_type=BigInteger)
    household_fen: int = Field(sa_type=BigInteger)
    business_date: date
    source: str
    costs_fen: int = Field(sa_type=BigInteger)
    collected_by: str
    evidence: str
    """A JSON list of hashes."""
    value_date: date
    waiting_fen: int = Field(default=0, sa_type=BigInteger)
    turn: int = 1


class RecoveryShareRow(SQLModel, table=True):
    """What one party gets of a recovery."""

    __tablename__ = "recovery_share"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    recovery_id: UUID = Field(primary_key=True)
    position: int = Field(primary_key=True)
    amount_fen: int = Field(sa_type=BigInteger)


class FundAccountRow(SQLModel, table=True):
    """What one custodian bank keeps of a fund."""

    __tablename__ = "fund_account"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    fund_id: UUID = Field(primary_key=True)
    custodian_id: str = Field(primary_key=True)
    balance_fen: int = Field(sa_type=BigInteger)


class AccountingPeriodRow(SQLModel, table=True):
    """Through which day a county's books of funds are closed."""

    __tablename__ = "accounting_period"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    closed_through: date


class ContributionDueRow(SQLModel, table=True):
    """What has to be paid into a fund."""

    __tablename__ = "contribution_due"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    due_id: UUID = Field(primary_key=True)
    fund_id: UUID
    source: str
    amount_fen: int = Field(sa_type=BigInteger)
    due_on: date
    year: int
    working: str
    said_by: str
    business_date: date


class FundOrderRow(SQLModel, table=True):
    """What one person proposed and another decides."""

    __tablename__ = "fund_order"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    order_id: UUID = Field(primary_key=True)
    kind: str
    state: str
    fund_id: UUID | None
    amount_fen: int = Field(sa_type=BigInteger)
    payee: str
    details: str
    """A JSON object."""
    value_date: date
    working: str
    proposed_by: str
    proposed_on: date
    decided_by: str
    decided_on: date | None
    reason: str


class WithdrawalRow(SQLModel, table=True):
    """Money that left a fund other than for a case."""

    __tablename__ = "withdrawal"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    order_id: UUID = Field(primary_key=True)
    fund_id: UUID
    kind: str
    payee: str
    amount_fen: int = Field(sa_type=BigInteger)
    value_date: date
    business_date: date


class FacilityLineRow(SQLModel, table=True):
    """What a guarantor stands behind at most, from a day to a day."""

    __tablename__ = "facility_line"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    order_id: UUID = Field(primary_key=True)
    programme_id: str
    party: str
    institution_id: str
    line_fen: int = Field(sa_type=BigInteger)
    from_date: date
    until_date: date | None


class LineResultRow(SQLModel, table=True):
    """What an insurer's line came to."""

    __tablename__ = "line_result"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    line_id: str = Field(primary_key=True)
    insurer_id: str
    programme_id: str
    premium_fen: int = Field(sa_type=BigInteger)
    payouts_fen: int = Field(sa_type=BigInteger)
    compensated_fen: int = Field(sa_type=BigInteger)
    said_on: date


class FeeClaimRow(SQLModel, table=True):
    """A fee for lending or for collecting credit data."""

    __tablename__ = "fee_claim"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    claim_id: UUID = Field(primary_key=True)
    kind: str
    state: str
    institution_id: str
    programme: str
    programme_id: str
    from_date: date
    until_date: date
    disbursed_fen: int = Field(sa_type=BigInteger)
    households: int
    amount_fen: int = Field(sa_type=BigInteger)
    evidence: str
    """A JSON list of hashes."""
    working: str
    filed_by: str
    filed_on: date
    approved_by: str
    paid_by: str
    reason: str


class LentLoanRow(SQLModel, table=True):
    """What is known of a loan, covered or not."""

    __tablename__ = "lent_loan"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    programme_id: str
    lender_id: str
    household_id: str
    area_code: str
    product_id: str
    outstanding_fen: int = Field(sa_type=BigInteger)


class LentAmountRow(SQLModel, table=True):
    """One sum that was paid out on a loan."""

    __tablename__ = "lent_amount"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    event_id: UUID = Field(primary_key=True)
    loan_id: UUID
    programme_id: str
    lender_id: str
    amount_fen: int = Field(sa_type=BigInteger)
    lent_on: date


class LoanInsuranceRow(SQLModel, table=True):
    """What an insurer of a loan itself bears."""

    __tablename__ = "loan_insurance"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    cover_id: str = Field(primary_key=True)
    insurer_id: str
    sum_insured_fen: int = Field(sa_type=BigInteger)
    from_on: date | None
    until_on: date | None


class SharingChoiceRow(SQLModel, table=True):
    """Which sharing model a county chose for a product."""

    __tablename__ = "sharing_choice"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    choice_id: UUID = Field(primary_key=True)
    programme_id: str
    product_id: str
    model_id: str
    reason: str
    chosen_by: str
    business_date: date


class CaseStepRow(SQLModel, table=True):
    """What was done on a case."""

    __tablename__ = "case_step"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    case_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True)
    step: str
    institution_id: str
    person_id: str
    code: str
    reason: str
    evidence: str
    late: bool
    business_date: date


class ShareMovementRow(SQLModel, table=True):
    """A change of a share."""

    __tablename__ = "share_movement"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    movement_id: UUID = Field(primary_key=True)
    case_id: UUID
    position: int
    kind: str
    amount_fen: int = Field(sa_type=BigInteger)
    reference: str
    person_id: str
    value_date: date
    business_date: date


class RecoveryReversalRow(SQLModel, table=True):
    """A recovery that was undone."""

    __tablename__ = "recovery_reversal"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    recovery_id: UUID = Field(primary_key=True)
    reason: str
    business_date: date


class CaseWriteOffRow(SQLModel, table=True):
    """What one person proposed to give up and another decides."""

    __tablename__ = "case_write_off"
    __table_args__ = {"schema": "funds"}

    county_code: str = Field(primary_key=True, max_length=6)
    write_off_id: UUID = Field(primary_key=True)
    case_id: UUID
    amount_fen: int = Field(sa_type=BigInteger)
    reason: str
    evidence: str
    proposed_by: str
    proposed_on: date
    decided_by: str
    decided_on: date | None
    approved: bool | None
