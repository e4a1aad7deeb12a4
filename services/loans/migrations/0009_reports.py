"""Loans: what reports about a past day need: dated standings, counts, batches, lenders' ratios."""

from services.kernel.migrations import tables_0001

revision = "loans_0009"
down_revision = "loans_0008"
branch_labels = None
depends_on = None

PERFORMING_CHANGE = """
CREATE TABLE performing_change (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    change_id bigint GENERATED ALWAYS AS IDENTITY,
    changed_on date NOT NULL,
    non_performing boolean NOT NULL,
    PRIMARY KEY (county_code, loan_id, change_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
"""

COUNTED_HOUSEHOLDS = """
CREATE TABLE counted_households (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    counted_on date NOT NULL,
    village_code text NOT NULL,
    status text NOT NULL,
    households integer NOT NULL CHECK (households > 0),
    PRIMARY KEY (county_code, counted_on, village_code, status)
);
"""

LOAN_BATCH = """
CREATE TABLE loan_batch (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    batch text NOT NULL,
    stated_on date NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    PRIMARY KEY (county_code, loan_id, number),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
"""

LENDER_RATIO = """
CREATE TABLE lender_ratio (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    lender_id text NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    on_day date NOT NULL,
    non_performing_fen bigint NOT NULL CHECK (non_performing_fen >= 0),
    outstanding_fen bigint NOT NULL CHECK (outstanding_fen >= non_performing_fen),
    evidence text NOT NULL,
    stated_on date NOT NULL,
    person_id text NOT NULL,
    PRIMARY KEY (county_code, lender_id, number)
);
"""

STATED_COUNT = """
CREATE TABLE stated_count (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    programme_id text NOT NULL,
    count_id text NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    on_day date NOT NULL,
    value bigint NOT NULL CHECK (value >= 0),
    evidence text NOT NULL,
    stated_on date NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    PRIMARY KEY (county_code, programme_id, count_id, number)
);
"""

HISTORIES = "performing_change, counted_households, loan_batch, lender_ratio, stated_count"


def upgrade() -> None:
    """Make the tables; their rows are only added."""
    for part in (PERFORMING_CHANGE, COUNTED_HOUSEHOLDS, LOAN_BATCH, LENDER_RATIO, STATED_COUNT):
        tables_0001.run_script(part)
    tables_0001.run_script(f"GRANT SELECT, INSERT ON {HISTORIES} TO loans_app")
    tables_0001.run_script(f"REVOKE UPDATE, DELETE, TRUNCATE ON {HISTORIES} FROM loans_app")


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
