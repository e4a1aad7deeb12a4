"""Loans: how far a day's work has come."""

from services.kernel.migrations import tables_0001

revision = "loans_0005"
down_revision = "loans_0002"
branch_labels = None
depends_on = None

DAY_WORK = """
CREATE TABLE day_work (
    county_code text PRIMARY KEY CHECK (county_code ~ '^[0-9]{6}$'),
    business_date date NOT NULL,
    after_loan_id uuid,
    done boolean NOT NULL DEFAULT false
);
"""


def upgrade() -> None:
    """Make the table."""
    tables_0001.run_script(DAY_WORK)
    # Not the grant on all tables: it would give back what was taken from histories.
    tables_0001.run_script("GRANT SELECT, INSERT, UPDATE ON day_work TO loans_app")
