"""Claims: the rows. Shape only; `store` reads and writes them."""

from datetime import date
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Date, String
from sqlmodel import Field, SQLModel


class HouseholdRow(SQLModel, table=True):
    """A household as claims knows it."""

    __tablename__ = "household"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    household_id: UUID = Field(primary_key=True)
    area_code: str
    status: str


class LoanRow(SQLModel, table=True):
    """An approved loan as claims knows it."""

    __tablename__ = "loan"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    household_id: UUID
    area_code: str
    lender_id: str
    principal_fen: int = Field(sa_type=BigInteger)
    programme_id: str
    programme: str
    assignment_evidence: str
    required_covers: list[str] = Field(sa_type=ARRAY(String))
    approved_on: date
    state: str
    closed_on: date | None


class MasterPolicyRow(SQLModel, table=True):
    """A policy of a county for one cover."""

    __tablename__ = "master_policy"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    policy_id: UUID = Field(primary_key=True)
    insurer_id: str
    programme_id: str
    programme: str
    cover_id: str
    from_date: date
    until_date: date
    issued_by: str
    issued_person: str
    issued_on: date


class AwaitedCoverRow(SQLModel, table=True):
    """A cover that an approved loan requires and no policy gives yet."""

    __tablename__ = "awaited_cover"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    programme_id: str
    cover_id: str = Field(primary_key=True)


class InsuredRow(SQLModel, table=True):
    """A loan's household on the insured list of a policy."""

    __tablename__ = "insured"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    insured_id: UUID = Field(primary_key=True)
    policy_id: UUID
    household_id: UUID
    loan_id: UUID
    cover_id: str
    sum_insured_fen: int = Field(sa_type=BigInteger)
    premium_fen: int = Field(sa_type=BigInteger)
    premium_payer_id: str
    from_date: date
    until_date: date


class AssignmentRow(SQLModel, table=True):
    """The household's word that payouts of a cover settle a loan first."""

    __tablename__ = "assignment"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    assignment_id: UUID = Field(primary_key=True)
    household_id: UUID
    cover_id: str
    loan_id: UUID
    lender_id: str
    evidence: str
    from_date: date
    until_date: date | None


class ClaimRow(SQLModel, table=True):
    """A reported loss."""

    __tablename__ = "claim"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    claim_id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    household_id: UUID
    area_code: str
    cover_id: str
    policy_id: UUID | None
    insured_id: UUID | None
    loan_id: UUID | None
    insurer_id: str
    lender_id: str
    programme: str
    loss_date: date
    cause: str
    assessed_fen: int = Field(sa_type=BigInteger)
    documents: list[str] = Field(sa_type=ARRAY(String))
    reported_by: str
    reported_person: str
    reported_on: date
    state: str
    reason: str
    payable_fen: int = Field(sa_type=BigInteger)
    payout_id: UUID | None
    due_on: date | None
    decided_by: str
    decided_person: str
    decided_on: date | None
    claimed_fen: int = Field(sa_type=BigInteger)
    event_code: str
    person_id: UUID | None
    reporter_kind: str
    taken_in: bool
    steps: int
    accepted_on: date | None
    paused_from: date | None
    pauses: list[date] = Field(sa_type=ARRAY(Date))
    supplement: int
    proposed_by: str
    proposed_person: str
    overdue_since: date | None
    reason_code: str
    unit_id: UUID | None


class ClaimStepRow(SQLModel, table=True):
    """One thing that happened to a claim; only added."""

    __tablename__ = "claim_step"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    claim_id: UUID = Field(primary_key=True)
    step: int = Field(primary_key=True)
    kind: str
    state: str
    institution_id: str
    person_id: str
    happened_on: date
    reason_code: str
    note: str
    claimed_fen: int = Field(sa_type=BigInteger)
    assessed_fen: int = Field(sa_type=BigInteger)
    payable_fen: int = Field(sa_type=BigInteger)
    working: str


class ClaimLineRow(SQLModel, table=True):
    """One line of a survey or a decision; only added."""

    __tablename__ = "claim_line"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    claim_id: UUID = Field(primary_key=True)
    step: int = Field(primary_key=True)
    line: int = Field(primary_key=True)
    item: str
    claimed_fen: int = Field(sa_type=BigInteger)
    assessed_fen: int = Field(sa_type=BigInteger)
    payable_fen: int = Field(sa_type=BigInteger)
    reason_code: str


class ClaimDocumentRow(SQLModel, table=True):
    """A document that came with a step; only added."""

    __tablename__ = "claim_document"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    claim_id: UUID = Field(primary_key=True)
    step: int = Field(primary_key=True)
    place: int = Field(primary_key=True)
    document_type: str
    reference: str
    hash: str


class ClaimDisputeRow(SQLModel, table=True):
    """What a household says against a decision, and the answer."""

    __tablename__ = "claim_dispute"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    dispute_id: UUID = Field(primary_key=True)
    claim_id: UUID
    said: str
    opened_by: str
    opened_person: str
    opened_on: date
    due_on: date
    answer: str
    upheld: bool
    answered_by: str
    answered_person: str
    answered_on: date | None
    supplement_claim_id: UUID | None


class IndexUnitRow(SQLModel, table=True):
    """What one household insures under a policy of an index cover; only added."""

    __tablename__ = "index_unit"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    unit_id: UUID = Field(primary_key=True)
    policy_id: UUID
    household_id: UUID
    area_code: str
    insured_id: UUID | None
    quantity_centi_jin: int = Field(sa_type=BigInteger)
    sum_insured_fen: int = Field(sa_type=BigInteger)
    set_by: str
    set_person: str
    set_on: date


class IndexValueRow(SQLModel, table=True):
    """A market price, also one that does not count; only added."""

    __tablename__ = "index_value"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    value_id: UUID = Field(primary_key=True)
    programme_id: str
    cover_id: str
    source_id: str
    person_id: str
    priced_on: date
    price_fen_per_jin: int = Field(sa_type=BigInteger)
    evidence: str
    reason_code: str
    recorded_on: date


class IndexPeriodRow(SQLModel, table=True):
    """A settlement period of a policy, its prices fixed."""

    __tablename__ = "index_period"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    policy_id: UUID = Field(primary_key=True)
    from_date: date = Field(primary_key=True)
    until_date: date
    cover_id: str
    prices_fen: list[int] = Field(sa_type=ARRAY(BigInteger))
    reporter_id: str
    reporter_person: str
    gap_fen_per_jin: int = Field(sa_type=BigInteger)
    triggered: bool
    working: str
    settled_on: date
    done: bool
    claims_count: int
    payable_fen: int = Field(sa_type=BigInteger)


class LineResultRow(SQLModel, table=True):
    """What one insurer's policies of one cover came to over a period; only added."""

    __tablename__ = "line_result"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    line_id: UUID = Field(primary_key=True)
    number: int
    insurer_id: str
    programme_id: str
    programme: str
    cover_id: str
    area_code: str
    from_date: date
    until_date: date
    premium_fen: int = Field(sa_type=BigInteger)
    payouts_fen: int = Field(sa_type=BigInteger)
    payouts_count: int
    stated_by: str
    stated_person: str
    stated_on: date


class PayoutRow(SQLModel, table=True):
    """Money that an insurer owes on a claim."""

    __tablename__ = "payout"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    payout_id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    claim_id: UUID
    household_id: UUID
    area_code: str
    insurer_id: str
    programme: str
    amount_fen: int = Field(sa_type=BigInteger)
    value_date: date
    loss_date: date
    household_at_once: bool
    state: str
    lenders_fen: int = Field(sa_type=BigInteger)
    household_fen: int = Field(sa_type=BigInteger)


class PayoutPartRow(SQLModel, table=True):
    """What one lender takes of a payout for one loan."""

    __tablename__ = "payout_part"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    payout_id: UUID = Field(primary_key=True)
    loan_id: UUID = Field(primary_key=True)
    place: int
    lender_id: str
    amount_fen: int = Field(sa_type=BigInteger)
    interest_fen: int = Field(sa_type=BigInteger)
    principal_fen: int = Field(sa_type=BigInteger)
    subrogated_fen: int = Field(sa_type=BigInteger)
    outstanding_fen: int = Field(sa_type=BigInteger)


class InstructionRow(SQLModel, table=True):
    """An instruction to pay one payee of a payout."""

    __tablename__ = "instruction"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    instruction_id: UUID = Field(primary_key=True)
    payout_id: UUID
    payee_kind: str
    payee_id: str
    insurer_id: str
    loan_id: UUID | None
    amount_fen: int = Field(sa_type=BigInteger)
    state: str
    confirmed_by: str
    confirmed_person: str
    confirmed_value_date: date | None


class ReconciliationRow(SQLModel, table=True):
    """A statement that an institution announced; rows are only added."""

    __tablename__ = "reconciliation"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    reconciliation_id: UUID = Field(primary_key=True)
    institution_id: str
    kind: str
    reference: str
    from_date: date
    until_date: date
    stated_lines: int = Field(sa_type=BigInteger)
    stated_fen: int = Field(sa_type=BigInteger)
    started_by: str
    started_person: str
    started_on: date


class StatementLineRow(SQLModel, table=True):
    """One line of a statement; rows are only added."""

    __tablename__ = "statement_line"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    reconciliation_id: UUID = Field(primary_key=True)
    line_number: int = Field(primary_key=True, sa_type=BigInteger)
    record_id: str
    amount_fen: int = Field(sa_type=BigInteger)
    value_date: date
    state: str
    payee_id: str
    posted_by: str
    posted_person: str
    posted_on: date


class ReconciliationComparisonRow(SQLModel, table=True):
    """A statement that was held against ours, once; rows are only added."""

    __tablename__ = "reconciliation_comparison"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    reconciliation_id: UUID = Field(primary_key=True)
    agreeing: int = Field(sa_type=BigInteger)
    compared_by: str
    compared_person: str
    compared_on: date


class ReconciliationDifferenceRow(SQLModel, table=True):
    """Where a statement and ours part; rows are only added."""

    __tablename__ = "reconciliation_difference"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    number: int = Field(primary_key=True, sa_type=BigInteger)
    reconciliation_id: UUID
    record_id: str
    line_number: int = Field(sa_type=BigInteger)
    cause: str
    theirs_fen: int = Field(sa_type=BigInteger)
    ours_fen: int = Field(sa_type=BigInteger)
    theirs: str
    ours: str
    found_on: date


class DifferenceResolutionRow(SQLModel, table=True):
    """What a person said of a difference, once; rows are only added."""

    __tablename__ = "difference_resolution"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    number: int = Field(primary_key=True, sa_type=BigInteger)
    resolution: str
    reason: str
    resolved_by: str
    resolved_person: str
    resolved_on: date


class PolicyOpeningRow(SQLModel, table=True):
    """What was taken over at cut-over; rows are only added."""

    __tablename__ = "policy_opening"
    __table_args__ = {"schema": "claims"}

    county_code: str = Field(primary_key=True, max_length=6)
    insurer_id: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    reference: str = Field(primary_key=True)
    record_id: UUID
    opening_on: date
    sum_insured_fen: int = Field(sa_type=BigInteger)
    premium_fen: int = Field(sa_type=BigInteger)
    premium_owed_fen: int = Field(sa_type=BigInteger)
    claimed_fen: int = Field(sa_type=BigInteger)
    person_id: str
