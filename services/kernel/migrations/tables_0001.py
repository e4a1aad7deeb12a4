"""The kernel's tables, version 1: outbox, inbox, parked, idempotency, journal, business day."""

from alembic import op
from sqlalchemy.util import await_only

OUTBOX = """
CREATE SEQUENCE outbox_position AS bigint;
CREATE TABLE outbox (
    recorded_month date NOT NULL DEFAULT date_trunc('month', now() AT TIME ZONE 'UTC')::date,
    position bigint NOT NULL DEFAULT nextval('outbox_position'),
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    sequence bigint NOT NULL CHECK (sequence > 0),
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    business_date date,
    programme text NOT NULL DEFAULT '',
    payload bytea NOT NULL,
    traceparent text NOT NULL DEFAULT '',
    recorded_at timestamptz NOT NULL DEFAULT now(),
    stream_sequence bigint,
    publish_count integer NOT NULL DEFAULT 0,
    PRIMARY KEY (recorded_month, position),
    UNIQUE (recorded_month, aggregate_type, aggregate_id, sequence)
) PARTITION BY RANGE (recorded_month);
CREATE INDEX outbox_unpublished ON outbox (position) WHERE stream_sequence IS NULL;
CREATE INDEX outbox_stream ON outbox (stream_sequence) WHERE stream_sequence IS NOT NULL;
CREATE TABLE relay_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    stream_created text NOT NULL DEFAULT ''
);
INSERT INTO relay_state DEFAULT VALUES;

-- Partitions are made ahead by the service that writes them, which may not own the table.
CREATE FUNCTION ensure_outbox_partition(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    name text := 'outbox_' || to_char(month, 'YYYYMM');
BEGIN
    IF to_regclass(name) IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtext('outbox_partition'));
        -- Not asked of to_regclass again: an advisory lock does not refresh what it remembers.
        EXECUTE format(
            'CREATE TABLE IF NOT EXISTS %I PARTITION OF outbox FOR VALUES FROM (%L) TO (%L)
             WITH (fillfactor = 80)',
            name, date_trunc('month', month)::date,
            (date_trunc('month', month) + interval '1 month')::date);
    END IF;
END $$;
"""

INBOX = """
CREATE TABLE inbox_event (
    event_id uuid PRIMARY KEY,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE inbox_position (
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    last_sequence bigint NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id)
) WITH (fillfactor = 80);
CREATE TABLE inbox_count (
    noun text PRIMARY KEY,
    events bigint NOT NULL
);
CREATE TABLE parked_event (
    event_id uuid PRIMARY KEY,
    event_type text NOT NULL,
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    sequence bigint NOT NULL,
    county_code text NOT NULL,
    headers text NOT NULL,
    payload bytea NOT NULL,
    reason text NOT NULL,
    attempts integer NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'parked' CHECK (state IN ('parked', 'applied', 'dropped')),
    drop_proposed_by text NOT NULL DEFAULT '',
    UNIQUE (aggregate_type, aggregate_id, sequence)
);
CREATE INDEX parked_event_waiting ON parked_event (parked_at, event_id) WHERE state = 'parked';
CREATE TABLE inbox_attempt (
    event_id uuid PRIMARY KEY,
    attempts integer NOT NULL,
    last_reason text NOT NULL
);
"""

IDEMPOTENCY = """
CREATE TABLE idempotency (
    institution_id text NOT NULL,
    method text NOT NULL,
    request_id uuid NOT NULL,
    request_hash bytea NOT NULL,
    response bytea NOT NULL,
    money boolean NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (institution_id, method, request_id)
);
CREATE INDEX idempotency_old ON idempotency (recorded_at) WHERE NOT money;
"""

JOURNAL = """
CREATE TABLE journal (
    entry_id uuid NOT NULL,
    line smallint NOT NULL,
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    kind text NOT NULL,
    cause_id text NOT NULL,
    debit_account text NOT NULL,
    debit_id text NOT NULL,
    credit_account text NOT NULL,
    credit_id text NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    value_date date NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (entry_id, line),
    UNIQUE (kind, cause_id, line),
    CHECK ((debit_account, debit_id) <> (credit_account, credit_id))
);
CREATE INDEX journal_transaction ON journal (transaction_id);
CREATE TABLE journal_checkpoint (
    checkpoint bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    upto_transaction xid8 NOT NULL,
    rows_sealed bigint NOT NULL,
    digest bytea NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
"""

BUSINESS_DAY = """
CREATE TABLE business_day (
    county_code text PRIMARY KEY CHECK (county_code ~ '^[0-9]{6}$'),
    business_date date NOT NULL
);
"""

GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {app};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {app};
REVOKE UPDATE, DELETE, TRUNCATE ON journal, journal_checkpoint, idempotency, inbox_event FROM {app};
REVOKE DELETE ON outbox, parked_event FROM {app};
GRANT DELETE ON idempotency TO {app};
"""


def run_script(sql: str) -> None:
    """Run several statements at once: a prepared statement, as the driver makes it, holds one."""
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    await_only(driver.execute(sql))


def create() -> None:
    """Make the kernel's tables in the schema of the service that is being migrated."""
    for part in (OUTBOX, INBOX, IDEMPOTENCY, JOURNAL, BUSINESS_DAY):
        run_script(part)


def grant(schema: str) -> None:
    """Give the app role what it needs and nothing more; call it after the service's own tables."""
    run_script(GRANTS.format(schema=schema, app=f"{schema}_app"))
