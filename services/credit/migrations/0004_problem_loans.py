"""Credit: what was ordered on problem loans, and grades that it lowers."""

from services.kernel.migrations import tables_0001

revision = "credit_0004"
down_revision = "credit_0003"
branch_labels = None
depends_on = None

MEASURE = """
ALTER TABLE measure DROP CONSTRAINT measure_kind_check;
ALTER TABLE measure ADD CONSTRAINT measure_kind_check
    CHECK (kind IN ('sanction', 'reward', 'second_grant', 'waiver', 'rehabilitation', 'demotion'));
"""

LOAN_ACTION = """
CREATE TABLE loan_action (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    loan_id uuid NOT NULL,
    since date NOT NULL,
    action text NOT NULL,
    household_id uuid NOT NULL,
    place integer NOT NULL,
    taken_on date NOT NULL,
    rule_version text NOT NULL,
    measure_id uuid,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, loan_id, since, action)
);
CREATE INDEX loan_action_household ON loan_action (county_code, household_id);
GRANT SELECT, INSERT ON loan_action TO credit_app;
REVOKE UPDATE, DELETE, TRUNCATE ON loan_action FROM credit_app;
"""


def upgrade() -> None:
    """What was ordered is a record: rows are only added."""
    for part in (MEASURE, LOAN_ACTION):
        tables_0001.run_script(part)


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
