"""Loans: outlets, what took a limit away, what fell due in a month and was collected."""

from services.kernel.migrations import tables_0001

revision = "loans_0011"
down_revision = "loans_0010"
branch_labels = None
depends_on = None

COLUMNS = """
ALTER TABLE loan ADD COLUMN outlet_code text NOT NULL DEFAULT '';
ALTER TABLE borrower ADD COLUMN held_by text NOT NULL DEFAULT '';
"""

DUE_MONTH = """
CREATE TABLE due_month (
    county_code text NOT NULL,
    month date NOT NULL CHECK (extract(day FROM month) = 1),
    loan_id uuid NOT NULL,
    programme_id text NOT NULL,
    due_fen bigint NOT NULL CHECK (due_fen > 0),
    collected_fen bigint NOT NULL CHECK (collected_fen BETWEEN 0 AND due_fen),
    PRIMARY KEY (county_code, month, loan_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
CREATE INDEX due_month_programme ON due_month (county_code, programme_id, month);
"""


def upgrade() -> None:
    """Make the table; what a month's end found is only added to."""
    tables_0001.run_script(COLUMNS)
    tables_0001.run_script(DUE_MONTH)
    tables_0001.run_script("GRANT SELECT, INSERT ON due_month TO loans_app")
    tables_0001.run_script("REVOKE UPDATE, DELETE, TRUNCATE ON due_month FROM loans_app")


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
