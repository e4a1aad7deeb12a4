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
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))
