"""Loans: tasks after the loan, issues, dispositions: their rows and their histories."""

from services.kernel.migrations import tables_0001

revision = "loans_0007"
down_revision = "loans_0006"
branch_labels = None
depends_on = None

DUTY = """
CREATE TABLE duty (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    institution_id text NOT NULL,
    kind text NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    owner_id text NOT NULL CHECK (owner_id <> ''),
    deputy_id text NOT NULL CHECK (deputy_id <> '' AND deputy_id <> owner_id),
    assigned_on date NOT NULL,
    assigned_by text NOT NULL,
    PRIMARY KEY (county_code, institution_id, kind, number)
);
"""

TASK = """
CREATE TABLE task (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    task_id uuid NOT NULL,
    version bigint NOT NULL,
    kind text NOT NULL,
    clause_id text NOT NULL,
    key text COLLATE "C" NOT NULL,
    programme text NOT NULL,
    area_code text NOT NULL,
    loan_id uuid,
    household_id uuid,
    lender_id text NOT NULL,
    organ text NOT NULL,
    institution_id text NOT NULL,
    owner_id text NOT NULL,
    deputy_id text NOT NULL,
    opened_on date NOT NULL,
    due_on date NOT NULL,
    closed_on date,
    levels text NOT NULL,
    signed integer NOT NULL DEFAULT 0 CHECK (signed >= 0),
    chain text NOT NULL,
    escalated_to text NOT NULL DEFAULT '',
    escalations integer NOT NULL DEFAULT 0 CHECK (escalations >= 0),
    next_escalation_on date,
    cause text NOT NULL,
    looks_at text NOT NULL,
    steps integer NOT NULL DEFAULT 0 CHECK (steps >= 0),
    PRIMARY KEY (county_code, task_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan,
    CHECK ((owner_id = '') = (deputy_id = '')),
    CHECK (owner_id = '' OR owner_id <> deputy_id)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX task_key ON task (county_code, key);
CREATE INDEX task_due ON task (county_code, due_on, task_id);
CREATE INDEX task_loan ON task (county_code, loan_id) WHERE loan_id IS NOT NULL;
CREATE INDEX task_unowned ON task (county_code, institution_id, kind)
    WHERE closed_on IS NULL AND owner_id = '';
CREATE INDEX task_owner ON task (county_code, owner_id) WHERE owner_id <> '';
CREATE INDEX task_deputy ON task (county_code, deputy_id) WHERE deputy_id <> '';
CREATE INDEX task_escalation ON task (county_code, next_escalation_on)
    WHERE closed_on IS NULL AND next_escalation_on IS NOT NULL;
CREATE TABLE task_step (
    county_code text NOT NULL,
    task_id uuid NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    kind text NOT NULL CHECK (kind IN ('assigned', 'signed', 'reported', 'escalated', 'closed')),
    taken_on date NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    organ text NOT NULL,
    note text NOT NULL,
    evidence text NOT NULL,
    findings text NOT NULL,
    figures text NOT NULL,
    in_time boolean NOT NULL,
    PRIMARY KEY (county_code, task_id, number),
    FOREIGN KEY (county_code, task_id) REFERENCES task
);
CREATE INDEX task_step_escalated ON task_step (county_code, taken_on, task_id)
    WHERE kind = 'escalated';
CREATE INDEX task_step_person ON task_step (county_code, person_id) WHERE person_id <> '';
"""

ISSUE = """
CREATE TABLE issue (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    issue_id uuid NOT NULL,
    version bigint NOT NULL,
    ledger text NOT NULL,
    code text NOT NULL CHECK (code <> ''),
    programme text NOT NULL,
    area_code text NOT NULL,
    loan_id uuid,
    household_id uuid,
    lender_id text NOT NULL,
    state text NOT NULL CHECK (state IN ('registered', 'rectified', 'crossed_off')),
    registered_on date NOT NULL,
    due_on date,
    rectified_on date,
    rectified_by text NOT NULL DEFAULT '',
    closed_on date,
    closed_by text NOT NULL DEFAULT '',
    task_id uuid,
    note text NOT NULL,
    steps integer NOT NULL CHECK (steps > 0),
    PRIMARY KEY (county_code, issue_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan,
    CHECK ((state = 'crossed_off') = (closed_on IS NOT NULL)),
    CHECK (closed_by = '' OR closed_by <> rectified_by)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX issue_open ON issue (county_code, loan_id, code)
    WHERE state <> 'crossed_off' AND loan_id IS NOT NULL;
CREATE INDEX issue_due ON issue (county_code, due_on, issue_id);
CREATE TABLE issue_step (
    county_code text NOT NULL,
    issue_id uuid NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    kind text NOT NULL
        CHECK (kind IN ('registered', 'deadline_set', 'rectified', 'sent_back', 'crossed_off')),
    taken_on date NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    note text NOT NULL,
    evidence text NOT NULL,
    in_time boolean NOT NULL,
    PRIMARY KEY (county_code, issue_id, number),
    FOREIGN KEY (county_code, issue_id) REFERENCES issue
);
CREATE INDEX issue_step_person ON issue_step (county_code, person_id) WHERE person_id <> '';
"""

DISPOSITION = """
CREATE TABLE disposition (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    due_class text NOT NULL,
    actions text NOT NULL,
    plan text NOT NULL,
    reason text NOT NULL,
    evidence text NOT NULL,
    organ text NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    decided_on date NOT NULL,
    in_effect boolean NOT NULL,
    PRIMARY KEY (county_code, loan_id, number),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
CREATE INDEX disposition_person ON disposition (county_code, person_id);
ALTER TABLE loan_action DROP CONSTRAINT loan_action_cause_check;
ALTER TABLE loan_action ADD CONSTRAINT loan_action_cause_check
    CHECK (cause IN ('overdue', 'non_performing', 'disposition'));
"""

CHANGED = ("task", "issue")
ONLY_ADDED = ("duty", "task_step", "issue_step", "disposition")


def upgrade() -> None:
    """Make the tables; what was done with a task, an issue or a loan is never changed."""
    for part in (DUTY, TASK, ISSUE, DISPOSITION):
        tables_0001.run_script(part)
    for table in CHANGED:
        tables_0001.run_script(f"GRANT SELECT, INSERT, UPDATE ON {table} TO loans_app")
        tables_0001.run_script(f"REVOKE DELETE, TRUNCATE ON {table} FROM loans_app")
    for table in ONLY_ADDED:
        tables_0001.run_script(f"GRANT SELECT, INSERT ON {table} TO loans_app")
        tables_0001.run_script(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM loans_app")


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
