"""Claims: statements of institutions and where they differ from ours; what was taken over."""

from services.kernel.migrations import tables_0001

revision = "claims_0005"
down_revision = "claims_0004"
branch_labels = None
depends_on = None

STATEMENT = """
CREATE TABLE reconciliation (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    reconciliation_id uuid NOT NULL,
    institution_id text NOT NULL,
    kind text NOT NULL
        CHECK (kind IN ('policies', 'insured', 'claims', 'payouts', 'payments')),
    reference text NOT NULL CHECK (reference <> ''),
    from_date date NOT NULL,
    until_date date NOT NULL,
    stated_lines bigint NOT NULL CHECK (stated_lines >= 0),
    stated_fen bigint NOT NULL CHECK (stated_fen >= 0),
    started_by text NOT NULL,
    started_person text NOT NULL,
    started_on date NOT NULL,
    PRIMARY KEY (county_code, reconciliation_id),
    CONSTRAINT reconciliation_once UNIQUE (county_code, institution_id, reference),
    CHECK (from_date <= until_date)
);
CREATE TABLE statement_line (
    county_code text NOT NULL,
    reconciliation_id uuid NOT NULL,
    line_number bigint NOT NULL CHECK (line_number > 0),
    record_id text NOT NULL CHECK (record_id <> ''),
    amount_fen bigint NOT NULL CHECK (amount_fen >= 0),
    value_date date NOT NULL,
    state text NOT NULL,
    payee_id text NOT NULL,
    posted_by text NOT NULL,
    posted_person text NOT NULL,
    posted_on date NOT NULL,
    PRIMARY KEY (county_code, reconciliation_id, line_number),
    FOREIGN KEY (county_code, reconciliation_id) REFERENCES reconciliation
);
CREATE TABLE reconciliation_comparison (
    county_code text NOT NULL,
    reconciliation_id uuid NOT NULL,
    agreeing bigint NOT NULL CHECK (agreeing >= 0),
    compared_by text NOT NULL,
    compared_person text NOT NULL,
    compared_on date NOT NULL,
    PRIMARY KEY (county_code, reconciliation_id),
    FOREIGN KEY (county_code, reconciliation_id) REFERENCES reconciliation
);
CREATE TABLE reconciliation_difference (
    county_code text NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    reconciliation_id uuid NOT NULL,
    record_id text NOT NULL,
    line_number bigint NOT NULL CHECK (line_number >= 0),
    cause text NOT NULL CHECK (cause IN ('missing_here', 'missing_there', 'amount', 'date', 'state',
                                         'payee', 'doubled')),
    theirs_fen bigint NOT NULL,
    ours_fen bigint NOT NULL,
    theirs text NOT NULL,
    ours text NOT NULL,
    found_on date NOT NULL,
    PRIMARY KEY (county_code, number),
    FOREIGN KEY (county_code, reconciliation_id) REFERENCES reconciliation_comparison,
    CHECK ((cause = 'missing_there') = (line_number = 0))
);
CREATE INDEX reconciliation_difference_found
    ON reconciliation_difference (county_code, reconciliation_id, number);
CREATE TABLE difference_resolution (
    county_code text NOT NULL,
    number bigint NOT NULL,
    resolution text NOT NULL CHECK (resolution IN ('ours_stands', 'theirs_stands', 'explained')),
    reason text NOT NULL CHECK (reason <> ''),
    resolved_by text NOT NULL,
    resolved_person text NOT NULL CHECK (resolved_person <> ''),
    resolved_on date NOT NULL,
    PRIMARY KEY (county_code, number),
    FOREIGN KEY (county_code, number) REFERENCES reconciliation_difference
);
"""

OPENING = """
CREATE TABLE policy_opening (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    insurer_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('policy', 'insured', 'assignment', 'claim')),
    reference text NOT NULL,
    record_id uuid NOT NULL,
    opening_on date NOT NULL,
    sum_insured_fen bigint NOT NULL CHECK (sum_insured_fen >= 0),
    premium_fen bigint NOT NULL CHECK (premium_fen >= 0),
    premium_owed_fen bigint NOT NULL CHECK (premium_owed_fen BETWEEN 0 AND premium_fen),
    claimed_fen bigint NOT NULL CHECK (claimed_fen >= 0),
    person_id text NOT NULL,
    PRIMARY KEY (county_code, insurer_id, kind, reference),
    CONSTRAINT policy_opening_record UNIQUE (county_code, kind, record_id)
);
"""

ONLY_ADDED = (
    "reconciliation",
    "statement_line",
    "reconciliation_comparison",
    "reconciliation_difference",
    "difference_resolution",
    "policy_opening",
)


def upgrade() -> None:
    """Make the tables; what was stated, found, resolved or taken over is never changed."""
    for part in (STATEMENT, OPENING):
        tables_0001.run_script(part)
    # Not the grant on all tables: it would give back what was taken from histories before.
    for table in ONLY_ADDED:
        tables_0001.run_script(f"GRANT SELECT, INSERT ON {table} TO claims_app")
        tables_0001.run_script(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM claims_app")


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
