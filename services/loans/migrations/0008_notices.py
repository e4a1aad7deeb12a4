"""Loans: notices, department warnings, publications, entitlements, the relending ledger."""

from services.kernel.migrations import tables_0001

revision = "loans_0008"
down_revision = "loans_0007"
branch_labels = None
depends_on = None

NOTICES = """
CREATE TABLE notice (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    notice_id uuid NOT NULL,
    kind text NOT NULL,
    channel text NOT NULL CHECK (channel IN ('sms', 'phone', 'letter', 'platform')),
    state text NOT NULL CHECK (state IN
        ('queued', 'taken', 'delivered', 'failed', 'withdrawn')),
    subject_id uuid NOT NULL,
    cause_id text NOT NULL,
    loan_id uuid,
    household_id uuid,
    lender_id text NOT NULL,
    sender_id text NOT NULL,
    organ text NOT NULL,
    area_code text NOT NULL,
    text text NOT NULL CHECK (text <> ''),
    programme text NOT NULL,
    queued_on date NOT NULL,
    queued_by text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    attempts_max integer NOT NULL CHECK (attempts_max > 0),
    taken_by text NOT NULL DEFAULT '',
    leased_until timestamptz,
    reason text NOT NULL DEFAULT '',
    sent_on date,
    PRIMARY KEY (county_code, notice_id),
    CHECK ((sender_id = '') <> (organ = '')),
    CHECK (attempts BETWEEN 0 AND attempts_max),
    CHECK ((state = 'taken') = (leased_until IS NOT NULL)),
    CHECK ((state = 'delivered') = (sent_on IS NOT NULL))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX notice_once
    ON notice (county_code, subject_id, kind, channel, sender_id, organ, cause_id);
CREATE INDEX notice_waiting ON notice (county_code, sender_id, notice_id)
    WHERE state IN ('queued', 'taken');
CREATE INDEX notice_of_organ ON notice (county_code, organ, notice_id)
    WHERE state IN ('queued', 'taken') AND organ <> '';
CREATE INDEX notice_loan ON notice (county_code, loan_id);
CREATE TABLE notice_attempt (
    county_code text NOT NULL,
    notice_id uuid NOT NULL,
    attempt integer NOT NULL CHECK (attempt > 0),
    institution_id text NOT NULL,
    person_id text NOT NULL,
    result text NOT NULL CHECK (result IN
        ('delivered', 'failed', 'unreachable', 'lease_expired')),
    reason text NOT NULL,
    reference text NOT NULL,
    reported_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, notice_id, attempt),
    FOREIGN KEY (county_code, notice_id) REFERENCES notice
);
CREATE INDEX early_warning_raised ON early_warning (county_code, raised_on);
"""

WARNINGS = """
CREATE TABLE department_warning (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    warning_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('industry_risk', 'disaster')),
    risk text NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    department text NOT NULL,
    area_codes text NOT NULL,
    industries text NOT NULL,
    project_ids text NOT NULL,
    advice text NOT NULL,
    channels text NOT NULL,
    starts_on date NOT NULL,
    ends_on date NOT NULL,
    received_on date NOT NULL,
    after_loan_id uuid,
    loans integer NOT NULL DEFAULT 0,
    households integer NOT NULL DEFAULT 0,
    spread boolean NOT NULL DEFAULT false,
    withdrawn_on date,
    reason text NOT NULL DEFAULT '',
    version bigint NOT NULL,
    PRIMARY KEY (county_code, warning_id),
    CHECK (ends_on >= starts_on)
);
CREATE INDEX department_warning_spreading ON department_warning (county_code)
    WHERE NOT spread AND withdrawn_on IS NULL;
CREATE TABLE warning_loan (
    county_code text NOT NULL,
    warning_id uuid NOT NULL,
    loan_id uuid NOT NULL,
    household_id uuid NOT NULL,
    lender_id text NOT NULL,
    PRIMARY KEY (county_code, warning_id, loan_id),
    FOREIGN KEY (county_code, warning_id) REFERENCES department_warning
);
CREATE INDEX warning_lender ON warning_loan (county_code, lender_id, warning_id);
"""

PUBLICATIONS = """
CREATE TABLE publication (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    publication_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('loans', 'subsidy', 'compensations', 'totals')),
    programme_id text NOT NULL,
    rule_version text NOT NULL,
    area_code text NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL,
    days integer NOT NULL CHECK (days > 0),
    places text NOT NULL,
    state text NOT NULL CHECK (state IN ('made', 'published', 'withdrawn')),
    made_on date NOT NULL,
    made_by text NOT NULL,
    published_on date,
    ends_on date,
    published_by text NOT NULL DEFAULT '',
    withdrawn_on date,
    withdrawn_by text NOT NULL DEFAULT '',
    reason text NOT NULL DEFAULT '',
    lines integer NOT NULL,
    amount_fen bigint NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (county_code, publication_id),
    CHECK (last_day >= first_day),
    CHECK (published_by <> made_by)
);
CREATE TABLE publication_line (
    county_code text NOT NULL,
    publication_id uuid NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    area_code text NOT NULL,
    lender_id text NOT NULL,
    product_id text NOT NULL,
    purpose text NOT NULL,
    line_on date,
    loans integer NOT NULL,
    amount_fen bigint NOT NULL,
    other_fen bigint NOT NULL,
    PRIMARY KEY (county_code, publication_id, number),
    FOREIGN KEY (county_code, publication_id) REFERENCES publication
);
"""

ENTITLEMENTS = """
CREATE TABLE entitlement (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    entitlement_id uuid NOT NULL,
    household_id uuid NOT NULL,
    loan_id uuid,
    area_code text NOT NULL,
    lender_id text NOT NULL,
    rule_version text NOT NULL,
    programme_id text NOT NULL,
    rule_id text NOT NULL,
    kind text NOT NULL,
    payer text NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen >= 0),
    effects text NOT NULL,
    once boolean NOT NULL,
    working text NOT NULL,
    state text NOT NULL CHECK (state IN ('due', 'approved', 'paid', 'withdrawn')),
    due_on date NOT NULL,
    recorded_by text NOT NULL,
    approved_on date,
    approved_by text NOT NULL DEFAULT '',
    paid_on date,
    paid_by text NOT NULL DEFAULT '',
    reference text NOT NULL DEFAULT '',
    reason text NOT NULL DEFAULT '',
    version bigint NOT NULL,
    PRIMARY KEY (county_code, entitlement_id),
    CHECK (approved_by <> recorded_by),
    CHECK (paid_by = '' OR paid_by <> approved_by)
);
CREATE UNIQUE INDEX entitlement_once
    ON entitlement (county_code, household_id, programme_id, rule_id)
    WHERE once AND state <> 'withdrawn';
CREATE INDEX entitlement_household ON entitlement (county_code, household_id);
CREATE TABLE entitlement_step (
    county_code text NOT NULL,
    entitlement_id uuid NOT NULL,
    number bigint NOT NULL CHECK (number > 0),
    what text NOT NULL CHECK (what IN ('recorded', 'approved', 'paid', 'withdrawn')),
    taken_on date NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    note text NOT NULL,
    PRIMARY KEY (county_code, entitlement_id, number),
    FOREIGN KEY (county_code, entitlement_id) REFERENCES entitlement
);
"""

RELENDING = """
CREATE TABLE relending_facility (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    facility_id uuid NOT NULL,
    lender_id text NOT NULL,
    programme_id text NOT NULL,
    rule_version text NOT NULL,
    source text NOT NULL,
    limit_fen bigint NOT NULL CHECK (limit_fen > 0),
    rate_ppm bigint NOT NULL CHECK (rate_ppm >= 0),
    rate_cap_ppm bigint NOT NULL CHECK (rate_cap_ppm >= 0),
    revolving boolean NOT NULL,
    granted_on date NOT NULL,
    validity_months integer NOT NULL CHECK (validity_months > 0),
    valid_until date NOT NULL,
    reference text NOT NULL,
    opened_by text NOT NULL,
    drawn_fen bigint NOT NULL DEFAULT 0 CHECK (drawn_fen >= 0),
    repaid_fen bigint NOT NULL DEFAULT 0 CHECK (repaid_fen BETWEEN 0 AND drawn_fen),
    closed_on date,
    version bigint NOT NULL,
    PRIMARY KEY (county_code, facility_id),
    CHECK (drawn_fen - repaid_fen <= limit_fen)
);
CREATE UNIQUE INDEX relending_open ON relending_facility
    (county_code, lender_id, programme_id, source) WHERE closed_on IS NULL;
CREATE TABLE relending_movement (
    county_code text NOT NULL,
    facility_id uuid NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    draw boolean NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    value_date date NOT NULL,
    booked_on date NOT NULL,
    reference text NOT NULL,
    owed_fen bigint NOT NULL CHECK (owed_fen >= 0),
    free_fen bigint NOT NULL CHECK (free_fen >= 0),
    person_id text NOT NULL,
    PRIMARY KEY (county_code, facility_id, number),
    FOREIGN KEY (county_code, facility_id) REFERENCES relending_facility
);
CREATE UNIQUE INDEX relending_reference
    ON relending_movement (county_code, facility_id, reference);
CREATE TABLE relending_visit (
    county_code text NOT NULL,
    visit_id uuid NOT NULL,
    loan_id uuid NOT NULL,
    lender_id text NOT NULL,
    visited_on date NOT NULL,
    finding text NOT NULL,
    evidence text NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    PRIMARY KEY (county_code, visit_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
CREATE INDEX relending_visit_loan ON relending_visit (county_code, loan_id);
CREATE TABLE funding_cost (
    county_code text NOT NULL,
    lender_id text NOT NULL,
    valid_from date NOT NULL,
    own_funds_ppm bigint NOT NULL CHECK (own_funds_ppm >= 0),
    operating_ppm bigint NOT NULL CHECK (operating_ppm >= 0),
    person_id text NOT NULL,
    PRIMARY KEY (county_code, lender_id, valid_from)
);
"""

CHANGED = (
    "notice",
    "department_warning",
    "publication",
    "entitlement",
    "relending_facility",
)
ONLY_ADDED = (
    "notice_attempt",
    "warning_loan",
    "publication_line",
    "entitlement_step",
    "relending_movement",
    "relending_visit",
    "funding_cost",
)


def upgrade() -> None:
    """Make the tables; histories are only added to."""
    for part in (NOTICES, WARNINGS, PUBLICATIONS, ENTITLEMENTS, RELENDING):
        tables_0001.run_script(part)
    # Not the grant on all tables: it would give back what was taken from histories before.
    for table in CHANGED:
        tables_0001.run_script(f"GRANT SELECT, INSERT, UPDATE ON {table} TO loans_app")
        tables_0001.run_script(f"REVOKE DELETE, TRUNCATE ON {table} FROM loans_app")
    for table in ONLY_ADDED:
        tables_0001.run_script(f"GRANT SELECT, INSERT ON {table} TO loans_app")
        tables_0001.run_script(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM loans_app")


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
