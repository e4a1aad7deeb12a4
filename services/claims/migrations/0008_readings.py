"""What is on its way, found without what is over: operators' gauges ask every few seconds."""

from services.kernel.migrations import tables_0001

revision = "claims_0008"
down_revision = "claims_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    tables_0001.run_script("""
CREATE INDEX payout_open ON payout (county_code, state, payout_id)
    WHERE state NOT IN ('settled', 'reversed');
""")
