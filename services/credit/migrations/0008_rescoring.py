"""Re-scores: files that are all written again stay in their pages, and overrides are few."""

from services.kernel.migrations import tables_0001

revision = "credit_0008"
down_revision = "credit_0007"
branch_labels = None
depends_on = None

# A re-score writes every row of a page in one transaction: with half of the page free none moves,
# and no index has to learn where it went.
HALF_FULL = "ALTER TABLE credit_file SET (fillfactor = 50)"

OVERRIDES = (
    "CREATE INDEX rating_override ON rating (county_code, rating_id) WHERE pins ? 'override'"
)


def upgrade() -> None:
    """Leave room in new pages; make the index."""
    for part in (HALF_FULL, OVERRIDES):
        tables_0001.run_script(part)


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
