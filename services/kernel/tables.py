"""The kernel's rows, one copy in every service's schema. Shape only; the migrations make them."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, LargeBinary
from sqlmodel import Field, SQLModel


class OutboxRow(SQLModel, table=True):
    """An event that this service said; never deleted: the outbox is the event log."""

    __tablename__ = "outbox"

    recorded_month: date = Field(primary_key=True)
    position: int = Field(sa_column=Column(BigInteger, primary_key=True))
    event_id: UUID
    event_type: str
    aggregate_type: str
    aggregate_id: str
    sequence: int = Field(sa_type=BigInteger)
    county_code: str
    business_date: date | None
    programme: str
    payload: bytes = Field(sa_type=LargeBinary)
    traceparent: str
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))
    stream_sequence: int | None = Field(sa_type=BigInteger)
    publish_count: int


class InboxEventRow(SQLModel, table=True):
    """An event of another service that was applied, dropped or parked here, once."""

    __tablename__ = "inbox_event"

    event_id: UUID = Field(primary_key=True)
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))


class InboxPositionRow(SQLModel, table=True):
    """The last sequence taken in of an aggregate of another service."""

    __tablename__ = "inbox_position"

    aggregate_type: str = Field(primary_key=True)
    aggregate_id: str = Field(primary_key=True)
    last_sequence: int = Field(sa_type=BigInteger)


class ParkedEventRow(SQLModel, table=True):
    """An event that waits for a person, or behind one that does."""

    __tablename__ = "parked_event"

    event_id: UUID = Field(primary_key=True)
    event_type: str
    aggregate_type: str
    aggregate_id: str
    sequence: int = Field(sa_type=BigInteger)
    county_code: str
    headers: str
    payload: bytes = Field(sa_type=LargeBinary)
    reason: str
    attempts: int
    parked_at: datetime = Field(sa_type=DateTime(timezone=True))
    state: str
    drop_proposed_by: str


class IdempotencyRow(SQLModel, table=True):
    """A command that took effect, with the answer it got."""

    __tablename__ = "idempotency"

    institution_id: str = Field(primary_key=True)
    method: str = Field(primary_key=True)
    request_id: UUID = Field(primary_key=True)
    request_hash: bytes = Field(sa_type=LargeBinary)
    response: bytes = Field(sa_type=LargeBinary)
    money: bool
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))


class JournalRow(SQLModel, table=True):
    """A transfer: one account is debited, another credited, by the same amount."""

    __tablename__ = "journal"

    entry_id: UUID = Field(primary_key=True)
    line: int = Field(primary_key=True)
    county_code: str
    kind: str
    cause_id: str
    debit_account: str
    debit_id: str
    credit_account: str
    credit_id: str
    amount_fen: int = Field(sa_type=BigInteger)
    value_date: date
    business_date: date
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))


class JournalCheckpointRow(SQLModel, table=True):
    """A seal over the journal rows committed since the one before, in commit order."""

    __tablename__ = "journal_checkpoint"

    checkpoint: int = Field(sa_column=Column(BigInteger, primary_key=True))
    rows_sealed: int = Field(sa_type=BigInteger)
    digest: bytes = Field(sa_type=LargeBinary)
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))


class BusinessDayRow(SQLModel, table=True):
    """A county's business date in this service."""

    __tablename__ = "business_day"

    county_code: str = Field(primary_key=True)
    business_date: date
