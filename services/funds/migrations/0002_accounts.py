"""Funds of every kind: sub-accounts, dues, orders, lines, fees, periods, what lenders have lent."""

from services.kernel.migrations import tables_0001

revision = "funds_0002"
down_revision = "funds_0001"
branch_labels = None
depends_on = None

# One fund of a kind: a county's, or that of one village, enterprise or insurer.
FUND = """
ALTER TABLE fund DROP CONSTRAINT fund_kind_once;
ALTER TABLE fund
    ADD COLUMN fund_class text NOT NULL DEFAULT 'compensation'
        CHECK (fund_class IN ('compensation', 'village_mutual', 'village_project', 'margin',
                              'mutual_guarantee', 'insurer_pool', 'stabilisation')),
    ADD COLUMN scope_id text NOT NULL DEFAULT '',
    ADD COLUMN divided boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT fund_kind_once UNIQUE (county_code, programme_id, kind, scope_id);
ALTER TABLE contribution
    ADD COLUMN custodian_id text NOT NULL DEFAULT '',
    ADD COLUMN opening boolean NOT NULL DEFAULT false;
CREATE INDEX contribution_fund ON contribution (county_code, fund_id, contribution_id);
CREATE TABLE fund_account (
    county_code text NOT NULL,
    fund_id uuid NOT NULL,
    custodian_id text NOT NULL CHECK (custodian_id <> ''),
    balance_fen bigint NOT NULL CHECK (balance_fen >= 0),
    PRIMARY KEY (county_code, fund_id, custodian_id),
    FOREIGN KEY (county_code, fund_id) REFERENCES fund
) WITH (fillfactor = 50);
CREATE INDEX journal_fund_debit ON journal (county_code, debit_id COLLATE "C")
    WHERE debit_account = 'fund_cash';
CREATE INDEX journal_fund_credit ON journal (county_code, credit_id COLLATE "C")
    WHERE credit_account = 'fund_cash';
"""

MONEY = """
CREATE TABLE accounting_period (
    county_code text PRIMARY KEY CHECK (county_code ~ '^[0-9]{6}$'),
    closed_through date NOT NULL
);
CREATE TABLE contribution_due (
    county_code text NOT NULL,
    due_id uuid NOT NULL,
    fund_id uuid NOT NULL,
    source text NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    due_on date NOT NULL,
    year integer NOT NULL,
    working text NOT NULL,
    said_by text NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, due_id),
    FOREIGN KEY (county_code, fund_id) REFERENCES fund
);
CREATE INDEX contribution_due_fund ON contribution_due (county_code, fund_id, due_on);
CREATE UNIQUE INDEX contribution_due_year ON contribution_due (county_code, fund_id, year)
    WHERE year <> 0;
CREATE TABLE fund_order (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    order_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('transfer', 'division', 'withdrawal', 'closing',
                                       'stabilisation', 'facility', 'opening')),
    state text NOT NULL CHECK (state IN ('proposed', 'done', 'turned_down')),
    fund_id uuid,
    amount_fen bigint NOT NULL CHECK (amount_fen >= 0),
    payee text NOT NULL,
    details text NOT NULL,
    value_date date NOT NULL,
    working text NOT NULL,
    proposed_by text NOT NULL CHECK (proposed_by <> ''),
    proposed_on date NOT NULL,
    decided_by text NOT NULL,
    decided_on date,
    reason text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, order_id),
    CHECK ((state = 'proposed') = (decided_by = '')),
    CHECK (decided_by <> proposed_by)
) WITH (fillfactor = 80);
CREATE TABLE withdrawal (
    county_code text NOT NULL,
    order_id uuid NOT NULL,
    fund_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('withdrawal', 'stabilisation')),
    payee text NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    value_date date NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, order_id),
    FOREIGN KEY (county_code, order_id) REFERENCES fund_order,
    FOREIGN KEY (county_code, fund_id) REFERENCES fund
);
CREATE TABLE facility_line (
    county_code text NOT NULL,
    order_id uuid NOT NULL,
    programme_id text NOT NULL,
    party text NOT NULL,
    institution_id text NOT NULL,
    line_fen bigint NOT NULL CHECK (line_fen >= 0),
    from_date date NOT NULL,
    until_date date,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, order_id),
    FOREIGN KEY (county_code, order_id) REFERENCES fund_order
);
CREATE TABLE line_result (
    county_code text NOT NULL,
    line_id text NOT NULL,
    insurer_id text NOT NULL,
    programme_id text NOT NULL,
    premium_fen bigint NOT NULL CHECK (premium_fen >= 0),
    payouts_fen bigint NOT NULL CHECK (payouts_fen >= 0),
    compensated_fen bigint NOT NULL DEFAULT 0 CHECK (compensated_fen >= 0),
    said_on date NOT NULL,
    PRIMARY KEY (county_code, line_id)
) WITH (fillfactor = 80);
CREATE TABLE fee_claim (
    county_code text NOT NULL,
    claim_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('lending', 'data_collection')),
    state text NOT NULL CHECK (state IN ('filed', 'approved', 'paid', 'refused')),
    institution_id text NOT NULL,
    programme text NOT NULL,
    programme_id text NOT NULL,
    from_date date NOT NULL,
    until_date date NOT NULL,
    disbursed_fen bigint NOT NULL CHECK (disbursed_fen >= 0),
    households integer NOT NULL CHECK (households >= 0),
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    evidence text NOT NULL,
    working text NOT NULL,
    filed_by text NOT NULL,
    filed_on date NOT NULL,
    approved_by text NOT NULL,
    paid_by text NOT NULL,
    reason text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, claim_id),
    CHECK (from_date <= until_date),
    CHECK (approved_by = '' OR approved_by <> filed_by),
    CHECK (paid_by = '' OR paid_by NOT IN (filed_by, approved_by))
) WITH (fillfactor = 80);
CREATE INDEX fee_claim_period ON fee_claim (county_code, institution_id, programme_id, kind);
"""

# What is known of every loan, covered or not: pools are divided and sized by it.
LENDING = """
CREATE TABLE lent_loan (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    loan_id uuid NOT NULL,
    programme_id text NOT NULL,
    lender_id text NOT NULL,
    household_id text NOT NULL,
    area_code text NOT NULL,
    product_id text NOT NULL,
    outstanding_fen bigint NOT NULL CHECK (outstanding_fen >= 0),
    PRIMARY KEY (county_code, loan_id)
) WITH (fillfactor = 70);
CREATE TABLE lent_amount (
    county_code text NOT NULL,
    event_id uuid NOT NULL,
    loan_id uuid NOT NULL,
    programme_id text NOT NULL,
    lender_id text NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    lent_on date NOT NULL,
    PRIMARY KEY (county_code, event_id)
);
CREATE INDEX lent_amount_lender ON lent_amount (county_code, programme_id, lender_id, lent_on);
"""

# Named one by one: a grant on the whole schema would give back what the first step took away.
GRANTS = """
GRANT SELECT, INSERT ON contribution_due, withdrawal, facility_line, lent_amount TO funds_app;
GRANT SELECT, INSERT, UPDATE ON fund_account, accounting_period, fund_order, line_result, fee_claim,
    lent_loan TO funds_app;
"""


def upgrade() -> None:
    """Make the tables; what was posted, said due or lent is never taken back."""
    for part in (FUND, MONEY, LENDING, GRANTS):
        tables_0001.run_script(part)


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
