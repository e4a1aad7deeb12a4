"""Re-scores: what was written since, and whose file still stands as a re-score found it."""

from services.kernel.migrations import tables_0001

revision = "credit_0009"
down_revision = "credit_0008"
branch_labels = None
depends_on = None

# Rows from before stay without one: no re-score of which the next may make use is older.
WRITTEN = """
ALTER TABLE indicator ADD COLUMN transaction_id xid8;
ALTER TABLE indicator ALTER COLUMN transaction_id SET DEFAULT pg_current_xact_id();
"""

SETTLED = """
ALTER TABLE credit_file ADD COLUMN settled_rating_id uuid;
ALTER TABLE credit_file ADD COLUMN settled_honour text;
"""

RESTS_ON = """
ALTER TABLE rescore ADD COLUMN basis text NOT NULL DEFAULT '';
ALTER TABLE rescore ADD COLUMN seen_upto xid8;
"""


def upgrade() -> None:
    """Add the columns; nothing is written anew."""
    for part in (WRITTEN, SETTLED, RESTS_ON):
        tables_0001.run_script(part)


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
