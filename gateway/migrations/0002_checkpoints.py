"""Checkpoints, day roots, cuts, what a call touched, break-glasses, reports of retention."""

from services.kernel.migrations import tables_0001

revision = "0002"
down_revision = "0001"

SCRIPT = """
ALTER TABLE access_log
    ADD COLUMN chain_version smallint NOT NULL DEFAULT 1,
    ADD COLUMN resources text[] NOT NULL DEFAULT '{}',
    ADD COLUMN break_glass_id text NOT NULL DEFAULT '';
CREATE INDEX access_log_resources ON access_log USING gin (resources);
CREATE INDEX access_log_institution ON access_log (institution_id, position);
CREATE INDEX access_log_called ON access_log USING brin (called_at);
CREATE INDEX access_log_break_glass ON access_log (break_glass_id, position)
    WHERE break_glass_id <> '';

CREATE TABLE access_log_key (
    key_id text PRIMARY KEY,
    public_key bytea NOT NULL CHECK (length(public_key) = 32),
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE access_log_checkpoint (
    number bigint PRIMARY KEY CHECK (number > 0),
    position bigint NOT NULL UNIQUE CHECK (position > 0),
    digest bytea NOT NULL CHECK (length(digest) = 32),
    made_at timestamptz NOT NULL,
    previous bytea NOT NULL CHECK (length(previous) = 32),
    key_id text NOT NULL,
    signature bytea NOT NULL CHECK (length(signature) = 64)
);
CREATE INDEX access_log_checkpoint_made ON access_log_checkpoint (made_at);
CREATE TABLE access_log_day_root (
    day date PRIMARY KEY,
    checkpoint_number bigint NOT NULL UNIQUE,
    position bigint NOT NULL UNIQUE,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    previous bytea NOT NULL CHECK (length(previous) = 32),
    key_id text NOT NULL,
    signature bytea NOT NULL CHECK (length(signature) = 64)
);
CREATE TABLE access_log_root_taking (
    day date NOT NULL REFERENCES access_log_day_root,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (day, institution_id)
);
CREATE TABLE access_log_cut (
    number bigint PRIMARY KEY CHECK (number > 0),
    first_position bigint NOT NULL CHECK (first_position > 0),
    position bigint NOT NULL UNIQUE CHECK (position >= first_position),
    digest bytea NOT NULL CHECK (length(digest) = 32),
    cut_at timestamptz NOT NULL,
    archive text NOT NULL CHECK (archive <> ''),
    archive_sha256 text NOT NULL CHECK (archive_sha256 ~ '^[0-9a-f]{64}$'),
    previous bytea NOT NULL CHECK (length(previous) = 32),
    key_id text NOT NULL,
    signature bytea NOT NULL CHECK (length(signature) = 64)
);
CREATE TABLE retention_report (
    report_id uuid PRIMARY KEY,
    ran_at timestamptz NOT NULL,
    category text NOT NULL CHECK (category <> ''),
    kept_days integer NOT NULL CHECK (kept_days > 0),
    removed_rows bigint NOT NULL CHECK (removed_rows >= 0),
    archive text NOT NULL,
    archive_sha256 text NOT NULL,
    note text NOT NULL
);
CREATE TABLE break_glass (
    break_glass_id uuid PRIMARY KEY,
    institution_id text NOT NULL,
    reason text NOT NULL CHECK (reason <> ''),
    methods text[] NOT NULL CHECK (cardinality(methods) > 0),
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    minutes integer NOT NULL CHECK (minutes BETWEEN 1 AND 240),
    opened_by text NOT NULL CHECK (opened_by <> ''),
    opened_at timestamptz NOT NULL DEFAULT now(),
    confirmed_by text NOT NULL DEFAULT '' CHECK (confirmed_by <> opened_by),
    confirmed_at timestamptz,
    expires_at timestamptz,
    closed_by text NOT NULL DEFAULT '',
    closed_at timestamptz,
    CHECK ((confirmed_by = '') = (confirmed_at IS NULL)),
    CHECK ((confirmed_by = '') = (expires_at IS NULL)),
    CHECK ((closed_by = '') = (closed_at IS NULL))
);
CREATE INDEX break_glass_running ON break_glass (expires_at) WHERE closed_at IS NULL;

-- The service may not delete rows of the log. It may have them deleted that are in an archive by a
-- cut, and older than the law's half year; that bound stands here, where no setting moves it.
CREATE FUNCTION cut_access_log(rows_max integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = gateway, pg_temp AS $$
DECLARE
    upto bigint := (
        SELECT max(position) FROM (
            SELECT position FROM access_log
            WHERE position <= (SELECT max(position) FROM access_log_cut)
            ORDER BY position LIMIT least(rows_max, 50000)) AS next);
    removed bigint;
BEGIN
    IF EXISTS (SELECT FROM access_log
               WHERE position <= upto AND called_at > now() - interval '180 days') THEN
        RAISE EXCEPTION 'rows of the access log are kept for 180 days at least';
    END IF;
    DELETE FROM access_log WHERE position <= upto;
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END $$;

GRANT SELECT, INSERT ON access_log_key, access_log_checkpoint, access_log_day_root,
    access_log_root_taking, access_log_cut, retention_report, break_glass TO gateway_app;
GRANT UPDATE (confirmed_by, confirmed_at, expires_at, closed_by, closed_at)
    ON break_glass TO gateway_app;
"""


def upgrade() -> None:
    """Make the tables; none but the break-glasses' own course is ever updated."""
    tables_0001.run_script(SCRIPT)
