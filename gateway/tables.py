"""Gateway: the rows. Shape only; `store` and `access_log` read and write them."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    Date,
    DateTime,
    LargeBinary,
    SmallInteger,
    Text,
)
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
    chain_version: int = Field(sa_type=SmallInteger)
    resources: list[str] = Field(sa_column=Column(ARRAY(Text)))
    break_glass_id: str


class AccessLogKeyRow(SQLModel, table=True):
    """A key that signs, or signed."""

    __tablename__ = "access_log_key"
    __table_args__ = {"schema": "gateway"}

    key_id: str = Field(primary_key=True)
    public_key: bytes = Field(sa_type=LargeBinary)
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))


class AccessLogCheckpointRow(SQLModel, table=True):
    """Where the log ended at a time, signed."""

    __tablename__ = "access_log_checkpoint"
    __table_args__ = {"schema": "gateway"}

    number: int = Field(sa_column=Column(BigInteger, primary_key=True))
    position: int = Field(sa_type=BigInteger)
    digest: bytes = Field(sa_type=LargeBinary)
    made_at: datetime = Field(sa_type=DateTime(timezone=True))
    previous: bytes = Field(sa_type=LargeBinary)
    key_id: str
    signature: bytes = Field(sa_type=LargeBinary)


class AccessLogDayRootRow(SQLModel, table=True):
    """A day's last checkpoint, chained to the day before."""

    __tablename__ = "access_log_day_root"
    __table_args__ = {"schema": "gateway"}

    day: date = Field(sa_column=Column(Date, primary_key=True))
    checkpoint_number: int = Field(sa_type=BigInteger)
    position: int = Field(sa_type=BigInteger)
    digest: bytes = Field(sa_type=LargeBinary)
    previous: bytes = Field(sa_type=LargeBinary)
    key_id: str
    signature: bytes = Field(sa_type=LargeBinary)


class AccessLogRootTakingRow(SQLModel, table=True):
    """An institution took a day's root."""

    __tablename__ = "access_log_root_taking"
    __table_args__ = {"schema": "gateway"}

    day: date = Field(sa_column=Column(Date, primary_key=True))
    institution_id: str = Field(primary_key=True)
    person_id: str
    taken_at: datetime = Field(sa_type=DateTime(timezone=True))


class AccessLogCutRow(SQLModel, table=True):
    """Rows that went into an archive, signed."""

    __tablename__ = "access_log_cut"
    __table_args__ = {"schema": "gateway"}

    number: int = Field(sa_column=Column(BigInteger, primary_key=True))
    first_position: int = Field(sa_type=BigInteger)
    position: int = Field(sa_type=BigInteger)
    digest: bytes = Field(sa_type=LargeBinary)
    cut_at: datetime = Field(sa_type=DateTime(timezone=True))
    archive: str
    archive_sha256: str
    previous: bytes = Field(sa_type=LargeBinary)
    key_id: str
    signature: bytes = Field(sa_type=LargeBinary)


class RetentionReportRow(SQLModel, table=True):
    """What one run removed of one category."""

    __tablename__ = "retention_report"
    __table_args__ = {"schema": "gateway"}

    report_id: UUID = Field(primary_key=True)
    ran_at: datetime = Field(sa_type=DateTime(timezone=True))
    category: str
    kept_days: int
    removed_rows: int = Field(sa_type=BigInteger)
    archive: str
    archive_sha256: str
    note: str


class BreakGlassRow(SQLModel, table=True):
    """An operator's leave to read where no rule lets him."""

    __tablename__ = "break_glass"
    __table_args__ = {"schema": "gateway"}

    break_glass_id: UUID = Field(primary_key=True)
    institution_id: str
    reason: str
    methods: list[str] = Field(sa_column=Column(ARRAY(Text)))
    county_code: str
    minutes: int
    opened_by: str
    opened_at: datetime = Field(sa_type=DateTime(timezone=True))
    confirmed_by: str
    confirmed_at: datetime | None = Field(sa_type=DateTime(timezone=True))
    expires_at: datetime | None = Field(sa_type=DateTime(timezone=True))
    closed_by: str
    closed_at: datetime | None = Field(sa_type=DateTime(timezone=True))


class FeedEventRow(SQLModel, table=True):
    """An event as it was said, with what decides who may know of it."""

    __tablename__ = "feed_event"
    __table_args__ = {"schema": "gateway"}

    position: int = Field(sa_column=Column(BigInteger, primary_key=True))
    event_id: UUID
    event_type: str
    noun: str
    aggregate_type: str
    aggregate_id: str
    sequence: int = Field(sa_type=BigInteger)
    county_code: str
    area_code: str
    household_id: str
    parties: list[str] = Field(sa_column=Column(ARRAY(Text)))
    programme: str
    business_date: date | None
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))
    payload: bytes = Field(sa_type=LargeBinary)


class FeedTieRow(SQLModel, table=True):
    """Where an aggregate lies and who is party to it, as its events said so far."""

    __tablename__ = "feed_tie"
    __table_args__ = {"schema": "gateway"}

    aggregate_type: str = Field(primary_key=True)
    aggregate_id: str = Field(primary_key=True)
    area_code: str
    household_id: str
    parties: list[str] = Field(sa_column=Column(ARRAY(Text)))


class FeedReaderRow(SQLModel, table=True):
    """How far a reader of an institution has come."""

    __tablename__ = "feed_reader"
    __table_args__ = {"schema": "gateway"}

    institution_id: str = Field(primary_key=True)
    reader: str = Field(primary_key=True)
    position: int = Field(sa_type=BigInteger)
    acknowledged_at: datetime = Field(sa_type=DateTime(timezone=True))


class FeedChannelRow(SQLModel, table=True):
    """An institution that has its feed on NATS too, and how far that has come."""

    __tablename__ = "feed_channel"
    __table_args__ = {"schema": "gateway"}

    institution_id: str = Field(primary_key=True)
    open: bool
    position: int = Field(sa_type=BigInteger)
    stream_created: str
    changed_by: str
    changed_at: datetime = Field(sa_type=DateTime(timezone=True))
