"""Loans: the book of a loan, posting by posting; what is due next; what was paid too much."""

from services.kernel.migrations import tables_0001

revision = "loans_0002"
down_revision = "loans_0001"
branch_labels = None
depends_on = None

LOAN = """
ALTER TABLE loan
    ADD COLUMN method text NOT NULL DEFAULT 'bullet',
    ADD COLUMN next_due_on date,
    ADD COLUMN suspense_fen bigint NOT NULL DEFAULT 0 CHECK (suspense_fen >= 0),
    ADD COLUMN postings integer NOT NULL DEFAULT 0;
DROP INDEX loan_matures;
CREATE INDEX loan_due ON loan (county_code, next_due_on) WHERE state = 'active';
"""

POSTING = """
CREATE TABLE posting (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    kind text NOT NULL,
    value_date date NOT NULL,
    booked_on date NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen >= 0),
    interest_fen bigint NOT NULL CHECK (interest_fen >= 0),
    principal_fen bigint NOT NULL CHECK (principal_fen >= 0),
    rate_ppm bigint NOT NULL CHECK (rate_ppm >= 0),
    reverses integer,
    reference text NOT NULL,
    person_id text NOT NULL,
    PRIMARY KEY (county_code, loan_id, number),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan,
    CHECK (reverses < number)
);
CREATE UNIQUE INDEX posting_reversed_once ON posting (county_code, loan_id, reverses)
    WHERE reverses IS NOT NULL;
"""

PERIOD = """
CREATE TABLE accounting_period (
    county_code text PRIMARY KEY CHECK (county_code ~ '^[0-9]{6}$'),
    closed_through date NOT NULL
);
"""

# A loan from before this table enters it with what it owes, on the day to which it is accrued.
OPENINGS = """
UPDATE loan SET next_due_on = matures_on, postings = 1 WHERE accrued_through IS NOT NULL;
INSERT INTO posting
SELECT county_code, loan_id, 1, 'opening', accrued_through, accrued_through, 0, interest_owed_fen,
       outstanding_fen, rate_ppm, NULL, '', ''
FROM loan WHERE accrued_through IS NOT NULL;
"""


def upgrade() -> None:
    """Make the table and carry loans over."""
    for part in (LOAN, POSTING, PERIOD, OPENINGS):
        tables_0001.run_script(part)
    tables_0001.grant("loans")
    tables_0001.run_script("REVOKE UPDATE, DELETE, TRUNCATE ON posting FROM loans_app")
