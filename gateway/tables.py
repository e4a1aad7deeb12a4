"""Gateway: the rows. Shape only; `store` and `access_log` read and write them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Column, DateTime, LargeBinary, Text
from sqlmodel import Field, SQLModel


class InstitutionRow(SQLModel, table=True):
    """An institution that may call."""

    __tablename__ = "institution"
    __table_args__ = {"schema": "gateway"}

    institution_id: str = Field(primary_key=True)
    name: str
    name_zh: str
    role: str
    county_code: str
    areas: list[str] = Field(sa_column=Column(ARRAY(Text)))
    active: bool
    version: int = Field(sa_type=BigInteger)


class PersonRow(SQLModel, table=True):
    """A post behind an institution: who makes, who checks."""

    __tablename__ = "person"
    __table_args__ = {"schema": "gateway"}

    institution_id: str = Field(primary_key=True)
    person_id: str = Field(primary_key=True)
    title: str
    title_zh: str
    duty: str


class DirectoryStateRow(SQLModel, table=True):
    """Raised with every change of institutions or persons: readers see that they are behind."""

    __tablename__ = "directory_state"
    __table_args__ = {"schema": "gateway"}

    only_row: bool = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)


class AccessLogRow(SQLModel, table=True):
    """One call, chained to the one before it."""

    __tablename__ = "access_log"
    __table_args__ = {"schema": "gateway"}

    position: int = Field(sa_column=Column(BigInteger, primary_key=True))
    call_id: UUID
    called_at: datetime = Field(sa_type=DateTime(timezone=True))
    peer: str
    institution_id: str
    person_id: str
    method: str
    service: str
    county_code: str
    purpose: str
    decision: str
    reason: str
    outcome: str
    body_hash: str
    trace_id: str
    digest: bytes = Field(sa_type=LargeBinary)
