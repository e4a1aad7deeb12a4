"""Loans: what a brief report reads: principal of the journal by loan, and months' ends kept."""

from services.kernel.migrations import tables_0001
from services.kernel.migrations.row_walls import raise_walls

revision = "loans_0015"
down_revision = "loans_0014"
branch_labels = None
depends_on = None

# Everything that is asked of principal is in the index: a county's is a tenth of its journal.
PRINCIPAL = """
CREATE INDEX journal_principal_debit ON journal (debit_id)
    INCLUDE (county_code, business_date, kind, debit_account, credit_account, amount_fen)
    WHERE debit_account = 'loan_principal';
CREATE INDEX journal_principal_credit ON journal (credit_id)
    INCLUDE (county_code, business_date, kind, credit_account, debit_account, amount_fen)
    WHERE credit_account = 'loan_principal';
"""

KEPT_FIGURES = """
CREATE TABLE kept_figures (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    kept_on date NOT NULL,
    area_code text NOT NULL,
    lender_id text NOT NULL,
    programme text NOT NULL,
    product_id text NOT NULL,
    borrower_class text NOT NULL,
    loans bigint NOT NULL CHECK (loans >= 0),
    owing_loans bigint NOT NULL CHECK (owing_loans BETWEEN 0 AND loans),
    lent_fen bigint NOT NULL,
    disbursed_fen bigint NOT NULL,
    collected_principal_fen bigint NOT NULL,
    balance_fen bigint NOT NULL CHECK (balance_fen >= 0),
    interest_owed_fen bigint NOT NULL CHECK (interest_owed_fen >= 0),
    overdue_principal_fen bigint NOT NULL CHECK (overdue_principal_fen BETWEEN 0 AND balance_fen),
    non_performing_loans bigint NOT NULL CHECK (non_performing_loans BETWEEN 0 AND loans),
    non_performing_fen bigint NOT NULL CHECK (non_performing_fen BETWEEN 0 AND balance_fen),
    covered_fen bigint NOT NULL CHECK (covered_fen >= 0),
    PRIMARY KEY (county_code, kept_on, area_code, lender_id, programme, product_id, borrower_class)
);
"""


def upgrade() -> None:
    """Make the indexes and the table; what was kept is never changed."""
    tables_0001.run_script(PRINCIPAL)
    tables_0001.run_script(KEPT_FIGURES)
    tables_0001.run_script("GRANT SELECT, INSERT ON kept_figures TO loans_app")
    tables_0001.run_script("REVOKE UPDATE, DELETE, TRUNCATE ON kept_figures FROM loans_app")
    raise_walls()


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
