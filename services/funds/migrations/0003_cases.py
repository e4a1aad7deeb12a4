"""Cover and its terms, compensation step by step, movements of shares, recoveries, write-offs."""

from services.kernel.migrations import tables_0001

revision = "funds_0003"
down_revision = "funds_0002"
branch_labels = None
depends_on = None

COVER = """
ALTER TABLE cover
    ADD COLUMN borrower_id uuid,
    ADD COLUMN product_id text NOT NULL DEFAULT '',
    ADD COLUMN renews_loan_id uuid,
    ADD COLUMN until_on date,
    ADD COLUMN reserved_on date,
    ADD COLUMN opening boolean NOT NULL DEFAULT false,
    ADD COLUMN non_performing boolean NOT NULL DEFAULT false,
    ADD COLUMN five_tier_class text NOT NULL DEFAULT '',
    ADD COLUMN written_off_on date,
    DROP CONSTRAINT cover_state_check,
    ADD CONSTRAINT cover_state_check CHECK (state IN
        ('asked', 'refused', 'reserved', 'released', 'voided', 'expired', 'compensated'));
CREATE INDEX cover_reserved ON cover (county_code, loan_id) WHERE state = 'reserved';
CREATE INDEX cover_opening ON cover (county_code, loan_id) WHERE opening AND state = 'refused';
-- What an insurer of the loan itself bears: the pot that comes before all others (S23, S25).
CREATE TABLE loan_insurance (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    cover_id text NOT NULL,
    insurer_id text NOT NULL,
    sum_insured_fen bigint NOT NULL CHECK (sum_insured_fen >= 0),
    from_on date,
    until_on date,
    PRIMARY KEY (county_code, loan_id, cover_id)
);
CREATE TABLE sharing_choice (
    county_code text NOT NULL,
    choice_id uuid NOT NULL,
    programme_id text NOT NULL,
    product_id text NOT NULL,
    model_id text NOT NULL,
    reason text NOT NULL,
    chosen_by text NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, choice_id)
);
"""

CASE = """
ALTER TABLE compensation_case
    ADD COLUMN collection_steps text NOT NULL DEFAULT '[]',
    ADD COLUMN shows text NOT NULL DEFAULT '[]',
    ADD COLUMN code text NOT NULL DEFAULT '',
    ADD COLUMN due_on date,
    ADD COLUMN notice_until date,
    ADD COLUMN notice_levels text NOT NULL DEFAULT '[]',
    ADD COLUMN reviewed_by text NOT NULL DEFAULT '',
    ADD COLUMN approvals text NOT NULL DEFAULT '[]',
    ADD COLUMN paid_by text NOT NULL DEFAULT '',
    ADD COLUMN denied_by_role text NOT NULL DEFAULT '',
    ADD COLUMN appeal text NOT NULL DEFAULT ''
        CHECK (appeal IN ('', 'waiting', 'granted', 'rejected')),
    ADD COLUMN appealed_by text NOT NULL DEFAULT '',
    ADD COLUMN written_off_fen bigint NOT NULL DEFAULT 0 CHECK (written_off_fen >= 0),
    ADD COLUMN otherwise_borne_by text NOT NULL DEFAULT '',
    DROP CONSTRAINT compensation_case_state_check,
    ADD CONSTRAINT compensation_case_state_check CHECK (state IN
        ('filed', 'returned', 'verified', 'published', 'approved', 'paid', 'denied', 'closed'));
DROP INDEX compensation_case_once;
CREATE UNIQUE INDEX compensation_case_once ON compensation_case (county_code, loan_id)
    WHERE state <> 'denied';
ALTER TABLE case_part ADD COLUMN version bigint NOT NULL DEFAULT 0 CHECK (version >= 0);
CREATE INDEX case_part_owed ON case_part (county_code, case_id, position)
    WHERE NOT own_loss AND paid_fen < amount_fen;
CREATE TABLE case_step (
    county_code text NOT NULL,
    case_id uuid NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    step text NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    code text NOT NULL,
    reason text NOT NULL,
    evidence text NOT NULL,
    late boolean NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, case_id, number),
    FOREIGN KEY (county_code, case_id) REFERENCES compensation_case
);
-- Every change of a share, so that a position can be told for any day.
CREATE TABLE share_movement (
    county_code text NOT NULL,
    movement_id uuid NOT NULL,
    case_id uuid NOT NULL,
    position integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('borne', 'paid', 'recovered', 'written_off')),
    amount_fen bigint NOT NULL CHECK (amount_fen <> 0),
    reference text NOT NULL,
    person_id text NOT NULL,
    value_date date NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, movement_id),
    FOREIGN KEY (county_code, case_id, position) REFERENCES case_part
);
CREATE INDEX share_movement_part ON share_movement (county_code, case_id, position);
INSERT INTO share_movement (county_code, movement_id, case_id, position, kind, amount_fen,
                            reference, person_id, value_date, business_date)
SELECT p.county_code, gen_random_uuid(), p.case_id, p.position, m.kind, m.amount_fen, '', '',
       coalesce(c.decided_on, c.filed_on), coalesce(c.decided_on, c.filed_on)
FROM case_part AS p JOIN compensation_case AS c USING (county_code, case_id)
CROSS JOIN LATERAL (VALUES ('borne', p.amount_fen), ('paid', p.paid_fen),
                           ('recovered', p.recovered_fen)) AS m (kind, amount_fen)
WHERE m.amount_fen <> 0;
"""

RECOVERY = """
ALTER TABLE recovery
    ADD COLUMN source text NOT NULL DEFAULT 'payout'
        CHECK (source IN ('payout', 'repayment', 'collected')),
    ADD COLUMN costs_fen bigint NOT NULL DEFAULT 0 CHECK (costs_fen >= 0),
    ADD COLUMN collected_by text NOT NULL DEFAULT '',
    ADD COLUMN evidence text NOT NULL DEFAULT '[]',
    ADD COLUMN value_date date,
    ADD CONSTRAINT recovery_parts CHECK (costs_fen + household_fen <= amount_fen),
    DROP CONSTRAINT recovery_county_code_case_id_payout_id_key;
ALTER TABLE recovery RENAME COLUMN payout_id TO reference;
UPDATE recovery SET value_date = business_date;
ALTER TABLE recovery ALTER COLUMN value_date SET NOT NULL;
CREATE INDEX recovery_reference ON recovery (county_code, reference);
CREATE UNIQUE INDEX recovery_once ON recovery (county_code, case_id, source, reference)
    WHERE source <> 'collected';
CREATE TABLE recovery_reversal (
    county_code text NOT NULL,
    recovery_id uuid NOT NULL,
    reason text NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, recovery_id),
    FOREIGN KEY (county_code, recovery_id) REFERENCES recovery
);
CREATE TABLE case_write_off (
    county_code text NOT NULL,
    write_off_id uuid NOT NULL,
    case_id uuid NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    reason text NOT NULL,
    evidence text NOT NULL,
    proposed_by text NOT NULL,
    proposed_on date NOT NULL,
    decided_by text NOT NULL DEFAULT '',
    decided_on date,
    approved boolean,
    PRIMARY KEY (county_code, write_off_id),
    FOREIGN KEY (county_code, case_id) REFERENCES compensation_case,
    CHECK (decided_by = '' OR decided_by <> proposed_by)
);
CREATE UNIQUE INDEX case_write_off_open ON case_write_off (county_code, case_id)
    WHERE approved IS NULL;
"""

# Named one by one: a grant on the whole schema would give back what the first step took away.
GRANTS = """
GRANT SELECT, INSERT ON case_step, share_movement, recovery_reversal, sharing_choice TO funds_app;
GRANT SELECT, INSERT, UPDATE ON loan_insurance, case_write_off TO funds_app;
"""


def upgrade() -> None:
    """Widen cover and cases, keep what happens to them."""
    for part in (COVER, CASE, RECOVERY, GRANTS):
        tables_0001.run_script(part)


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
