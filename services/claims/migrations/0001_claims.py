"""Claims: the kernel's tables, facts, policies, insured lists, claims, payouts, instructions."""

from services.kernel.migrations import tables_0001

revision = "claims_0001"
down_revision = None
branch_labels = None
depends_on = None

FACTS = """
CREATE TABLE household (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    household_id uuid NOT NULL,
    area_code text NOT NULL,
    status text NOT NULL,
    PRIMARY KEY (county_code, household_id)
) WITH (fillfactor = 80);
CREATE TABLE loan (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    loan_id uuid NOT NULL,
    household_id uuid NOT NULL,
    area_code text NOT NULL,
    lender_id text NOT NULL,
    principal_fen bigint NOT NULL CHECK (principal_fen > 0),
    programme_id text NOT NULL,
    programme text NOT NULL,
    assignment_evidence text NOT NULL,
    required_covers text[] NOT NULL,
    approved_on date NOT NULL,
    state text NOT NULL CHECK (state IN ('approved', 'refused', 'settled')),
    closed_on date,
    PRIMARY KEY (county_code, loan_id),
    CHECK ((state = 'approved') = (closed_on IS NULL))
) WITH (fillfactor = 80);
"""

POLICIES = """
CREATE TABLE master_policy (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    policy_id uuid NOT NULL,
    insurer_id text NOT NULL,
    programme_id text NOT NULL,
    programme text NOT NULL,
    cover_id text NOT NULL,
    from_date date NOT NULL,
    until_date date NOT NULL,
    issued_by text NOT NULL,
    issued_person text NOT NULL,
    issued_on date NOT NULL,
    PRIMARY KEY (county_code, policy_id),
    UNIQUE (county_code, programme_id, cover_id, from_date),
    CHECK (from_date <= until_date)
);
CREATE TABLE awaited_cover (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    programme_id text NOT NULL,
    cover_id text NOT NULL,
    PRIMARY KEY (county_code, loan_id, cover_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
CREATE TABLE insured (
    county_code text NOT NULL,
    insured_id uuid NOT NULL,
    policy_id uuid NOT NULL,
    household_id uuid NOT NULL,
    loan_id uuid NOT NULL,
    cover_id text NOT NULL,
    sum_insured_fen bigint NOT NULL CHECK (sum_insured_fen >= 0),
    premium_fen bigint NOT NULL CHECK (premium_fen >= 0),
    premium_payer_id text NOT NULL,
    from_date date NOT NULL,
    until_date date NOT NULL,
    PRIMARY KEY (county_code, insured_id),
    UNIQUE (county_code, loan_id, policy_id),
    FOREIGN KEY (county_code, policy_id) REFERENCES master_policy,
    FOREIGN KEY (county_code, loan_id) REFERENCES loan,
    CHECK (from_date <= until_date)
);
CREATE INDEX insured_household ON insured (county_code, household_id, cover_id);
CREATE TABLE assignment (
    county_code text NOT NULL,
    assignment_id uuid NOT NULL,
    household_id uuid NOT NULL,
    cover_id text NOT NULL,
    loan_id uuid NOT NULL,
    lender_id text NOT NULL,
    evidence text NOT NULL CHECK (evidence <> ''),
    from_date date NOT NULL,
    until_date date CHECK (until_date >= from_date),
    PRIMARY KEY (county_code, assignment_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
-- A loan has one assignment a cover at a time; one that was revoked stays in the book.
CREATE UNIQUE INDEX assignment_standing ON assignment (county_code, loan_id, cover_id)
    WHERE until_date IS NULL;
CREATE INDEX assignment_household ON assignment (county_code, household_id, cover_id);
"""

CLAIMS = """
CREATE TABLE claim (
    county_code text NOT NULL,
    claim_id uuid NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    household_id uuid NOT NULL,
    area_code text NOT NULL,
    cover_id text NOT NULL,
    policy_id uuid NOT NULL,
    insured_id uuid NOT NULL,
    loan_id uuid NOT NULL,
    insurer_id text NOT NULL,
    lender_id text NOT NULL,
    programme text NOT NULL,
    loss_date date NOT NULL,
    cause text NOT NULL,
    assessed_fen bigint NOT NULL CHECK (assessed_fen > 0),
    documents text[] NOT NULL CHECK (cardinality(documents) > 0),
    reported_by text NOT NULL,
    reported_person text NOT NULL,
    reported_on date NOT NULL,
    state text NOT NULL CHECK (state IN ('reported', 'approved', 'refused')),
    reason text NOT NULL,
    payable_fen bigint NOT NULL CHECK (payable_fen BETWEEN 0 AND assessed_fen),
    payout_id uuid,
    due_on date,
    decided_by text NOT NULL,
    decided_person text NOT NULL,
    decided_on date,
    PRIMARY KEY (county_code, claim_id),
    CONSTRAINT claim_once UNIQUE (county_code, household_id, cover_id, loss_date),
    FOREIGN KEY (county_code, insured_id) REFERENCES insured,
    CHECK ((state = 'approved') = (payout_id IS NOT NULL)),
    CHECK ((state = 'approved') = (payable_fen > 0)),
    CHECK ((state = 'reported') = (decided_on IS NULL)),
    CHECK ((reported_by, reported_person) <> (decided_by, decided_person))
) WITH (fillfactor = 80);
CREATE TABLE payout (
    county_code text NOT NULL,
    payout_id uuid NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    claim_id uuid NOT NULL,
    household_id uuid NOT NULL,
    area_code text NOT NULL,
    insurer_id text NOT NULL,
    programme text NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    value_date date NOT NULL,
    loss_date date NOT NULL,
    household_at_once boolean NOT NULL,
    state text NOT NULL
        CHECK (state IN ('authorised', 'instructed', 'household_instructed', 'settled')),
    lenders_fen bigint NOT NULL CHECK (lenders_fen >= 0),
    household_fen bigint NOT NULL CHECK (household_fen >= 0),
    PRIMARY KEY (county_code, payout_id),
    UNIQUE (county_code, claim_id),
    FOREIGN KEY (county_code, claim_id) REFERENCES claim,
    CHECK (lenders_fen + household_fen = CASE state WHEN 'authorised' THEN 0 ELSE amount_fen END)
) WITH (fillfactor = 70);
CREATE TABLE payout_part (
    county_code text NOT NULL,
    payout_id uuid NOT NULL,
    loan_id uuid NOT NULL,
    place integer NOT NULL,
    lender_id text NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen >= 0),
    interest_fen bigint NOT NULL CHECK (interest_fen >= 0),
    principal_fen bigint NOT NULL CHECK (principal_fen >= 0),
    subrogated_fen bigint NOT NULL CHECK (subrogated_fen BETWEEN 0 AND amount_fen),
    outstanding_fen bigint NOT NULL CHECK (outstanding_fen >= 0),
    PRIMARY KEY (county_code, payout_id, loan_id),
    FOREIGN KEY (county_code, payout_id) REFERENCES payout
);
CREATE TABLE instruction (
    county_code text NOT NULL,
    instruction_id uuid NOT NULL,
    payout_id uuid NOT NULL,
    payee_kind text NOT NULL CHECK (payee_kind IN ('lender', 'household')),
    payee_id text NOT NULL,
    insurer_id text NOT NULL,
    loan_id uuid,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    state text NOT NULL CHECK (state IN ('open', 'confirmed')),
    confirmed_by text NOT NULL,
    confirmed_person text NOT NULL,
    confirmed_value_date date,
    PRIMARY KEY (county_code, instruction_id),
    -- One payee of a payout is never instructed twice.
    CONSTRAINT instruction_once
        UNIQUE NULLS NOT DISTINCT (county_code, payout_id, payee_kind, loan_id),
    FOREIGN KEY (county_code, payout_id) REFERENCES payout,
    CHECK ((payee_kind = 'lender') = (loan_id IS NOT NULL)),
    CHECK ((state = 'confirmed') = (confirmed_value_date IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX instruction_payee ON instruction (county_code, payee_id, instruction_id);
CREATE INDEX instruction_insurer ON instruction (county_code, insurer_id, instruction_id);
"""


def upgrade() -> None:
    """Make the tables."""
    tables_0001.create()
    for part in (FACTS, POLICIES, CLAIMS):
        tables_0001.run_script(part)
    tables_0001.grant("claims")


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
