"""Claims: the life of a claim with its history, index covers, what lines came to."""

from services.kernel.migrations import tables_0001

revision = "claims_0003"
down_revision = "claims_0002"
branch_labels = None
depends_on = None

# The checks of a claim are made anew: a report that is refused is kept too, and claims have more
# states than before.
CLAIM = """
DO $$
DECLARE found record;
BEGIN
    FOR found IN SELECT conname FROM pg_constraint
                 WHERE conrelid = 'claim'::regclass AND contype = 'c' LOOP
        EXECUTE format('ALTER TABLE claim DROP CONSTRAINT %I', found.conname);
    END LOOP;
END $$;
ALTER TABLE claim
    DROP CONSTRAINT claim_once,
    ALTER COLUMN policy_id DROP NOT NULL,
    ALTER COLUMN insured_id DROP NOT NULL,
    ALTER COLUMN loan_id DROP NOT NULL,
    ADD COLUMN claimed_fen bigint NOT NULL DEFAULT 0,
    ADD COLUMN event_code text NOT NULL DEFAULT '',
    ADD COLUMN person_id uuid,
    ADD COLUMN reporter_kind text NOT NULL DEFAULT 'village',
    -- False for a report that was refused at once: it does not stand for its loss.
    ADD COLUMN taken_in boolean NOT NULL DEFAULT true,
    ADD COLUMN steps integer NOT NULL DEFAULT 1,
    ADD COLUMN accepted_on date,
    ADD COLUMN paused_from date,
    -- Begin and end of each pause that is over, in turn.
    ADD COLUMN pauses date[] NOT NULL DEFAULT '{}',
    ADD COLUMN supplement smallint NOT NULL DEFAULT 0,
    ADD COLUMN proposed_by text NOT NULL DEFAULT '',
    ADD COLUMN proposed_person text NOT NULL DEFAULT '',
    ADD COLUMN overdue_since date,
    ADD COLUMN reason_code text NOT NULL DEFAULT '',
    ADD COLUMN unit_id uuid;
UPDATE claim SET claimed_fen = assessed_fen, accepted_on = reported_on;
ALTER TABLE claim
    ADD CONSTRAINT claim_states CHECK (state IN (
        'reported', 'suspended', 'proposed', 'approved', 'refused', 'withdrawn')),
    ADD CONSTRAINT claim_kinds CHECK (reporter_kind IN ('household', 'village', 'insurer')),
    ADD CONSTRAINT claim_version CHECK (version > 0 AND steps > 0 AND supplement >= 0),
    ADD CONSTRAINT claim_amounts CHECK (
        claimed_fen >= 0 AND assessed_fen >= 0 AND payable_fen BETWEEN 0 AND assessed_fen),
    ADD CONSTRAINT claim_kept CHECK (taken_in OR state = 'refused'),
    ADD CONSTRAINT claim_covered CHECK (
        NOT taken_in OR (policy_id IS NOT NULL AND accepted_on IS NOT NULL
                         AND (insured_id IS NOT NULL OR unit_id IS NOT NULL))),
    ADD CONSTRAINT claim_documented CHECK (
        NOT taken_in OR unit_id IS NOT NULL OR cardinality(documents) > 0),
    ADD CONSTRAINT claim_paid_out CHECK ((state = 'approved') = (payout_id IS NOT NULL)),
    ADD CONSTRAINT claim_pays CHECK ((state IN ('approved', 'proposed')) = (payable_fen > 0)),
    ADD CONSTRAINT claim_proposed CHECK ((state = 'proposed') <= (proposed_by <> '')),
    ADD CONSTRAINT claim_suspended CHECK ((state = 'suspended') = (paused_from IS NOT NULL)),
    ADD CONSTRAINT claim_decided CHECK (
        (state IN ('approved', 'refused')) = (decided_on IS NOT NULL)),
    ADD CONSTRAINT claim_two_persons CHECK (
        NOT taken_in OR decided_by = ''
        OR ((reported_by, reported_person) <> (decided_by, decided_person)
            AND (proposed_by, proposed_person) <> (decided_by, decided_person)));
-- One loss, one claim, whatever the day or the disaster's name says which loss it is.
CREATE UNIQUE INDEX claim_once
    ON claim (county_code, household_id, cover_id, loss_date, person_id, supplement)
    NULLS NOT DISTINCT WHERE taken_in;
CREATE UNIQUE INDEX claim_once_an_event
    ON claim (county_code, household_id, cover_id, event_code, person_id, supplement)
    NULLS NOT DISTINCT WHERE taken_in AND event_code <> '';
CREATE INDEX claim_event ON claim (county_code, event_code, cover_id, claim_id)
    WHERE event_code <> '';
CREATE INDEX claim_due ON claim (county_code, due_on) WHERE due_on IS NOT NULL;
CREATE INDEX claim_late ON claim (county_code, claim_id) WHERE overdue_since IS NOT NULL;
"""

HISTORY = """
CREATE TABLE claim_step (
    county_code text NOT NULL,
    claim_id uuid NOT NULL,
    step integer NOT NULL CHECK (step > 0),
    kind text NOT NULL,
    state text NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    happened_on date NOT NULL,
    reason_code text NOT NULL,
    note text NOT NULL,
    claimed_fen bigint NOT NULL,
    assessed_fen bigint NOT NULL,
    payable_fen bigint NOT NULL,
    working text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, claim_id, step),
    FOREIGN KEY (county_code, claim_id) REFERENCES claim
);
CREATE TABLE claim_line (
    county_code text NOT NULL,
    claim_id uuid NOT NULL,
    step integer NOT NULL,
    line integer NOT NULL,
    item text NOT NULL,
    claimed_fen bigint NOT NULL CHECK (claimed_fen >= 0),
    assessed_fen bigint NOT NULL CHECK (assessed_fen >= 0),
    payable_fen bigint NOT NULL CHECK (payable_fen BETWEEN 0 AND assessed_fen),
    reason_code text NOT NULL,
    PRIMARY KEY (county_code, claim_id, step, line),
    FOREIGN KEY (county_code, claim_id, step) REFERENCES claim_step
);
CREATE TABLE claim_document (
    county_code text NOT NULL,
    claim_id uuid NOT NULL,
    step integer NOT NULL,
    place integer NOT NULL,
    document_type text NOT NULL,
    reference text NOT NULL,
    hash text NOT NULL CHECK (hash <> ''),
    PRIMARY KEY (county_code, claim_id, step, place),
    FOREIGN KEY (county_code, claim_id, step) REFERENCES claim_step
);
CREATE TABLE claim_dispute (
    county_code text NOT NULL,
    dispute_id uuid NOT NULL,
    claim_id uuid NOT NULL,
    said text NOT NULL CHECK (said <> ''),
    opened_by text NOT NULL,
    opened_person text NOT NULL,
    opened_on date NOT NULL,
    due_on date NOT NULL,
    answer text NOT NULL DEFAULT '',
    upheld boolean NOT NULL DEFAULT false,
    answered_by text NOT NULL DEFAULT '',
    answered_person text NOT NULL DEFAULT '',
    answered_on date,
    supplement_claim_id uuid,
    PRIMARY KEY (county_code, dispute_id),
    FOREIGN KEY (county_code, claim_id) REFERENCES claim,
    CHECK ((answered_on IS NULL) = (answer = ''))
);
CREATE UNIQUE INDEX claim_dispute_open ON claim_dispute (county_code, claim_id)
    WHERE answered_on IS NULL;
"""

INDICES = """
CREATE TABLE index_unit (
    county_code text NOT NULL,
    unit_id uuid NOT NULL,
    policy_id uuid NOT NULL,
    household_id uuid NOT NULL,
    area_code text NOT NULL,
    insured_id uuid,
    quantity_centi_jin bigint NOT NULL CHECK (quantity_centi_jin > 0),
    sum_insured_fen bigint NOT NULL CHECK (sum_insured_fen >= 0),
    set_by text NOT NULL,
    set_person text NOT NULL,
    set_on date NOT NULL,
    PRIMARY KEY (county_code, unit_id),
    CONSTRAINT index_unit_once UNIQUE (county_code, policy_id, household_id),
    FOREIGN KEY (county_code, policy_id) REFERENCES master_policy
);
CREATE TABLE index_value (
    county_code text NOT NULL,
    value_id uuid NOT NULL,
    programme_id text NOT NULL,
    cover_id text NOT NULL,
    source_id text NOT NULL,
    person_id text NOT NULL,
    priced_on date NOT NULL,
    price_fen_per_jin bigint NOT NULL CHECK (price_fen_per_jin > 0),
    evidence text NOT NULL,
    reason_code text NOT NULL,
    recorded_on date NOT NULL,
    PRIMARY KEY (county_code, value_id)
);
CREATE UNIQUE INDEX index_value_once
    ON index_value (county_code, programme_id, cover_id, source_id, priced_on)
    WHERE reason_code = '';
CREATE TABLE index_period (
    county_code text NOT NULL,
    policy_id uuid NOT NULL,
    from_date date NOT NULL,
    until_date date NOT NULL,
    cover_id text NOT NULL,
    prices_fen bigint[] NOT NULL CHECK (cardinality(prices_fen) > 0),
    reporter_id text NOT NULL,
    reporter_person text NOT NULL,
    gap_fen_per_jin bigint NOT NULL CHECK (gap_fen_per_jin >= 0),
    triggered boolean NOT NULL,
    working text NOT NULL,
    settled_on date NOT NULL,
    done boolean NOT NULL,
    claims_count integer NOT NULL DEFAULT 0,
    payable_fen bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (county_code, policy_id, from_date),
    FOREIGN KEY (county_code, policy_id) REFERENCES master_policy,
    CHECK (from_date <= until_date)
);
CREATE TABLE line_result (
    county_code text NOT NULL,
    line_id uuid NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    insurer_id text NOT NULL,
    programme_id text NOT NULL,
    programme text NOT NULL,
    cover_id text NOT NULL,
    area_code text NOT NULL,
    from_date date NOT NULL,
    until_date date NOT NULL,
    premium_fen bigint NOT NULL,
    payouts_fen bigint NOT NULL,
    payouts_count integer NOT NULL,
    stated_by text NOT NULL,
    stated_person text NOT NULL,
    stated_on date NOT NULL,
    PRIMARY KEY (county_code, line_id),
    UNIQUE (county_code, insurer_id, programme_id, cover_id, number),
    CHECK (from_date <= until_date)
);
"""

ONLY_ADDED = ("claim_step", "claim_line", "claim_document", "index_unit", "index_value")
"""And what lines came to, which is said once."""
CHANGED = ("claim_dispute", "index_period")


def upgrade() -> None:
    """Make the tables; histories are only added to."""
    for part in (CLAIM, HISTORY, INDICES):
        tables_0001.run_script(part)
    for table in (*ONLY_ADDED, "line_result"):
        tables_0001.run_script(f"GRANT SELECT, INSERT ON {table} TO claims_app")
    for table in CHANGED:
        tables_0001.run_script(f"GRANT SELECT, INSERT, UPDATE ON {table} TO claims_app")


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
