"""Loans: the kernel's tables, loans, borrowers, breakers, allocations and compensations."""

from services.kernel.migrations import tables_0001

revision = "loans_0001"
down_revision = None
branch_labels = None
depends_on = None

LOAN = """
CREATE TABLE loan (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    loan_id uuid NOT NULL,
    version bigint NOT NULL,
    household_id uuid NOT NULL,
    area_code text NOT NULL,
    lender_id text NOT NULL,
    programme text NOT NULL,
    product_id text NOT NULL,
    borrower_class text NOT NULL,
    state text NOT NULL CHECK (state IN
        ('in_review', 'awaiting_cover', 'approved', 'refused', 'active', 'settled')),
    next_step text NOT NULL,
    decided text NOT NULL,
    refusal_reasons text NOT NULL,
    principal_fen bigint NOT NULL CHECK (principal_fen > 0),
    term_months integer NOT NULL CHECK (term_months > 0),
    purpose text NOT NULL,
    used_in_area text NOT NULL,
    assignment_evidence text NOT NULL,
    required_covers text NOT NULL,
    covers_in_force text NOT NULL,
    applied_on date NOT NULL,
    sla_due_on date,
    rate_ppm bigint NOT NULL,
    subsidised boolean NOT NULL,
    disbursed_on date,
    matures_on date,
    notice_on date,
    outstanding_fen bigint NOT NULL CHECK (outstanding_fen >= 0),
    accrued_through date,
    household_numerator bigint NOT NULL,
    household_posted_fen bigint NOT NULL,
    treasury_numerator bigint NOT NULL,
    treasury_posted_fen bigint NOT NULL,
    interest_owed_fen bigint NOT NULL CHECK (interest_owed_fen >= 0),
    overdue_days integer NOT NULL,
    five_tier_class text NOT NULL,
    non_performing_on date,
    subrogated_fen bigint NOT NULL CHECK (subrogated_fen >= 0),
    compensated boolean NOT NULL,
    covered boolean NOT NULL,
    PRIMARY KEY (county_code, loan_id),
    CHECK (state <> 'settled' OR outstanding_fen = 0)
) WITH (fillfactor = 70);
CREATE INDEX loan_household ON loan (county_code, household_id);
CREATE INDEX loan_area ON loan (county_code, area_code);
CREATE INDEX loan_matures ON loan (county_code, matures_on) WHERE state = 'active';
CREATE INDEX loan_notice ON loan (county_code, notice_on) WHERE state = 'active';
"""

BORROWER = """
CREATE TABLE borrower (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    household_id uuid NOT NULL,
    area_code text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT '',
    limit_fen bigint NOT NULL DEFAULT 0 CHECK (limit_fen >= 0),
    grade text NOT NULL DEFAULT '',
    limit_valid_until date,
    exposure_fen bigint NOT NULL DEFAULT 0 CHECK (exposure_fen >= 0),
    PRIMARY KEY (county_code, household_id)
) WITH (fillfactor = 80);
"""

BREAKER = """
CREATE TABLE breaker (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    scope text NOT NULL,
    scope_id text NOT NULL,
    tripped boolean NOT NULL DEFAULT false,
    epoch bigint NOT NULL DEFAULT 0,
    effects text NOT NULL DEFAULT '',
    numerator bigint NOT NULL DEFAULT 0,
    denominator bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (county_code, scope, scope_id)
);
"""

ALLOCATION = """
CREATE TABLE allocation (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    payout_id uuid NOT NULL,
    household_id uuid NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    lenders_fen bigint NOT NULL CHECK (lenders_fen >= 0),
    household_fen bigint NOT NULL CHECK (household_fen >= 0),
    value_date date NOT NULL,
    PRIMARY KEY (county_code, payout_id),
    CHECK (lenders_fen + household_fen = amount_fen)
);
CREATE TABLE allocation_part (
    county_code text NOT NULL,
    payout_id uuid NOT NULL,
    loan_id uuid NOT NULL,
    lender_id text NOT NULL,
    interest_fen bigint NOT NULL CHECK (interest_fen >= 0),
    principal_fen bigint NOT NULL CHECK (principal_fen >= 0),
    subrogated_fen bigint NOT NULL,
    CHECK (subrogated_fen BETWEEN 0 AND interest_fen + principal_fen),
    PRIMARY KEY (county_code, payout_id, loan_id),
    FOREIGN KEY (county_code, payout_id) REFERENCES allocation
);
"""

COMPENSATION = """
CREATE TABLE compensation (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    case_id uuid NOT NULL,
    loan_id uuid NOT NULL,
    loss_fen bigint NOT NULL CHECK (loss_fen > 0),
    others_fen bigint NOT NULL CHECK (others_fen BETWEEN 0 AND loss_fen),
    PRIMARY KEY (county_code, case_id)
);
"""


def upgrade() -> None:
    """Make the tables."""
    tables_0001.create()
    for part in (LOAN, BORROWER, BREAKER, ALLOCATION, COMPENSATION):
        tables_0001.run_script(part)
    tables_0001.grant("loans")
