"""Claims: assignments with their history, and lenders' word that repayment is in difficulty."""

from services.kernel.migrations import tables_0001

revision = "claims_0002"
down_revision = "claims_0001"
branch_labels = None
depends_on = None

ASSIGNMENTS = """
DROP INDEX assignment_standing;
ALTER TABLE assignment
    DROP COLUMN until_date,
    -- First day on which it stands no more; a payout of that day is the household's.
    ADD COLUMN revoked_from date CHECK (revoked_from >= from_date);
-- A loan has one assignment a cover at a time; one that was revoked stays in the book.
CREATE UNIQUE INDEX assignment_standing ON assignment (county_code, loan_id, cover_id)
    WHERE revoked_from IS NULL;
CREATE TABLE assignment_change (
    county_code text NOT NULL,
    assignment_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('recorded', 'revoked')),
    effective_on date NOT NULL,
    evidence text NOT NULL CHECK (evidence <> ''),
    institution_id text NOT NULL,
    person_id text NOT NULL,
    business_date date NOT NULL,
    PRIMARY KEY (county_code, assignment_id, kind),
    FOREIGN KEY (county_code, assignment_id) REFERENCES assignment
);
CREATE TABLE difficulty (
    county_code text NOT NULL,
    difficulty_id uuid NOT NULL,
    loan_id uuid NOT NULL,
    household_id uuid NOT NULL,
    lender_id text NOT NULL,
    cause text NOT NULL CHECK (cause <> ''),
    evidence text NOT NULL CHECK (evidence <> ''),
    from_date date NOT NULL,
    confirmed_person text NOT NULL,
    confirmed_on date NOT NULL,
    ended_from date CHECK (ended_from >= from_date),
    ended_person text NOT NULL DEFAULT '',
    PRIMARY KEY (county_code, difficulty_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan,
    CHECK ((ended_from IS NULL) = (ended_person = ''))
);
CREATE UNIQUE INDEX difficulty_standing ON difficulty (county_code, loan_id)
    WHERE ended_from IS NULL;
"""

LISTS = """
-- A person on a list by file has no loan; nor then has the claim.
ALTER TABLE insured ALTER COLUMN loan_id DROP NOT NULL;
ALTER TABLE claim ALTER COLUMN loan_id DROP NOT NULL;
"""

ONLY_ADDED = ("assignment_change",)
KEPT = ("difficulty",)


def upgrade() -> None:
    """Make the tables; what was recorded, charged or endorsed is never changed."""
    for part in (ASSIGNMENTS, LISTS):
        tables_0001.run_script(part)
    for table in KEPT:
        tables_0001.run_script(f"GRANT SELECT, INSERT, UPDATE ON {table} TO claims_app")
    for table in ONLY_ADDED:
        tables_0001.run_script(f"GRANT SELECT, INSERT ON {table} TO claims_app")


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
