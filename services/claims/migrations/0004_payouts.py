"""Claims: the saga of a payout: accounts, debts, words, messages, reversals, complaints."""

from services.kernel.migrations import tables_0001

revision = "claims_0004"
down_revision = "claims_0003"
branch_labels = None
depends_on = None

PAYOUT = """
ALTER TABLE payout
    ADD COLUMN groups text NOT NULL DEFAULT '[]',
    ADD COLUMN corrections integer NOT NULL DEFAULT 0,
    ADD COLUMN corrections_answered integer NOT NULL DEFAULT 0,
    ADD CHECK (corrections_answered BETWEEN 0 AND corrections),
    DROP CONSTRAINT payout_state_check,
    ADD CONSTRAINT payout_state_check CHECK (state IN (
        'authorised', 'allocated', 'instructed', 'unknown', 'correcting', 'confirmed',
        'household_instructed', 'settled', 'reversed'));
CREATE INDEX payout_insurer ON payout (county_code, insurer_id, payout_id);
ALTER TABLE instruction
    ADD COLUMN round integer NOT NULL DEFAULT 0 CHECK (round >= 0),
    ADD COLUMN account_ref text NOT NULL DEFAULT '',
    ADD COLUMN held_reason text NOT NULL DEFAULT '',
    ADD COLUMN sent_on date,
    ADD COLUMN attempt integer NOT NULL DEFAULT 1 CHECK (attempt > 0),
    ADD COLUMN asked_on date,
    ADD COLUMN confirmed_fen bigint NOT NULL DEFAULT 0,
    ADD COLUMN correction integer NOT NULL DEFAULT 0,
    ADD COLUMN message_id uuid,
    DROP CONSTRAINT instruction_once,
    -- One payee of one division of a payout is never instructed twice.
    ADD CONSTRAINT instruction_once
        UNIQUE NULLS NOT DISTINCT (county_code, payout_id, payee_kind, loan_id, round),
    DROP CONSTRAINT instruction_state_check,
    ADD CONSTRAINT instruction_state_check
        CHECK (state IN ('held', 'open', 'unknown', 'not_received', 'confirmed'));
UPDATE instruction SET confirmed_fen = amount_fen WHERE state = 'confirmed';
UPDATE instruction AS i SET sent_on = p.value_date FROM payout AS p
    WHERE p.county_code = i.county_code AND p.payout_id = i.payout_id;
ALTER TABLE instruction
    ADD CHECK (confirmed_fen BETWEEN 0 AND amount_fen),
    ADD CHECK (state = 'confirmed' OR confirmed_fen = 0),
    ADD CHECK (state = 'confirmed' OR correction = 0),
    -- Only to a registered account.
    ADD CHECK (state = 'held' OR sent_on IS NOT NULL);
CREATE INDEX instruction_waiting ON instruction (county_code, state, sent_on)
    WHERE state <> 'confirmed';
"""

PAYEES = """
CREATE TABLE payee_account (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    household_id uuid NOT NULL,
    account_id uuid NOT NULL,
    bank_id text NOT NULL,
    since date NOT NULL,
    PRIMARY KEY (county_code, household_id)
) WITH (fillfactor = 80);
CREATE TABLE lender_account (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    lender_id text NOT NULL,
    account_ref text NOT NULL CHECK (account_ref <> ''),
    person_id text NOT NULL,
    recorded_on date NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (county_code, lender_id, number)
);
CREATE TABLE heir_payee (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    household_id uuid NOT NULL,
    account_id uuid NOT NULL,
    evidence text NOT NULL CHECK (evidence <> ''),
    institution_id text NOT NULL,
    person_id text NOT NULL,
    registered_on date NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (county_code, household_id, number)
);
CREATE TABLE loan_debt (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    loan_id uuid NOT NULL,
    outstanding_fen bigint NOT NULL CHECK (outstanding_fen >= 0),
    interest_fen bigint NOT NULL CHECK (interest_fen >= 0),
    said_on date NOT NULL,
    PRIMARY KEY (county_code, loan_id)
) WITH (fillfactor = 70);
"""

WORDS = """
CREATE TABLE payment_word (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    word_id uuid NOT NULL,
    instruction_id uuid NOT NULL,
    said text NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen >= 0),
    value_date date,
    reason text NOT NULL,
    reference text NOT NULL,
    refusal text NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    said_on date NOT NULL,
    PRIMARY KEY (county_code, word_id)
);
CREATE INDEX payment_word_instruction ON payment_word (county_code, instruction_id, word_id);
CREATE TABLE payment_message (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    message_id uuid NOT NULL,
    insurer_id text NOT NULL,
    created_on date NOT NULL,
    person_id text NOT NULL,
    PRIMARY KEY (county_code, message_id)
);
"""

REVERSALS = """
CREATE TABLE payout_reversal (
    county_code text NOT NULL,
    reversal_id uuid NOT NULL,
    payout_id uuid NOT NULL,
    reason text NOT NULL,
    evidence text NOT NULL CHECK (evidence <> ''),
    asked_by text NOT NULL,
    asked_person text NOT NULL,
    asked_on date NOT NULL,
    state text NOT NULL CHECK (state IN ('asked', 'approved', 'refused')),
    decided_by text NOT NULL,
    decided_person text NOT NULL,
    decided_on date,
    PRIMARY KEY (county_code, reversal_id),
    FOREIGN KEY (county_code, payout_id) REFERENCES payout,
    CHECK ((state = 'asked') = (decided_on IS NULL)),
    CHECK (asked_person <> decided_person)
);
-- A payout is taken back once, and asked for once at a time.
CREATE UNIQUE INDEX payout_reversal_once ON payout_reversal (county_code, payout_id)
    WHERE state <> 'refused';
CREATE TABLE receivable (
    county_code text NOT NULL,
    receivable_id uuid NOT NULL,
    payout_id uuid NOT NULL,
    insurer_id text NOT NULL,
    debtor_kind text NOT NULL CHECK (debtor_kind IN ('lender', 'household')),
    debtor_id text NOT NULL,
    loan_id uuid,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    paid_fen bigint NOT NULL CHECK (paid_fen BETWEEN 0 AND amount_fen),
    since date NOT NULL,
    PRIMARY KEY (county_code, receivable_id),
    CONSTRAINT receivable_once
        UNIQUE NULLS NOT DISTINCT (county_code, payout_id, debtor_kind, loan_id),
    FOREIGN KEY (county_code, payout_id) REFERENCES payout
);
CREATE TABLE receivable_payment (
    county_code text NOT NULL,
    payment_id uuid NOT NULL,
    receivable_id uuid NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    value_date date NOT NULL,
    reference text NOT NULL,
    person_id text NOT NULL,
    booked_on date NOT NULL,
    PRIMARY KEY (county_code, payment_id),
    FOREIGN KEY (county_code, receivable_id) REFERENCES receivable
);
"""

COMPLAINTS = """
CREATE TABLE complaint (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    complaint_id uuid NOT NULL,
    subject_id uuid NOT NULL,
    household_id uuid NOT NULL,
    area_code text NOT NULL,
    insurer_id text NOT NULL,
    reason text NOT NULL,
    evidence text NOT NULL,
    filed_by text NOT NULL,
    filed_person text NOT NULL,
    filed_on date NOT NULL,
    due_on date NOT NULL,
    outcome text NOT NULL,
    answer_evidence text NOT NULL,
    answered_person text NOT NULL,
    answered_on date,
    PRIMARY KEY (county_code, complaint_id),
    CHECK ((outcome = '') = (answered_on IS NULL))
);
CREATE INDEX complaint_open ON complaint (county_code, insurer_id, complaint_id)
    WHERE answered_on IS NULL;
"""

ONLY_ADDED = (
    "lender_account",
    "heir_payee",
    "payment_word",
    "payment_message",
    "receivable_payment",
)
CHANGED = ("payee_account", "loan_debt", "payout_reversal", "receivable", "complaint")


def upgrade() -> None:
    """Make the tables; what was said, sent and paid is never changed."""
    for part in (PAYOUT, PAYEES, WORDS, REVERSALS, COMPLAINTS):
        tables_0001.run_script(part)
    # Not the grant on all tables: it would give back what was taken from histories before.
    for table in CHANGED:
        tables_0001.run_script(f"GRANT SELECT, INSERT, UPDATE ON {table} TO claims_app")
        tables_0001.run_script(f"REVOKE DELETE, TRUNCATE ON {table} FROM claims_app")
    for table in ONLY_ADDED:
        tables_0001.run_script(f"GRANT SELECT, INSERT ON {table} TO claims_app")
        tables_0001.run_script(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM claims_app")


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
