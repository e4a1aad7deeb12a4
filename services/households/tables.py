"""Households: the rows that most is read from, as the migrations make them."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import DateTime, LargeBinary
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class AreaRow(SQLModel, table=True):
    """An administrative area."""

    __tablename__ = "area"
    __table_args__ = {"schema": "households"}

    county_code: str = Field(primary_key=True)
    area_code: str = Field(primary_key=True)
    name: str
    level: str
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))


class HouseholdRow(SQLModel, table=True):
    """A household as it is now."""

    __tablename__ = "household"
    __table_args__ = {"schema": "households"}

    county_code: str = Field(primary_key=True)
    household_id: UUID = Field(primary_key=True)
    version: int
    household_number: str
    area_code: str
    status: str
    honour: str
    member_count: int
    registered_on: date
    source_id: str
    """The institution that registered it."""
    business_date: date
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))
    survivor_id: UUID | None
    """The record that this one is an alias of."""
    changed_by: str
    """The institution that made this version; empty for the registration's own."""
    acted_by: str
    evidence: dict[str, str] | None = Field(sa_type=JSONB)


class PersonRow(SQLModel, table=True):
    """Who a person is: nothing of it can be read without the key."""

    __tablename__ = "person"
    __table_args__ = {"schema": "households"}

    county_code: str = Field(primary_key=True)
    person_id: UUID = Field(primary_key=True)
    identity_key: bytes = Field(sa_type=LargeBinary)
    """Keyed hash of the identity number, unique in the county."""
    sealed: bytes = Field(sa_type=LargeBinary)
    """Name, identity number and phone, encrypted."""
    likeness_key: bytes | None = Field(sa_type=LargeBinary)
    """Keyed hash of name and birth date: finds who may be one person."""
    survivor_id: UUID | None
    died_on: date | None


class MemberRow(SQLModel, table=True):
    """A person's place in a household."""

    __tablename__ = "member"
    __table_args__ = {"schema": "households"}

    county_code: str = Field(primary_key=True)
    person_id: UUID = Field(primary_key=True)
    household_id: UUID
    position: int
    relation: str
    labour: str
    registered_on: date
    source_id: str
    evidence: dict[str, str] | None = Field(sa_type=JSONB)
    business_date: date
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))


class MoveRow(SQLModel, table=True):
    """A move of a household within its county; insert-only."""

    __tablename__ = "move"
    __table_args__ = {"schema": "households"}

    county_code: str = Field(primary_key=True)
    move_id: UUID = Field(primary_key=True)
    household_id: UUID
    version: int
    from_area_code: str
    to_area_code: str
    moved_on: date
    reason: str
    source_id: str
    acted_by: str
    evidence: dict[str, str] = Field(sa_type=JSONB)
    business_date: date
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))


class StatusChangeRow(SQLModel, table=True):
    """A change of a household's registration status; insert-only."""

    __tablename__ = "status_change"
    __table_args__ = {"schema": "households"}

    county_code: str = Field(primary_key=True)
    change_id: UUID = Field(primary_key=True)
    household_id: UUID
    version: int
    status_before: str
    status: str
    effective_on: date
    reason: str
    source_id: str
    acted_by: str
    evidence: dict[str, str] = Field(sa_type=JSONB)
    business_date: date
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))


class FactRow(SQLModel, table=True):
    """A fact about a household or a person, what it says sealed; insert-only."""

    __tablename__ = "fact"
    __table_args__ = {"schema": "households"}

    county_code: str = Field(primary_key=True)
    fact_id: UUID = Field(primary_key=True)
    household_id: UUID
    person_id: UUID | None
    kind: str
    sealed: bytes = Field(sa_type=LargeBinary)
    valid_from: date
    valid_to: date | None
    source_role: str
    replaces_id: UUID | None
    """The fact that it corrects."""
    source_id: str
    acted_by: str
    evidence: dict[str, str] = Field(sa_type=JSONB)
    business_date: date
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))


class ConsentRow(SQLModel, table=True):
    """A consent; insert-only, its withdrawal is a row of its own."""

    __tablename__ = "consent"
    __table_args__ = {"schema": "households"}

    county_code: str = Field(primary_key=True)
    consent_id: UUID = Field(primary_key=True)
    household_id: UUID
    person_id: UUID
    receiver_id: str
    purpose: str
    categories: list[str] = Field(sa_type=JSONB)
    valid_from: date
    valid_to: date
    wording_version: str
    medium: str
    source_id: str
    acted_by: str
    evidence: dict[str, str] = Field(sa_type=JSONB)
    business_date: date
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))


class PayeeAccountRow(SQLModel, table=True):
    """A payee account, its number sealed; insert-only, decisions are rows of their own."""

    __tablename__ = "payee_account"
    __table_args__ = {"schema": "households"}

    county_code: str = Field(primary_key=True)
    account_id: UUID = Field(primary_key=True)
    household_id: UUID
    holder_id: UUID
    bank_id: str
    sealed: bytes = Field(sa_type=LargeBinary)
    earliest_on: date | None
    """First day on which a second person may confirm it; None for the first account."""
    source_id: str
    acted_by: str
    evidence: dict[str, str] = Field(sa_type=JSONB)
    business_date: date
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))
