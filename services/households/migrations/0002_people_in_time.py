"""Households in time: past versions, memberships, status, merges, duplicates, reconciliations."""

from services.kernel.migrations.tables_0001 import run_script

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A row says what holds now and since which business day it is known. What it said before stands
# in an insert-only table: "what did we know on that day" reads both.
HOUSEHOLD = """
ALTER TABLE household
    DROP CONSTRAINT household_status_check,
    ADD CONSTRAINT household_status_check CHECK (status IN ('registered_poor', 'near_poor',
        'non_poor', 'five_guarantee', 'delisted', 'flagged', 'deceased', 'exited')),
    DROP CONSTRAINT household_member_count_check,
    ADD CONSTRAINT household_member_count_check CHECK (member_count >= 0),
    ADD COLUMN survivor_id uuid,
    ADD COLUMN changed_by text NOT NULL DEFAULT '',
    ADD COLUMN acted_by text NOT NULL DEFAULT '',
    ADD COLUMN evidence jsonb,
    ADD CHECK (survivor_id <> household_id);
CREATE INDEX household_alias ON household (county_code, survivor_id) WHERE survivor_id IS NOT NULL;
CREATE TABLE household_past (
    LIKE household INCLUDING DEFAULTS,
    PRIMARY KEY (county_code, household_id, version)
);
CREATE TABLE status_change (
    county_code text NOT NULL,
    change_id uuid NOT NULL,
    household_id uuid NOT NULL,
    version bigint NOT NULL,
    status_before text NOT NULL,
    status text NOT NULL,
    effective_on date NOT NULL,
    reason text NOT NULL,
    source_id text NOT NULL,
    acted_by text NOT NULL,
    evidence jsonb NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, change_id),
    UNIQUE (county_code, household_id, version)
);
"""
MEMBER = """
ALTER TABLE member
    ADD COLUMN source_id text NOT NULL DEFAULT '',
    ADD COLUMN evidence jsonb,
    ADD COLUMN business_date date,
    ADD COLUMN recorded_at timestamptz NOT NULL DEFAULT now();
UPDATE member SET source_id = h.source_id, business_date = h.business_date,
                  recorded_at = h.recorded_at
FROM household AS h
WHERE h.county_code = member.county_code AND h.household_id = member.household_id;
ALTER TABLE member ALTER COLUMN business_date SET NOT NULL;
CREATE TABLE member_past (
    LIKE member INCLUDING DEFAULTS,
    past_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ended_on date NOT NULL,
    end_reason text NOT NULL,
    ended_source_id text NOT NULL,
    ended_acted_by text NOT NULL,
    ended_evidence jsonb NOT NULL,
    ended_business_date date NOT NULL,
    ended_recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX member_past_household ON member_past (county_code, household_id);
"""
# The likeness (keyed hash of name and birth date) finds who may be one person; it decides nothing.
PERSON = """
ALTER TABLE person
    ADD COLUMN likeness_key bytea,
    ADD COLUMN survivor_id uuid,
    ADD COLUMN died_on date,
    ADD CHECK (survivor_id <> person_id);
CREATE INDEX person_likeness ON person (county_code, likeness_key, person_id);
CREATE INDEX person_alias ON person (county_code, survivor_id) WHERE survivor_id IS NOT NULL;
CREATE TABLE person_past (
    county_code text NOT NULL,
    past_id uuid NOT NULL,
    person_id uuid NOT NULL,
    identity_key bytea NOT NULL,
    sealed bytea NOT NULL,
    source_id text NOT NULL,
    acted_by text NOT NULL,
    evidence jsonb NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, past_id)
);
CREATE INDEX person_past_number ON person_past (county_code, identity_key);
CREATE TABLE duplicate (
    county_code text NOT NULL,
    duplicate_id uuid NOT NULL,
    person_id uuid NOT NULL,
    other_id uuid NOT NULL,
    ground text NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'merged', 'dismissed')),
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    decided_source_id text,
    decided_by text,
    decided_evidence jsonb,
    decided_at timestamptz,
    PRIMARY KEY (county_code, duplicate_id),
    UNIQUE (county_code, person_id, other_id)
);
CREATE TABLE merge (
    county_code text NOT NULL,
    merge_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('household', 'person')),
    alias_id uuid NOT NULL,
    survivor_id uuid NOT NULL CHECK (survivor_id <> alias_id),
    reason text NOT NULL,
    source_id text NOT NULL,
    acted_by text NOT NULL CHECK (acted_by <> ''),
    evidence jsonb NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, merge_id)
);
CREATE INDEX merge_alias ON merge (county_code, alias_id);
CREATE INDEX merge_survivor ON merge (county_code, survivor_id);
CREATE TABLE merge_undone (
    county_code text NOT NULL,
    merge_id uuid NOT NULL,
    reason text NOT NULL,
    source_id text NOT NULL,
    acted_by text NOT NULL CHECK (acted_by <> ''),
    evidence jsonb NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, merge_id)
);
"""
RECONCILIATION = """
CREATE TABLE reconciliation (
    county_code text NOT NULL,
    reconciliation_id uuid NOT NULL,
    household_id uuid NOT NULL,
    lender_id text NOT NULL,
    loans jsonb NOT NULL,
    statement_hash bytea NOT NULL CHECK (length(statement_hash) = 32),
    archive_holders jsonb NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, reconciliation_id)
);
CREATE INDEX reconciliation_household ON reconciliation (county_code, household_id);
CREATE TABLE reconciliation_signature (
    county_code text NOT NULL,
    reconciliation_id uuid NOT NULL,
    side text NOT NULL CHECK (side IN ('lender', 'poverty_office')),
    source_id text NOT NULL,
    acted_by text NOT NULL CHECK (acted_by <> ''),
    evidence jsonb NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, reconciliation_id, side)
);
"""
GRANTS = """
GRANT SELECT, INSERT ON household_past, status_change, member_past, person_past, duplicate, merge,
    merge_undone, reconciliation, reconciliation_signature TO households_app;
GRANT UPDATE (state, decided_source_id, decided_by, decided_evidence, decided_at)
    ON duplicate TO households_app;
"""


def upgrade() -> None:
    """Keep what was known before, and let the app add to it but not change it."""
    for script in (HOUSEHOLD, MEMBER, PERSON, RECONCILIATION, GRANTS):
        run_script(script)
