"""Funds, cover, what is known of covered loans, compensation cases and recoveries."""

from services.kernel.migrations import tables_0001

revision = "funds_0001"
down_revision = None
branch_labels = None
depends_on = None

FUND = """
CREATE TABLE fund (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    fund_id uuid NOT NULL,
    programme_id text NOT NULL,
    kind text NOT NULL,
    institution_id text NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'suspended', 'closed')),
    balance_fen bigint NOT NULL CHECK (balance_fen >= 0),
    covered_fen bigint NOT NULL CHECK (covered_fen >= 0),
    owed_fen bigint NOT NULL CHECK (owed_fen >= 0),
    leverage_reached boolean NOT NULL,
    version bigint NOT NULL CHECK (version >= 0),
    PRIMARY KEY (county_code, fund_id),
    CONSTRAINT fund_kind_once UNIQUE (county_code, programme_id, kind)
) WITH (fillfactor = 50);
CREATE TABLE contribution (
    county_code text NOT NULL,
    contribution_id uuid NOT NULL,
    fund_id uuid NOT NULL,
    source text NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    value_date date NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, contribution_id),
    FOREIGN KEY (county_code, fund_id) REFERENCES fund
);
"""

COVER = """
CREATE TABLE cover (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    loan_id uuid NOT NULL,
    lender_id text NOT NULL,
    borrower_class text NOT NULL,
    area_code text NOT NULL,
    programme text NOT NULL,
    principal_fen bigint NOT NULL CHECK (principal_fen >= 0),
    model_id text NOT NULL,
    fund_id uuid,
    state text NOT NULL
        CHECK (state IN ('asked', 'refused', 'reserved', 'released', 'voided', 'compensated')),
    disbursed boolean NOT NULL,
    version bigint NOT NULL CHECK (version >= 0),
    PRIMARY KEY (county_code, loan_id),
    CHECK (state NOT IN ('reserved', 'compensated') OR fund_id IS NOT NULL)
) WITH (fillfactor = 80);
CREATE INDEX cover_unused ON cover (county_code, area_code)
    WHERE state = 'reserved' AND NOT disbursed;
CREATE TABLE loan_statement (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    loan_sequence bigint NOT NULL,
    stated_on date NOT NULL,
    overdue_days integer NOT NULL,
    non_performing boolean NOT NULL,
    principal_fen bigint NOT NULL CHECK (principal_fen >= 0),
    interest_fen bigint NOT NULL CHECK (interest_fen >= 0),
    PRIMARY KEY (county_code, loan_id)
) WITH (fillfactor = 60);
CREATE TABLE loan_payment (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    event_id uuid NOT NULL,
    payout_id text NOT NULL,
    business_date date NOT NULL,
    principal_fen bigint NOT NULL,
    interest_fen bigint NOT NULL,
    PRIMARY KEY (county_code, loan_id, event_id)
);
CREATE INDEX loan_payment_payout ON loan_payment (county_code, payout_id) WHERE payout_id <> '';
"""

COMPENSATION = """
CREATE TABLE compensation_case (
    county_code text NOT NULL,
    case_id uuid NOT NULL,
    loan_id uuid NOT NULL,
    lender_id text NOT NULL,
    state text NOT NULL CHECK (state IN ('filed', 'paid', 'denied')),
    loss_fen bigint NOT NULL CHECK (loss_fen > 0),
    cause text NOT NULL,
    evidence text NOT NULL,
    programme text NOT NULL,
    model_id text NOT NULL,
    overdue_days integer NOT NULL,
    stated_on date NOT NULL,
    paid_counted_fen bigint NOT NULL,
    filed_by text NOT NULL,
    filed_on date NOT NULL,
    decided_by text NOT NULL,
    decided_on date,
    reason text NOT NULL,
    working text NOT NULL,
    version bigint NOT NULL CHECK (version >= 0),
    PRIMARY KEY (county_code, case_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES cover,
    CHECK (decided_by = '' OR decided_by <> filed_by)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX compensation_case_once ON compensation_case (county_code, loan_id)
    WHERE state IN ('filed', 'paid');
CREATE TABLE case_part (
    county_code text NOT NULL,
    case_id uuid NOT NULL,
    position integer NOT NULL,
    layer text NOT NULL,
    party text NOT NULL,
    institution_id text NOT NULL,
    fund_id uuid,
    own_loss boolean NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    paid_fen bigint NOT NULL CHECK (paid_fen BETWEEN 0 AND amount_fen),
    recovered_fen bigint NOT NULL CHECK (recovered_fen BETWEEN 0 AND amount_fen),
    PRIMARY KEY (county_code, case_id, position),
    FOREIGN KEY (county_code, case_id) REFERENCES compensation_case
) WITH (fillfactor = 80);
CREATE INDEX case_part_debt ON case_part (county_code, fund_id)
    WHERE fund_id IS NOT NULL AND paid_fen < amount_fen;
CREATE TABLE recovery (
    county_code text NOT NULL,
    recovery_id uuid NOT NULL,
    case_id uuid NOT NULL,
    payout_id text NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    household_fen bigint NOT NULL CHECK (household_fen BETWEEN 0 AND amount_fen),
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, recovery_id),
    UNIQUE (county_code, case_id, payout_id),
    FOREIGN KEY (county_code, case_id) REFERENCES compensation_case
);
CREATE TABLE recovery_share (
    county_code text NOT NULL,
    recovery_id uuid NOT NULL,
    position integer NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    PRIMARY KEY (county_code, recovery_id, position),
    FOREIGN KEY (county_code, recovery_id) REFERENCES recovery
);
"""

APPEND_ONLY = """
REVOKE UPDATE, DELETE, TRUNCATE ON contribution, loan_payment, recovery, recovery_share
    FROM funds_app;
REVOKE DELETE ON fund, cover, compensation_case, case_part FROM funds_app;
"""


def upgrade() -> None:
    """Make the tables; the app role writes them, and never takes back what was posted."""
    tables_0001.create()
    for part in (FUND, COVER, COMPENSATION):
        tables_0001.run_script(part)
    tables_0001.grant("funds")
    tables_0001.run_script(APPEND_ONLY)


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
