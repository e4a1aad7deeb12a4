"""Loans: files of applications, steps taken, batches, limits, entities, the blacklist."""

from services.kernel.migrations import tables_0001

revision = "loans_0003"
down_revision = "loans_0002"
branch_labels = None
depends_on = None

LOAN = """
ALTER TABLE loan
    ADD COLUMN undrawn_fen bigint NOT NULL DEFAULT 0 CHECK (undrawn_fen >= 0),
    ADD COLUMN revolving_until date;
CREATE INDEX loan_limit ON loan (county_code, revolving_until)
    WHERE state = 'active' AND revolving_until IS NOT NULL;
CREATE INDEX loan_product ON loan (county_code, product_id)
    WHERE state NOT IN ('refused', 'settled');
"""

BORROWER = """
ALTER TABLE borrower
    ADD COLUMN people integer NOT NULL DEFAULT 0 CHECK (people >= 0),
    ADD COLUMN entity_kind text NOT NULL DEFAULT '';
"""

APPLICATION = """
CREATE TABLE application (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    borrower_kind text NOT NULL,
    channel text NOT NULL,
    applied_by text NOT NULL,
    stated text NOT NULL,
    findings text NOT NULL,
    clock_on date,
    clock_at timestamptz,
    due_at timestamptz,
    done_on date,
    done_at timestamptz,
    late boolean NOT NULL DEFAULT false,
    pauses text NOT NULL DEFAULT '[]',
    contract text NOT NULL DEFAULT '',
    PRIMARY KEY (county_code, loan_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
) WITH (fillfactor = 80);
"""

STEP_TAKEN = """
CREATE TABLE step_taken (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    step text NOT NULL,
    organ text NOT NULL,
    body text NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    approved boolean NOT NULL,
    reason text NOT NULL,
    evidence text NOT NULL,
    taken_on date NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, loan_id, number),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
"""

BATCH = """
CREATE TABLE batch (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    purpose text NOT NULL,
    evidence text NOT NULL,
    supplier text NOT NULL,
    state text NOT NULL CHECK (state IN ('requested', 'paid')),
    requested_by text NOT NULL,
    requested_on date NOT NULL,
    county_approved_by text NOT NULL,
    progress_signed_by text NOT NULL,
    signed text NOT NULL,
    paid_on date,
    payment_evidence text NOT NULL,
    PRIMARY KEY (county_code, loan_id, number),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan,
    CHECK ((state = 'paid') = (paid_on IS NOT NULL))
);
"""

LISTING = """
CREATE TABLE listing (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    household_id uuid NOT NULL,
    cause text NOT NULL,
    listed_on date NOT NULL,
    PRIMARY KEY (county_code, household_id, cause)
);
"""


def upgrade() -> None:
    """Make the tables."""
    for part in (LOAN, BORROWER, APPLICATION, STEP_TAKEN, BATCH, LISTING):
        tables_0001.run_script(part)
    tables_0001.grant("loans")
    tables_0001.run_script("REVOKE UPDATE, DELETE, TRUNCATE ON posting, step_taken FROM loans_app")
