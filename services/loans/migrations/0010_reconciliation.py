"""Loans: lists of lenders and national systems, where they differ from ours, which are due."""

from services.kernel.migrations import tables_0001, tables_statements

revision = "loans_0010"
down_revision = "loans_0006"
branch_labels = None
depends_on = None

DUE = """
CREATE TABLE statement_due (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    lender_id text NOT NULL,
    as_of date NOT NULL,
    PRIMARY KEY (county_code, as_of, lender_id)
);
CREATE INDEX statement_of_day ON statement (county_code, institution_id, as_of);
"""


def upgrade() -> None:
    """Make the tables; what was due, stated, found or said is never changed."""
    tables_statements.create("loans")
    tables_0001.run_script(DUE)
    tables_0001.run_script("GRANT SELECT, INSERT ON statement_due TO loans_app")
    tables_0001.run_script("REVOKE UPDATE, DELETE, TRUNCATE ON statement_due FROM loans_app")


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
