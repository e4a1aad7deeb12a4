"""Feeds: every event once, what was learned of its parties, how far each reader has come."""

from alembic import op

revision = "0004"
down_revision = "0003"

# One statement each: the driver prepares them.
STATEMENTS = (
    # Positions are given under this row's lock, so that they are seen in order and without gaps.
    """
CREATE TABLE feed_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    last_position bigint NOT NULL CHECK (last_position >= 0)
)
""",
    "INSERT INTO feed_state (last_position) VALUES (0)",
    """
CREATE TABLE feed_event (
    position bigint PRIMARY KEY CHECK (position > 0),
    event_id uuid NOT NULL UNIQUE,
    event_type text NOT NULL,
    noun text NOT NULL,
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    sequence bigint NOT NULL CHECK (sequence > 0),
    county_code text NOT NULL,
    area_code text NOT NULL,
    household_id text NOT NULL,
    parties text[] NOT NULL,
    programme text NOT NULL,
    business_date date,
    recorded_at timestamptz NOT NULL,
    payload bytea NOT NULL
)
""",
    # Retention looks for what is old, a reader for where a moment is: in order of writing already.
    "CREATE INDEX feed_event_recorded ON feed_event USING brin (recorded_at)",
    """
CREATE TABLE feed_tie (
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    area_code text NOT NULL,
    household_id text NOT NULL,
    parties text[] NOT NULL CHECK (cardinality(parties) <= 64),
    PRIMARY KEY (aggregate_type, aggregate_id)
)
""",
    """
CREATE TABLE feed_reader (
    institution_id text NOT NULL REFERENCES institution,
    reader text NOT NULL CHECK (reader ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    position bigint NOT NULL CHECK (position >= 0),
    acknowledged_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (institution_id, reader)
)
""",
    """
CREATE TABLE feed_channel (
    institution_id text PRIMARY KEY REFERENCES institution,
    open boolean NOT NULL DEFAULT true,
    position bigint NOT NULL DEFAULT 0 CHECK (position >= 0),
    stream_created text NOT NULL DEFAULT '',
    changed_by text NOT NULL CHECK (changed_by <> ''),
    changed_at timestamptz NOT NULL DEFAULT now()
)
""",
    """
GRANT SELECT, INSERT, UPDATE ON feed_state, feed_tie, feed_reader, feed_channel TO gateway_app
""",
    # What was said stays as it was said; retention takes it away whole.
    "GRANT SELECT, INSERT, DELETE ON feed_event TO gateway_app",
)


def upgrade() -> None:
    """Make the feeds' tables."""
    for statement in STATEMENTS:
        op.execute(statement)
