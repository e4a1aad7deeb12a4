"""The one search: which events name an id, the trace of an event, and the calls of a trace."""

from alembic import op

revision = "0007"
down_revision = "0006"

# One statement each: the driver prepares them.
STATEMENTS = (
    "ALTER TABLE feed_event ADD COLUMN traceparent text NOT NULL DEFAULT ''",
    # Every id that an event names, and its trace, which has as many digits.
    """
CREATE TABLE feed_named (
    id uuid NOT NULL,
    position bigint NOT NULL CHECK (position > 0),
    kind text NOT NULL,
    PRIMARY KEY (id, position, kind)
)
""",
    # Rows are written in the order of positions; retention looks for the first ones.
    "CREATE INDEX feed_named_position ON feed_named USING brin (position)",
    # Events that were kept before: a task of the gateway goes through them, some at a time.
    """
CREATE TABLE feed_named_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    done_position bigint NOT NULL,
    upto_position bigint NOT NULL
)
""",
    """
INSERT INTO feed_named_state (done_position, upto_position)
SELECT 0, last_position FROM feed_state
""",
    "CREATE INDEX access_log_trace ON access_log (trace_id, position) WHERE trace_id <> ''",
    "GRANT SELECT, INSERT, DELETE ON feed_named TO gateway_app",
    "GRANT SELECT, UPDATE ON feed_named_state TO gateway_app",
)


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
