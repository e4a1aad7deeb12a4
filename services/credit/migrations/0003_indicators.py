"""Credit: declared indicators, evidence and expiry of observations, re-scores, late loans."""

from services.kernel.migrations import tables_0001

revision = "credit_0003"
down_revision = "credit_0002"
branch_labels = None
depends_on = None

INDICATORS = """
ALTER TABLE indicator ADD COLUMN expires_on date;
ALTER TABLE indicator ADD COLUMN evidence_sha256 text NOT NULL DEFAULT '';
CREATE TABLE indicator_rule (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    programme_id text NOT NULL,
    code text NOT NULL,
    entry bigint GENERATED ALWAYS AS IDENTITY,
    name_zh text NOT NULL,
    min bigint NOT NULL,
    max bigint CHECK (max >= min),
    unit text NOT NULL,
    refresh text NOT NULL CHECK (refresh IN ('', 'real_time', 'quarterly', 'yearly')),
    suppliers text[] NOT NULL,
    declared_by text NOT NULL,
    person_id text NOT NULL,
    declared_on date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, programme_id, code, entry)
);
ALTER TABLE rating DROP CONSTRAINT rating_cause_check;
ALTER TABLE rating ADD CONSTRAINT rating_cause_check
    CHECK (cause IN ('rated', 'rescored', 'honour_changed', 'standing_changed', 'reviewed'));
ALTER TABLE exposure ADD COLUMN was_overdue boolean NOT NULL DEFAULT false;
"""

RESCORES = """
CREATE TABLE rescore (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    rescore_id uuid NOT NULL,
    programme_id text NOT NULL,
    programme text NOT NULL CHECK (programme <> ''),
    dry_run boolean NOT NULL,
    reason text NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'done', 'failed')),
    started_on date NOT NULL,
    started_by text NOT NULL,
    person_id text NOT NULL,
    after_household_id uuid NOT NULL,
    households bigint NOT NULL,
    done bigint NOT NULL DEFAULT 0,
    changed bigint NOT NULL DEFAULT 0,
    incomplete bigint NOT NULL DEFAULT 0,
    moves jsonb NOT NULL DEFAULT '[]',
    failure text NOT NULL DEFAULT '',
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, rescore_id)
) WITH (fillfactor = 50);
CREATE INDEX rescore_running ON rescore (rescore_id, county_code) WHERE state = 'running';
CREATE UNIQUE INDEX rescore_alone ON rescore (county_code, programme_id)
    WHERE state = 'running' AND NOT dry_run;
"""

GRANTS = "GRANT SELECT, INSERT, UPDATE ON indicator_rule, rescore TO credit_app"

# What was declared is a record: another declaration is a new row.
APPEND_ONLY = "REVOKE UPDATE ON indicator_rule FROM credit_app"


def upgrade() -> None:
    """Add the tables and columns."""
    for part in (INDICATORS, RESCORES, GRANTS, APPEND_ONLY):
        tables_0001.run_script(part)


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
