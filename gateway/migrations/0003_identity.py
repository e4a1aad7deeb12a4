"""Contracts, certificates, keys of persons' tokens, suspensions, limits of one's own, usage."""

from alembic import op

revision = "0003"
down_revision = "0002"

# One statement each: the driver prepares them.
STATEMENTS = (
    """
ALTER TABLE person
    ADD COLUMN post text NOT NULL DEFAULT '' CHECK (post IN ('', 'monitoring_officer')),
    ADD COLUMN deputy_id text,
    ADD COLUMN valid_from date,
    ADD COLUMN valid_to date,
    ADD CHECK (valid_from <= valid_to),
    ADD CHECK (deputy_id <> person_id),
    ADD CHECK (post <> 'monitoring_officer' OR deputy_id IS NOT NULL),
    ADD FOREIGN KEY (institution_id, deputy_id) REFERENCES person DEFERRABLE INITIALLY DEFERRED
""",
    """
CREATE TABLE contract (
    institution_id text NOT NULL REFERENCES institution,
    contract_id text NOT NULL,
    valid_from date,
    valid_to date,
    PRIMARY KEY (institution_id, contract_id),
    CHECK (valid_from <= valid_to)
)
""",
    # A row that was revoked may never have been registered: it bars all the same.
    """
CREATE TABLE certificate (
    fingerprint text PRIMARY KEY CHECK (fingerprint ~ '^[0-9a-f]{64}$'),
    institution_id text NOT NULL REFERENCES institution,
    serial text NOT NULL,
    not_after timestamptz,
    valid_until timestamptz,
    revoked_at timestamptz,
    revoked_reason text NOT NULL DEFAULT '',
    registered_by text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((revoked_at IS NULL) = (revoked_reason = ''))
)
""",
    "CREATE INDEX certificate_institution ON certificate (institution_id)",
    """
CREATE TABLE person_key (
    institution_id text NOT NULL REFERENCES institution,
    key_id text NOT NULL,
    public_key bytea NOT NULL CHECK (length(public_key) = 32),
    valid_until timestamptz,
    revoked_at timestamptz,
    revoked_reason text NOT NULL DEFAULT '',
    registered_by text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (institution_id, key_id),
    CHECK ((revoked_at IS NULL) = (revoked_reason = ''))
)
""",
    """
CREATE TABLE standing_order (
    order_id uuid PRIMARY KEY,
    institution_id text NOT NULL REFERENCES institution,
    active boolean NOT NULL,
    reason text NOT NULL CHECK (reason <> ''),
    proposed_by text NOT NULL CHECK (proposed_by <> ''),
    proposed_at timestamptz NOT NULL DEFAULT now(),
    decided_by text NOT NULL DEFAULT '',
    decided_at timestamptz,
    confirmed boolean,
    CHECK (decided_by <> proposed_by),
    CHECK ((decided_at IS NULL) = (decided_by = '')),
    CHECK ((decided_at IS NULL) = (confirmed IS NULL))
)
""",
    """
CREATE UNIQUE INDEX standing_order_open ON standing_order (institution_id)
    WHERE decided_at IS NULL
""",
    """
CREATE TABLE own_limit (
    institution_id text NOT NULL REFERENCES institution,
    scope text NOT NULL CHECK (scope <> ''),
    calls_per_second integer NOT NULL CHECK (calls_per_second > 0),
    burst integer NOT NULL CHECK (burst > 0),
    calls_per_day bigint NOT NULL CHECK (calls_per_day > 0),
    running_max integer NOT NULL CHECK (running_max > 0),
    PRIMARY KEY (institution_id, scope)
)
""",
    """
CREATE TABLE usage_day (
    day date NOT NULL,
    institution_id text NOT NULL,
    scope text NOT NULL,
    calls bigint NOT NULL,
    PRIMARY KEY (day, institution_id, scope)
)
""",
    """
CREATE TABLE usage_refusal (
    day date NOT NULL,
    institution_id text NOT NULL,
    reason text NOT NULL,
    calls bigint NOT NULL,
    PRIMARY KEY (day, institution_id, reason)
)
""",
    """
GRANT SELECT, INSERT, UPDATE, DELETE ON contract, own_limit, usage_day, usage_refusal
    TO gateway_app
""",
    "GRANT SELECT, INSERT, UPDATE ON certificate, person_key, standing_order TO gateway_app",
)


def upgrade() -> None:
    """Add what says who may call, with which key, until when and how often."""
    for statement in STATEMENTS:
        op.execute(statement)
