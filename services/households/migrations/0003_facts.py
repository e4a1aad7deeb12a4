"""Facts, disputes, consents and payee accounts: insert-only, so that any day can be read again."""

from services.kernel.migrations.tables_0001 import run_script

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

PROVENANCE = """
    source_id text NOT NULL,
    acted_by text NOT NULL,
    evidence jsonb NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
"""
FACT = f"""
CREATE TABLE fact (
    county_code text NOT NULL,
    fact_id uuid NOT NULL,
    household_id uuid NOT NULL,
    person_id uuid,
    kind text NOT NULL,
    sealed bytea NOT NULL,
    valid_from date NOT NULL,
    valid_to date CHECK (valid_to >= valid_from),
    source_role text NOT NULL,
    replaces_id uuid,
    {PROVENANCE}
    PRIMARY KEY (county_code, fact_id),
    UNIQUE (county_code, replaces_id)
);
CREATE INDEX fact_household ON fact (county_code, household_id, fact_id);
CREATE TABLE dispute (
    county_code text NOT NULL,
    dispute_id uuid NOT NULL,
    household_id uuid NOT NULL,
    area_code text COLLATE "C" NOT NULL,
    subject text NOT NULL CHECK (subject IN ('fact', 'status', 'membership', 'payee_account')),
    subject_id uuid NOT NULL,
    side text NOT NULL CHECK (side IN ('household', 'institution')),
    subject_source_id text NOT NULL,
    sealed bytea NOT NULL,
    due_on date NOT NULL,
    {PROVENANCE}
    PRIMARY KEY (county_code, dispute_id)
);
CREATE INDEX dispute_household ON dispute (county_code, household_id);
CREATE TABLE dispute_answer (
    county_code text NOT NULL,
    dispute_id uuid NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('upheld', 'rejected')),
    sealed bytea NOT NULL,
    {PROVENANCE}
    PRIMARY KEY (county_code, dispute_id)
);
"""
CONSENT = f"""
CREATE TABLE consent (
    county_code text NOT NULL,
    consent_id uuid NOT NULL,
    household_id uuid NOT NULL,
    person_id uuid NOT NULL,
    receiver_id text NOT NULL,
    purpose text NOT NULL,
    categories jsonb NOT NULL,
    valid_from date NOT NULL,
    valid_to date NOT NULL CHECK (valid_to >= valid_from),
    wording_version text NOT NULL,
    medium text NOT NULL,
    {PROVENANCE}
    PRIMARY KEY (county_code, consent_id)
);
CREATE INDEX consent_household ON consent (county_code, household_id);
CREATE TABLE consent_withdrawal (
    county_code text NOT NULL,
    consent_id uuid NOT NULL,
    medium text NOT NULL,
    {PROVENANCE}
    PRIMARY KEY (county_code, consent_id)
);
"""
ACCOUNT = f"""
CREATE TABLE payee_account (
    county_code text NOT NULL,
    account_id uuid NOT NULL,
    household_id uuid NOT NULL,
    holder_id uuid NOT NULL,
    bank_id text NOT NULL,
    sealed bytea NOT NULL,
    earliest_on date,
    {PROVENANCE}
    PRIMARY KEY (county_code, account_id)
);
CREATE INDEX payee_account_household ON payee_account (county_code, household_id);
COMMENT ON COLUMN payee_account.earliest_on IS
    'First day on which a second person may confirm it; null for an account in force at once';
CREATE TABLE payee_decision (
    county_code text NOT NULL,
    account_id uuid NOT NULL,
    confirmed boolean NOT NULL,
    {PROVENANCE}
    PRIMARY KEY (county_code, account_id)
);
CREATE TABLE payee_in_force (
    county_code text NOT NULL,
    household_id uuid NOT NULL,
    account_id uuid NOT NULL,
    version bigint NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, household_id, version)
);
"""
GRANTS = """
GRANT SELECT, INSERT ON fact, dispute, dispute_answer, consent, consent_withdrawal, payee_account,
    payee_decision, payee_in_force TO households_app;
"""


def upgrade() -> None:
    """Make the tables; the app adds to them and changes nothing."""
    for script in (FACT, CONSENT, ACCOUNT, GRANTS):
        run_script(script)
