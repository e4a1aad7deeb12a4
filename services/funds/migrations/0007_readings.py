"""What is on its way, found without what is over: operators' gauges ask every few seconds."""

from services.kernel.migrations import tables_0001

revision = "funds_0007"
down_revision = "funds_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    tables_0001.run_script("""
CREATE INDEX compensation_case_open ON compensation_case (county_code, state, case_id)
    WHERE state NOT IN ('paid', 'denied', 'closed');
""")
