"""Institutions, persons, the access log."""

from alembic import op

from services.kernel.migrations import tables_0001

revision = "0001"
down_revision = None

# One statement each: the driver prepares them.
STATEMENTS = (
    """
CREATE TABLE institution (
    institution_id text PRIMARY KEY CHECK (institution_id ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    name text NOT NULL,
    name_zh text NOT NULL,
    role text NOT NULL CHECK (role <> ''),
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    areas text[] NOT NULL,
    active boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1 CHECK (version > 0)
)
""",
    """
CREATE TABLE person (
    institution_id text NOT NULL REFERENCES institution,
    person_id text NOT NULL,
    title text NOT NULL,
    title_zh text NOT NULL,
    duty text NOT NULL CHECK (duty IN ('maker', 'checker')),
    PRIMARY KEY (institution_id, person_id)
)
""",
    """
CREATE TABLE directory_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version bigint NOT NULL
)
""",
    "INSERT INTO directory_state (version) VALUES (1)",
    """
CREATE TABLE access_log (
    position bigint PRIMARY KEY CHECK (position > 0),
    call_id uuid NOT NULL UNIQUE,
    called_at timestamptz NOT NULL,
    peer text NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    method text NOT NULL,
    service text NOT NULL,
    county_code text NOT NULL,
    purpose text NOT NULL,
    decision text NOT NULL CHECK (decision IN ('allowed', 'refused')),
    reason text NOT NULL,
    outcome text NOT NULL,
    body_hash text NOT NULL,
    trace_id text NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32)
)
""",
)


def upgrade() -> None:
    """Make the schema's tables; the access log only grows."""
    tables_0001.create()
    for statement in STATEMENTS:
        op.execute(statement)
    tables_0001.grant("gateway")
    op.execute("REVOKE UPDATE, DELETE, TRUNCATE ON access_log FROM gateway_app")
