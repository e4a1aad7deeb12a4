"""Claims: agreements, lists by file, premium with its payments, assignments with their history."""

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
CREATE INDEX assignment_loan ON assignment (county_code, loan_id, cover_id);
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

POLICIES = """
ALTER TABLE loan
    ADD COLUMN disbursed_fen bigint NOT NULL DEFAULT 0 CHECK (disbursed_fen >= 0),
    ADD COLUMN disbursed_on date;
CREATE TABLE policy_cover (
    county_code text NOT NULL,
    policy_id uuid NOT NULL,
    cover_id text NOT NULL,
    PRIMARY KEY (county_code, policy_id, cover_id),
    FOREIGN KEY (county_code, policy_id) REFERENCES master_policy
);
INSERT INTO policy_cover SELECT county_code, policy_id, cover_id FROM master_policy;
ALTER TABLE master_policy
    DROP COLUMN cover_id,
    ADD COLUMN area_code text NOT NULL DEFAULT '',
    ADD COLUMN rate_ppm integer,
    ADD COLUMN enterprise_id text NOT NULL DEFAULT '',
    ADD COLUMN renews_policy_id uuid,
    ADD COLUMN end_reason text NOT NULL DEFAULT '';
UPDATE master_policy SET area_code = county_code;
ALTER TABLE master_policy ALTER COLUMN area_code DROP DEFAULT;
CREATE UNIQUE INDEX master_policy_renewed_once ON master_policy (county_code, renews_policy_id)
    WHERE renews_policy_id IS NOT NULL;
"""

LISTS = """
-- A person on a list by file has no loan; nor then has the claim.
ALTER TABLE claim ALTER COLUMN loan_id DROP NOT NULL;
ALTER TABLE insured
    DROP CONSTRAINT insured_county_code_loan_id_policy_id_key,
    ALTER COLUMN loan_id DROP NOT NULL,
    ADD COLUMN member_id uuid,
    ADD COLUMN term_until date,
    ADD COLUMN state text NOT NULL DEFAULT 'in_force'
        CHECK (state IN ('waiting', 'in_force', 'over', 'cancelled')),
    -- How many events were said of the entry.
    ADD COLUMN version bigint NOT NULL DEFAULT 1;
UPDATE insured SET term_until = until_date;
ALTER TABLE insured
    ALTER COLUMN term_until SET NOT NULL,
    ALTER COLUMN state DROP DEFAULT,
    ALTER COLUMN version DROP DEFAULT,
    ADD CHECK (until_date <= term_until);
-- Who left may join again; nobody is twice on a list.
CREATE UNIQUE INDEX insured_loan_once ON insured (county_code, loan_id, policy_id, cover_id)
    WHERE loan_id IS NOT NULL AND state <> 'cancelled' AND until_date = term_until;
CREATE UNIQUE INDEX insured_person_once
    ON insured (county_code, policy_id, cover_id, household_id, member_id) NULLS NOT DISTINCT
    WHERE loan_id IS NULL AND state <> 'cancelled' AND until_date = term_until;
CREATE INDEX insured_list ON insured (county_code, policy_id, insured_id);
CREATE INDEX insured_waiting ON insured (county_code, from_date) WHERE state = 'waiting';
CREATE INDEX insured_ending ON insured (county_code, until_date)
    WHERE state IN ('waiting', 'in_force');
-- Loans whose required cover is a household's entry that a file put on the list.
CREATE TABLE covered_loan (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    cover_id text NOT NULL,
    insured_id uuid NOT NULL,
    PRIMARY KEY (county_code, insured_id, loan_id),
    FOREIGN KEY (county_code, insured_id) REFERENCES insured,
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
CREATE TABLE endorsement (
    county_code text NOT NULL,
    endorsement_id uuid NOT NULL,
    policy_id uuid NOT NULL,
    insured_id uuid NOT NULL,
    kind text NOT NULL
        CHECK (kind IN ('joined', 'left', 'sum_changed', 'policy_ended', 'carried_over')),
    effective_on date NOT NULL,
    sum_before_fen bigint NOT NULL,
    sum_after_fen bigint NOT NULL,
    premium_fen bigint NOT NULL,
    reason text NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    business_date date NOT NULL,
    PRIMARY KEY (county_code, endorsement_id),
    FOREIGN KEY (county_code, insured_id) REFERENCES insured
);
CREATE INDEX endorsement_list ON endorsement (county_code, policy_id, endorsement_id);
"""

PREMIUM = """
CREATE TABLE premium_charge (
    county_code text NOT NULL,
    charge_id uuid NOT NULL,
    policy_id uuid NOT NULL,
    insured_id uuid,
    kind text NOT NULL CHECK (kind IN ('entry', 'change', 'refund', 'provisional', 'true_up')),
    payer text NOT NULL CHECK (payer IN ('borrower', 'county', 'insurer', 'enterprise')),
    payer_id text NOT NULL CHECK (payer_id <> ''),
    insurer_id text NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen <> 0),
    value_date date NOT NULL,
    business_date date NOT NULL,
    PRIMARY KEY (county_code, charge_id),
    FOREIGN KEY (county_code, policy_id) REFERENCES master_policy
);
CREATE INDEX premium_charge_policy ON premium_charge (county_code, policy_id, payer_id);
CREATE INDEX premium_charge_insured ON premium_charge (county_code, insured_id);
-- The charges of what was insured before: one payer each.
INSERT INTO premium_charge
SELECT i.county_code, i.insured_id, i.policy_id, i.insured_id, 'entry',
       CASE i.premium_payer_id WHEN i.household_id::text THEN 'borrower'
                               WHEN i.county_code THEN 'county' ELSE 'insurer' END,
       i.premium_payer_id, p.insurer_id, i.premium_fen, i.from_date, i.from_date
FROM insured AS i JOIN master_policy AS p USING (county_code, policy_id)
WHERE i.premium_fen > 0;
CREATE TABLE premium_payment (
    county_code text NOT NULL,
    payment_id uuid NOT NULL,
    policy_id uuid NOT NULL,
    payer_id text NOT NULL,
    insurer_id text NOT NULL,
    -- Below 0: a refund paid out.
    amount_fen bigint NOT NULL CHECK (amount_fen <> 0),
    value_date date NOT NULL,
    business_date date NOT NULL,
    reference text NOT NULL CHECK (reference <> ''),
    person_id text NOT NULL,
    PRIMARY KEY (county_code, payment_id),
    CONSTRAINT premium_payment_once UNIQUE (county_code, insurer_id, reference),
    FOREIGN KEY (county_code, policy_id) REFERENCES master_policy
);
CREATE INDEX premium_payment_policy ON premium_payment (county_code, policy_id, payer_id);
"""

AGREEMENTS = """
CREATE TABLE agreement (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    agreement_id uuid NOT NULL,
    insurer_id text NOT NULL,
    programme_id text NOT NULL,
    government_id text NOT NULL,
    bank_ids text[] NOT NULL CHECK (cardinality(bank_ids) > 0),
    signed_on date NOT NULL,
    from_date date NOT NULL,
    until_date date NOT NULL,
    document text NOT NULL CHECK (document <> ''),
    recorded_person text NOT NULL,
    recorded_on date NOT NULL,
    ended_from date,
    end_reason text NOT NULL DEFAULT '',
    ended_person text NOT NULL DEFAULT '',
    PRIMARY KEY (county_code, agreement_id),
    CHECK (signed_on <= from_date AND from_date <= until_date),
    CHECK ((ended_from IS NULL) = (end_reason = ''))
);
CREATE INDEX agreement_insurer ON agreement (county_code, programme_id, insurer_id);
CREATE TABLE line_division (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    division_id uuid NOT NULL,
    programme_id text NOT NULL,
    programme text NOT NULL,
    cover_id text NOT NULL,
    premium_fen bigint NOT NULL CHECK (premium_fen > 0),
    from_date date NOT NULL,
    until_date date NOT NULL,
    divided_by text NOT NULL,
    divided_person text NOT NULL,
    business_date date NOT NULL,
    PRIMARY KEY (county_code, division_id),
    CHECK (from_date <= until_date)
);
CREATE TABLE line_share (
    county_code text NOT NULL,
    division_id uuid NOT NULL,
    insurer_id text NOT NULL,
    volume_fen bigint NOT NULL CHECK (volume_fen >= 0),
    share_fen bigint NOT NULL CHECK (share_fen >= 0),
    PRIMARY KEY (county_code, division_id, insurer_id),
    FOREIGN KEY (county_code, division_id) REFERENCES line_division
);
"""

ONLY_ADDED = (
    "assignment_change",
    "policy_cover",
    "covered_loan",
    "endorsement",
    "premium_charge",
    "premium_payment",
    "line_division",
    "line_share",
)
KEPT = ("agreement", "difficulty")


def upgrade() -> None:
    """Make the tables; what was recorded, charged or endorsed is never changed."""
    for part in (POLICIES, ASSIGNMENTS, LISTS, PREMIUM, AGREEMENTS):
        tables_0001.run_script(part)
    for table in KEPT:
        tables_0001.run_script(f"GRANT SELECT, INSERT, UPDATE ON {table} TO claims_app")
    for table in ONLY_ADDED:
        tables_0001.run_script(f"GRANT SELECT, INSERT ON {table} TO claims_app")


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
