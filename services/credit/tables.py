"""Credit: the rows. Shape only; `store` reads and writes them."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel


class CreditFileRow(SQLModel, table=True):
    """A household's credit file, with what the registry told of the household."""

    __tablename__ = "credit_file"
    __table_args__ = {"schema": "credit"}

    county_code: str = Field(primary_key=True, max_length=6)
    household_id: UUID = Field(primary_key=True)
    area_code: str
    household_status: str
    honour: str
    delisted: bool
    version: int = Field(sa_type=BigInteger)
    rating_id: UUID | None
    programme: str
    score_centi: int = Field(sa_type=BigInteger)
    grade: str
    vetoes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    limit_fen: int = Field(sa_type=BigInteger)
    valid_until: date | None
    granted_on: date | None
    barred: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    holds: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    settled_rating_id: UUID | None
    settled_honour: str | None


class IndicatorRow(SQLModel, table=True):
    """An observation of an indicator; never changed, a later entry takes it back."""

    __tablename__ = "indicator"
    __table_args__ = {"schema": "credit"}

    county_code: str = Field(primary_key=True, max_length=6)
    household_id: UUID = Field(primary_key=True)
    code: str = Field(primary_key=True)
    entry: int = Field(sa_column=Column(BigInteger, primary_key=True))
    value: int = Field(sa_type=BigInteger)
    observed_on: date
    source_id: str
    person_id: str
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))
    expires_on: date | None
    evidence_sha256: str


class IndicatorRuleRow(SQLModel, table=True):
    """What a county declared of an indicator; never changed, a later entry takes its place."""

    __tablename__ = "indicator_rule"
    __table_args__ = {"schema": "credit"}

    county_code: str = Field(primary_key=True, max_length=6)
    programme_id: str = Field(primary_key=True)
    code: str = Field(primary_key=True)
    entry: int = Field(sa_column=Column(BigInteger, primary_key=True))
    name_zh: str
    min: int = Field(sa_type=BigInteger)
    max: int | None = Field(sa_type=BigInteger)
    unit: str
    refresh: str
    suppliers: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    declared_by: str
    person_id: str
    declared_on: date
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))


class RescoreRow(SQLModel, table=True):
    """A county rated again: how far it is, and what it changes."""

    __tablename__ = "rescore"
    __table_args__ = {"schema": "credit"}

    county_code: str = Field(primary_key=True, max_length=6)
    rescore_id: UUID = Field(primary_key=True)
    programme_id: str
    programme: str
    dry_run: bool
    reason: str
    state: str
    started_on: date
    started_by: str
    person_id: str
    after_household_id: UUID
    households: int = Field(sa_type=BigInteger)
    done: int = Field(sa_type=BigInteger)
    changed: int = Field(sa_type=BigInteger)
    incomplete: int = Field(sa_type=BigInteger)
    moves: list[list[str | int]] = Field(sa_column=Column(JSONB, nullable=False))
    failure: str
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))
    basis: str


class RatingRow(SQLModel, table=True):
    """A rating with its inputs and its working; never changed."""

    __tablename__ = "rating"
    __table_args__ = {"schema": "credit"}

    county_code: str = Field(primary_key=True, max_length=6)
    rating_id: UUID = Field(primary_key=True)
    household_id: UUID
    cause: str
    programme: str
    rated_on: date
    inputs: dict[str, dict[str, int | str]] = Field(sa_column=Column(JSONB, nullable=False))
    honour: str
    score_centi: int = Field(sa_type=BigInteger)
    grade: str
    vetoes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    base_limit_fen: int = Field(sa_type=BigInteger)
    uplift_fen: int = Field(sa_type=BigInteger)
    limit_fen: int = Field(sa_type=BigInteger)
    valid_until: date | None
    working: str
    pins: dict[str, object] = Field(sa_column=Column(JSONB, nullable=False))
    digest: str
    rated_by: str
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))


class LimitChangeRow(SQLModel, table=True):
    """A change of a limit, under the number of its event; never changed."""

    __tablename__ = "limit_change"
    __table_args__ = {"schema": "credit"}

    county_code: str = Field(primary_key=True, max_length=6)
    household_id: UUID = Field(primary_key=True)
    sequence: int = Field(sa_column=Column(BigInteger, primary_key=True))
    fact: str
    changed_on: date
    limit_fen: int = Field(sa_type=BigInteger)
    grade: str
    valid_until: date | None
    rating_id: UUID | None


class ExternalScoreRow(SQLModel, table=True):
    """What a model outside the platform said; never changed."""

    __tablename__ = "external_score"
    __table_args__ = {"schema": "credit"}

    county_code: str = Field(primary_key=True, max_length=6)
    score_id: UUID = Field(primary_key=True)
    household_id: UUID
    model_id: str
    score_centi: int = Field(sa_type=BigInteger)
    min_score_centi: int = Field(sa_type=BigInteger)
    max_score_centi: int = Field(sa_type=BigInteger)
    scored_on: date
    evidence_sha256: str
    source_id: str
    person_id: str


class MeasureRow(SQLModel, table=True):
    """A sanction, reward, second grant, waiver or rehabilitation as it stands."""

    __tablename__ = "measure"
    __table_args__ = {"schema": "credit"}

    county_code: str = Field(primary_key=True, max_length=6)
    measure_id: UUID = Field(primary_key=True)
    household_id: UUID
    area_code: str
    kind: str
    code: str
    programme: str
    state: str
    reason: str
    evidence_sha256: str
    effects: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    amount_fen: int = Field(sa_type=BigInteger)
    proposed_on: date
    from_on: date | None
    until_on: date | None
    relation: str
    origin_id: UUID | None
    proposed_by: str
    proposed_role: str
    proposed_person: str
    decided_by: str
    decided_person: str
    decision_reason: str
    ended_on: date | None
    end_reason: str
    end_evidence_sha256: str
    ended_by: str


class LoanActionRow(SQLModel, table=True):
    """What a programme ordered on a problem loan; rows are only added."""

    __tablename__ = "loan_action"
    __table_args__ = {"schema": "credit"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    since: date = Field(primary_key=True)
    action: str = Field(primary_key=True)
    household_id: UUID
    place: int
    taken_on: date
    rule_version: str
    measure_id: UUID | None
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))


class ReviewRow(SQLModel, table=True):
    """A household on its way through the rating chain."""

    __tablename__ = "review"
    __table_args__ = {"schema": "credit"}

    county_code: str = Field(primary_key=True, max_length=6)
    review_id: UUID = Field(primary_key=True)
    household_id: UUID
    area_code: str
    programme: str
    state: str
    step: int
    due_on: date | None
    opened_on: date
    score_centi: int = Field(sa_type=BigInteger)
    scheme_grade: str
    scheme_limit_fen: int = Field(sa_type=BigInteger)
    vetoes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    override_grade: str
    override_limit_fen: int | None = Field(sa_type=BigInteger)
    override_state: str
    override_person: str
    reviewers: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    notice_from: date | None
    notice_to: date | None
    notice_scope: str
    contest_id: UUID | None
    rating_id: UUID | None
    version: int = Field(sa_type=BigInteger)
    entries: int


class ReviewEntryRow(SQLModel, table=True):
    """An entry of a review's record; never changed."""

    __tablename__ = "review_entry"
    __table_args__ = {"schema": "credit"}

    county_code: str = Field(primary_key=True, max_length=6)
    review_id: UUID = Field(primary_key=True)
    place: int = Field(primary_key=True)
    kind: str
    step: str
    organ: str
    institution_id: str
    person_id: str
    acted_on: date
    outcome: str
    present: int
    members: int
    votes_for: int
    grade: str
    limit_fen: int = Field(sa_type=BigInteger)
    reason: str
    evidence_sha256: str
    due_on: date | None


class ExposureRow(SQLModel, table=True):
    """What a lender has lent on a limit, from loans' events."""

    __tablename__ = "exposure"
    __table_args__ = {"schema": "credit"}

    county_code: str = Field(primary_key=True, max_length=6)
    loan_id: UUID = Field(primary_key=True)
    household_id: UUID | None
    lender_id: str
    programme: str
    committed_fen: int = Field(sa_type=BigInteger)
    drawn_fen: int = Field(sa_type=BigInteger)
    repaid_fen: int = Field(sa_type=BigInteger)
    overdue_on: date | None
    non_performing: bool
    settled_on: date | None
    was_overdue: bool


class CreditAreaRow(SQLModel, table=True):
    """A credit group, village or township as it stands."""

    __tablename__ = "credit_area"
    __table_args__ = {"schema": "credit"}

    county_code: str = Field(primary_key=True, max_length=6)
    area_code: str = Field(primary_key=True)
    programme_id: str = Field(primary_key=True)
    scope: str
    programme: str
    certified: bool
    since: date
    assessed_on: date
    numerator: int = Field(sa_type=BigInteger)
    denominator: int = Field(sa_type=BigInteger)
    min_units: int = Field(sa_type=BigInteger)
    version: int = Field(sa_type=BigInteger)


class CoverageRow(SQLModel, table=True):
    """One figure of coverage as it was kept at a month's end; never changed."""

    __tablename__ = "coverage"
    __table_args__ = {"schema": "credit"}

    county_code: str = Field(primary_key=True, max_length=6)
    kept_on: date = Field(primary_key=True)
    area_code: str = Field(primary_key=True)
    institution_id: str = Field(primary_key=True)
    measure: str = Field(primary_key=True)
    numerator: int = Field(sa_type=BigInteger)
    denominator: int = Field(sa_type=BigInteger)
