"""Households: the rows, as the migrations make them."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import DateTime, LargeBinary
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
