"""Loans: what follows a disbursement: standing, agreements, collection, collateral, subsidy."""

from services.kernel.migrations import tables_0001

revision = "loans_0004"
down_revision = "loans_0003"
branch_labels = None
depends_on = None

LOAN = """
ALTER TABLE loan
    ADD COLUMN subsidy_rate_ppm bigint NOT NULL DEFAULT 0 CHECK (subsidy_rate_ppm >= 0),
    ADD COLUMN subsidy_ends_on date,
    ADD COLUMN subsidy_ended_on date;
ALTER TABLE loan DROP CONSTRAINT loan_state_check;
ALTER TABLE loan ADD CONSTRAINT loan_state_check CHECK (state IN
    ('in_review', 'awaiting_cover', 'approved', 'refused', 'active', 'settled', 'written_off'));
UPDATE loan SET subsidy_rate_ppm = rate_ppm WHERE subsidised;
UPDATE loan SET notice_on = NULL FROM business_day AS d
WHERE d.county_code = loan.county_code AND notice_on < d.business_date;
WITH stopped AS (
    UPDATE loan SET subsidy_ended_on = non_performing_on, postings = postings + 1
    WHERE subsidised AND non_performing_on IS NOT NULL AND accrued_through IS NOT NULL
      AND NOT EXISTS (SELECT FROM posting AS p WHERE p.county_code = loan.county_code
                      AND p.loan_id = loan.loan_id AND p.kind = 'subsidy_stop')
    RETURNING county_code, loan_id, postings, accrued_through
)
INSERT INTO posting
SELECT county_code, loan_id, postings, 'subsidy_stop', accrued_through, accrued_through, 0, 0, 0,
       0, NULL, '', '' FROM stopped;
UPDATE loan SET subsidy_ended_on = non_performing_on
WHERE subsidised AND non_performing_on IS NOT NULL AND subsidy_ended_on IS NULL;
CREATE INDEX loan_marked ON loan (county_code, loan_id)
    WHERE state = 'active' AND (five_tier_class <> 'normal' OR non_performing_on IS NOT NULL);
CREATE INDEX loan_subsidy_uncounted ON loan (county_code, loan_id)
    WHERE state = 'active' AND subsidised AND subsidy_ends_on IS NULL;
CREATE INDEX loan_subsidy_ends ON loan (county_code, subsidy_ends_on)
    WHERE state = 'active' AND subsidised AND subsidy_ended_on IS NULL;
"""

STANDING = """
CREATE TABLE judgement (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    judged_class text NOT NULL,
    kept_non_performing boolean NOT NULL DEFAULT false,
    PRIMARY KEY (county_code, loan_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
CREATE TABLE class_change (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    change_id bigint GENERATED ALWAYS AS IDENTITY,
    changed_on date NOT NULL,
    was text NOT NULL,
    now_is text NOT NULL,
    overdue_days integer NOT NULL,
    rule_version text NOT NULL,
    person_id text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (county_code, loan_id, change_id)
);
CREATE TABLE loan_action (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    cause text NOT NULL CHECK (cause IN ('overdue', 'non_performing')),
    since date NOT NULL,
    place integer NOT NULL CHECK (place > 0),
    action text NOT NULL,
    taken_on date NOT NULL,
    PRIMARY KEY (county_code, loan_id, cause, since, place)
);
CREATE TABLE loan_review (
    county_code text NOT NULL,
    review_id uuid NOT NULL,
    loan_id uuid NOT NULL,
    cause text NOT NULL,
    opened_on date NOT NULL,
    closed_on date,
    outcome text NOT NULL DEFAULT '',
    reason text NOT NULL DEFAULT '',
    person_id text NOT NULL DEFAULT '',
    PRIMARY KEY (county_code, review_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
CREATE UNIQUE INDEX loan_review_open ON loan_review (county_code, loan_id)
    WHERE closed_on IS NULL;
CREATE INDEX loan_review_loan ON loan_review (county_code, loan_id);
CREATE TABLE early_warning (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    kind text NOT NULL,
    raised_on date NOT NULL,
    cause_id text NOT NULL,
    PRIMARY KEY (county_code, loan_id, kind, cause_id)
);
CREATE TABLE payout_confirmed (
    county_code text NOT NULL,
    payout_id uuid NOT NULL,
    PRIMARY KEY (county_code, payout_id)
);
CREATE INDEX allocation_value_date ON allocation (county_code, value_date);
"""

AGREEMENTS = """
CREATE TABLE agreement (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    agreement_id bigint GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL CHECK (kind IN ('extension', 'restructuring')),
    made_on date NOT NULL,
    starts_on date NOT NULL,
    principal_fen bigint NOT NULL CHECK (principal_fen >= 0),
    term_months integer NOT NULL CHECK (term_months > 0),
    method text NOT NULL,
    rate_ppm bigint NOT NULL CHECK (rate_ppm >= 0),
    matures_on date NOT NULL,
    reason text NOT NULL,
    person_id text NOT NULL,
    PRIMARY KEY (county_code, loan_id, agreement_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
CREATE TABLE renewal (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    renewed_loan_id uuid NOT NULL,
    renewed_on date NOT NULL,
    conditions text NOT NULL,
    evidence text NOT NULL,
    person_id text NOT NULL,
    PRIMARY KEY (county_code, loan_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan,
    FOREIGN KEY (county_code, renewed_loan_id) REFERENCES loan (county_code, loan_id)
);
CREATE UNIQUE INDEX renewal_once ON renewal (county_code, renewed_loan_id);
CREATE TABLE interest_forgiven (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    cause text NOT NULL CHECK (cause IN ('campaign', 'hardship')),
    stage text NOT NULL,
    forgiven_on date NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen >= 0),
    flexible boolean NOT NULL,
    evidence text NOT NULL,
    person_id text NOT NULL,
    PRIMARY KEY (county_code, loan_id, cause),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
"""

COLLECTION = """
CREATE TABLE collection_case (
    county_code text NOT NULL,
    case_id uuid NOT NULL,
    loan_id uuid NOT NULL,
    household_id uuid NOT NULL,
    lender_id text NOT NULL,
    area_code text NOT NULL,
    cause text NOT NULL,
    due_class text NOT NULL,
    actions text NOT NULL,
    organ text NOT NULL DEFAULT '',
    at_court boolean NOT NULL DEFAULT false,
    opened_on date NOT NULL,
    closed_on date,
    outcome text NOT NULL DEFAULT '',
    steps integer NOT NULL DEFAULT 0,
    PRIMARY KEY (county_code, case_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
CREATE UNIQUE INDEX collection_case_open ON collection_case (county_code, loan_id)
    WHERE closed_on IS NULL;
CREATE INDEX collection_case_loan ON collection_case (county_code, loan_id);
CREATE TABLE collection_step (
    county_code text NOT NULL,
    case_id uuid NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    kind text NOT NULL,
    done_on date NOT NULL,
    organ text NOT NULL,
    note text NOT NULL,
    person_id text NOT NULL,
    PRIMARY KEY (county_code, case_id, number),
    FOREIGN KEY (county_code, case_id) REFERENCES collection_case
);
CREATE TABLE write_off (
    county_code text NOT NULL,
    write_off_id uuid NOT NULL,
    loan_id uuid NOT NULL,
    reason text NOT NULL,
    proposed_by text NOT NULL,
    proposed_on date NOT NULL,
    decided_by text NOT NULL DEFAULT '',
    decided_on date,
    approved boolean NOT NULL DEFAULT false,
    principal_fen bigint NOT NULL DEFAULT 0,
    interest_fen bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (county_code, write_off_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan,
    CHECK (decided_by <> proposed_by)
);
CREATE UNIQUE INDEX write_off_open ON write_off (county_code, loan_id) WHERE decided_on IS NULL;
"""

COLLATERAL = """
CREATE TABLE collateral (
    county_code text NOT NULL,
    collateral_id uuid NOT NULL,
    loan_id uuid NOT NULL,
    lender_id text NOT NULL,
    area_code text NOT NULL,
    pledge_id text NOT NULL,
    asset text NOT NULL,
    units integer NOT NULL CHECK (units >= 0),
    unit_value_fen bigint NOT NULL CHECK (unit_value_fen > 0),
    value_fen bigint NOT NULL CHECK (value_fen >= 0),
    secures_fen bigint NOT NULL CHECK (secures_fen >= 0),
    source text NOT NULL,
    evidence text NOT NULL,
    valued_on date NOT NULL,
    revalue_by date,
    keeper_id text NOT NULL,
    month_yield_fen bigint NOT NULL DEFAULT 0 CHECK (month_yield_fen >= 0),
    months_borne integer NOT NULL DEFAULT 0,
    yield_fen bigint NOT NULL DEFAULT 0 CHECK (yield_fen >= 0),
    refunded_fen bigint NOT NULL DEFAULT 0 CHECK (refunded_fen >= 0),
    registered_on date NOT NULL,
    released_on date,
    PRIMARY KEY (county_code, collateral_id),
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
CREATE INDEX collateral_loan ON collateral (county_code, loan_id);
CREATE TABLE valuation (
    county_code text NOT NULL,
    collateral_id uuid NOT NULL,
    valuation_id bigint GENERATED ALWAYS AS IDENTITY,
    valued_on date NOT NULL,
    units integer NOT NULL,
    unit_value_fen bigint NOT NULL,
    value_fen bigint NOT NULL,
    secures_fen bigint NOT NULL,
    source text NOT NULL,
    person_id text NOT NULL,
    PRIMARY KEY (county_code, collateral_id, valuation_id),
    FOREIGN KEY (county_code, collateral_id) REFERENCES collateral
);
"""

SUBSIDY = """
CREATE TABLE subsidy_budget (
    county_code text NOT NULL,
    programme_id text NOT NULL,
    year integer NOT NULL,
    budget_fen bigint NOT NULL CHECK (budget_fen > 0),
    person_id text NOT NULL,
    PRIMARY KEY (county_code, programme_id, year)
);
CREATE TABLE subsidy_claim (
    county_code text NOT NULL,
    claim_id uuid NOT NULL,
    lender_id text NOT NULL,
    programme_id text NOT NULL,
    year integer NOT NULL,
    quarter integer NOT NULL CHECK (quarter BETWEEN 1 AND 4),
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    loans integer NOT NULL,
    claimed_on date NOT NULL,
    claimed_by text NOT NULL,
    paid_on date,
    paid_by text NOT NULL DEFAULT '',
    reference text NOT NULL DEFAULT '',
    PRIMARY KEY (county_code, claim_id)
);
CREATE UNIQUE INDEX subsidy_claim_once
    ON subsidy_claim (county_code, lender_id, programme_id, year, quarter);
CREATE TABLE subsidy_claim_line (
    county_code text NOT NULL,
    claim_id uuid NOT NULL,
    loan_id uuid NOT NULL,
    household_id uuid NOT NULL,
    amount_fen bigint NOT NULL,
    borne_fen bigint NOT NULL CHECK (borne_fen >= 0),
    PRIMARY KEY (county_code, claim_id, loan_id),
    FOREIGN KEY (county_code, claim_id) REFERENCES subsidy_claim
);
CREATE INDEX subsidy_claim_line_loan ON subsidy_claim_line (county_code, loan_id);
"""

BREAKERS = """
CREATE TABLE breaker_record (
    county_code text NOT NULL,
    record_id bigint GENERATED ALWAYS AS IDENTITY,
    scope text NOT NULL,
    scope_id text NOT NULL,
    what text NOT NULL CHECK (what IN ('tripped', 'month_end', 'reset')),
    recorded_on date NOT NULL,
    epoch bigint NOT NULL,
    numerator bigint NOT NULL,
    denominator bigint NOT NULL,
    below boolean NOT NULL,
    rule_version text NOT NULL,
    person_id text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (county_code, record_id)
);
CREATE INDEX breaker_record_scope ON breaker_record (county_code, scope, scope_id, record_id);
"""

ONLY_ADDED = (
    "class_change",
    "loan_action",
    "early_warning",
    "agreement",
    "renewal",
    "interest_forgiven",
    "collection_step",
    "valuation",
    "subsidy_claim_line",
    "breaker_record",
)


def upgrade() -> None:
    """Make the tables; histories are only added to."""
    for part in (LOAN, STANDING, AGREEMENTS, COLLECTION, COLLATERAL, SUBSIDY, BREAKERS):
        tables_0001.run_script(part)
    tables_0001.grant("loans")
    for table in ("posting", *ONLY_ADDED):
        tables_0001.run_script(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM loans_app")
