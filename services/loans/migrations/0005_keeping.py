"""Loans: days in chunks; books that lenders keep and where ours differ; loans taken over."""

from services.kernel.migrations import tables_0001

revision = "loans_0005"
down_revision = "loans_0004"
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

LENDER_BOOK = """
CREATE TABLE lender_book (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    lender_id text NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    keeper text NOT NULL CHECK (keeper IN ('liandong', 'lender_core')),
    from_day date NOT NULL,
    decided_on date NOT NULL,
    decided_by text NOT NULL,
    PRIMARY KEY (county_code, lender_id, number)
);
"""

CORE_ENTRY = """
CREATE TABLE core_entry (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    lender_id text NOT NULL,
    reference text NOT NULL,
    loan_id uuid NOT NULL,
    kind text NOT NULL,
    value_date date NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen >= 0),
    principal_fen bigint NOT NULL CHECK (principal_fen >= 0),
    interest_fen bigint NOT NULL CHECK (interest_fen >= 0),
    outstanding_fen bigint CHECK (outstanding_fen >= 0),
    five_tier_class text NOT NULL,
    undoes text NOT NULL,
    posting integer,
    booked_on date NOT NULL,
    PRIMARY KEY (county_code, lender_id, reference),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
CREATE INDEX core_entry_interest ON core_entry (county_code, loan_id, value_date)
    WHERE kind = 'interest';
"""

BOOK_DIFFERENCE = """
CREATE TABLE book_difference (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    number bigint GENERATED ALWAYS AS IDENTITY,
    lender_id text NOT NULL,
    reference text NOT NULL,
    loan_id uuid NOT NULL,
    cause text NOT NULL,
    theirs_fen bigint NOT NULL,
    ours_fen bigint NOT NULL,
    detail text NOT NULL,
    value_date date NOT NULL,
    found_on date NOT NULL,
    PRIMARY KEY (county_code, number),
    FOREIGN KEY (county_code, lender_id, reference) REFERENCES core_entry
);
"""

OPENING = """
CREATE TABLE opening (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    lender_id text NOT NULL,
    reference text NOT NULL,
    loan_id uuid NOT NULL,
    opening_on date NOT NULL,
    outstanding_fen bigint NOT NULL CHECK (outstanding_fen >= 0),
    interest_owed_fen bigint NOT NULL CHECK (interest_owed_fen >= 0),
    person_id text NOT NULL,
    PRIMARY KEY (county_code, lender_id, reference),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
"""

ONLY_ADDED = ("lender_book", "core_entry", "book_difference", "opening")


def upgrade() -> None:
    """Make the tables; what was decided, posted, found or taken over is never changed."""
    for part in (DAY_WORK, LENDER_BOOK, CORE_ENTRY, BOOK_DIFFERENCE, OPENING):
        tables_0001.run_script(part)
    # Not the grant on all tables: it would give back what was taken from histories before.
    tables_0001.run_script("GRANT SELECT, INSERT, UPDATE ON day_work TO loans_app")
    for table in ONLY_ADDED:
        tables_0001.run_script(f"GRANT SELECT, INSERT ON {table} TO loans_app")
        tables_0001.run_script(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM loans_app")
