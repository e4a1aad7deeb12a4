"""Credit: pinned ratings, reviews, measures, exposures, credit areas, coverage, limit history."""

from services.kernel.migrations import tables_0001

revision = "credit_0002"
down_revision = "credit_0001"
branch_labels = None
depends_on = None

FILES = """
ALTER TABLE credit_file ADD COLUMN barred text[] NOT NULL DEFAULT '{}';
ALTER TABLE credit_file ADD COLUMN holds text[] NOT NULL DEFAULT '{}';
ALTER TABLE rating ADD COLUMN pins jsonb NOT NULL DEFAULT '{}';
ALTER TABLE rating ADD COLUMN digest text NOT NULL DEFAULT '';
ALTER TABLE rating ADD COLUMN rated_by text NOT NULL DEFAULT '';
ALTER TABLE rating DROP CONSTRAINT rating_cause_check;
ALTER TABLE rating ADD CONSTRAINT rating_cause_check
    CHECK (cause IN ('rated', 'honour_changed', 'standing_changed', 'reviewed'));
CREATE INDEX rating_household ON rating (county_code, household_id, rating_id);
CREATE TABLE limit_change (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    household_id uuid NOT NULL,
    sequence bigint NOT NULL,
    fact text NOT NULL,
    changed_on date NOT NULL,
    limit_fen bigint NOT NULL CHECK (limit_fen >= 0),
    grade text NOT NULL,
    valid_until date,
    rating_id uuid,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, household_id, sequence)
);
CREATE TABLE external_score (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    score_id uuid NOT NULL,
    household_id uuid NOT NULL,
    model_id text NOT NULL CHECK (model_id <> ''),
    score_centi bigint NOT NULL,
    min_score_centi bigint NOT NULL,
    max_score_centi bigint NOT NULL,
    scored_on date NOT NULL,
    evidence_sha256 text NOT NULL,
    source_id text NOT NULL,
    person_id text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, score_id),
    CHECK (score_centi BETWEEN min_score_centi AND max_score_centi)
);
CREATE INDEX external_score_household ON external_score (county_code, household_id);
"""

MEASURES = """
CREATE TABLE measure (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    measure_id uuid NOT NULL,
    household_id uuid NOT NULL,
    area_code text COLLATE "C" NOT NULL,
    kind text NOT NULL CHECK (kind IN ('sanction', 'reward', 'second_grant', 'waiver',
                                       'rehabilitation')),
    code text NOT NULL,
    programme text NOT NULL,
    state text NOT NULL CHECK (state IN ('proposed', 'in_force', 'refused', 'ended')),
    reason text NOT NULL,
    evidence_sha256 text NOT NULL,
    effects text[] NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen >= 0),
    proposed_on date NOT NULL,
    from_on date,
    until_on date,
    relation text NOT NULL,
    origin_id uuid,
    proposed_by text NOT NULL,
    proposed_role text NOT NULL,
    proposed_person text NOT NULL,
    decided_by text NOT NULL DEFAULT '',
    decided_person text NOT NULL DEFAULT '',
    decision_reason text NOT NULL DEFAULT '',
    ended_on date,
    end_reason text NOT NULL DEFAULT '',
    end_evidence_sha256 text NOT NULL DEFAULT '',
    ended_by text NOT NULL DEFAULT '',
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, measure_id),
    CHECK (state NOT IN ('in_force', 'ended') OR from_on IS NOT NULL),
    CHECK (state <> 'in_force' OR decided_person <> proposed_person)
);
CREATE INDEX measure_household ON measure (county_code, household_id);
CREATE INDEX measure_origin ON measure (county_code, origin_id) WHERE origin_id IS NOT NULL;
CREATE TABLE measure_entry (
    county_code text NOT NULL,
    measure_id uuid NOT NULL,
    entry bigint GENERATED ALWAYS AS IDENTITY,
    state text NOT NULL,
    acted_on date NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    reason text NOT NULL,
    evidence_sha256 text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, measure_id, entry)
);
"""

REVIEWS = """
CREATE TABLE review (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    review_id uuid NOT NULL,
    household_id uuid NOT NULL,
    area_code text COLLATE "C" NOT NULL,
    programme text NOT NULL,
    state text NOT NULL CHECK (state IN ('in_review', 'to_publish', 'on_notice', 'to_grant',
                                         'granted', 'refused')),
    step integer NOT NULL CHECK (step >= 0),
    due_on date,
    opened_on date NOT NULL,
    score_centi bigint NOT NULL,
    scheme_grade text NOT NULL,
    scheme_limit_fen bigint NOT NULL,
    vetoes text[] NOT NULL,
    override_grade text NOT NULL DEFAULT '',
    override_limit_fen bigint,
    override_state text NOT NULL DEFAULT '' CHECK (override_state IN ('', 'pending', 'confirmed')),
    override_person text NOT NULL DEFAULT '',
    reviewers text[] NOT NULL DEFAULT '{}',
    notice_from date,
    notice_to date,
    notice_scope text NOT NULL DEFAULT '',
    contest_id uuid,
    rating_id uuid,
    version bigint NOT NULL CHECK (version > 0),
    entries integer NOT NULL CHECK (entries > 0),
    PRIMARY KEY (county_code, review_id)
);
CREATE UNIQUE INDEX review_open ON review (county_code, household_id)
    WHERE state NOT IN ('granted', 'refused');
CREATE INDEX review_area ON review (county_code, area_code, review_id);
CREATE TABLE review_entry (
    county_code text NOT NULL,
    review_id uuid NOT NULL,
    place integer NOT NULL,
    kind text NOT NULL,
    step text NOT NULL DEFAULT '',
    organ text NOT NULL DEFAULT '',
    institution_id text NOT NULL,
    person_id text NOT NULL,
    acted_on date NOT NULL,
    outcome text NOT NULL DEFAULT '',
    present integer NOT NULL DEFAULT 0,
    members integer NOT NULL DEFAULT 0,
    votes_for integer NOT NULL DEFAULT 0,
    grade text NOT NULL DEFAULT '',
    limit_fen bigint NOT NULL DEFAULT 0,
    reason text NOT NULL DEFAULT '',
    evidence_sha256 text NOT NULL DEFAULT '',
    due_on date,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, review_id, place)
);
CREATE TABLE objection (
    county_code text NOT NULL,
    objection_id uuid NOT NULL,
    review_id uuid NOT NULL,
    raised_on date NOT NULL,
    grounds text NOT NULL,
    evidence_sha256 text NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    answered_on date,
    upheld boolean NOT NULL DEFAULT false,
    answer text NOT NULL DEFAULT '',
    answer_evidence_sha256 text NOT NULL DEFAULT '',
    answered_by text NOT NULL DEFAULT '',
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, objection_id)
);
CREATE INDEX objection_review ON objection (county_code, review_id);
CREATE TABLE contest (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    contest_id uuid NOT NULL,
    household_id uuid NOT NULL,
    area_code text COLLATE "C" NOT NULL,
    rating_id uuid NOT NULL,
    grounds text NOT NULL,
    evidence_sha256 text NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL,
    raised_on date NOT NULL,
    due_on date NOT NULL,
    answered_on date,
    upheld boolean NOT NULL DEFAULT false,
    answer text NOT NULL DEFAULT '',
    answer_evidence_sha256 text NOT NULL DEFAULT '',
    answered_by text NOT NULL DEFAULT '',
    review_id uuid,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, contest_id),
    UNIQUE (county_code, rating_id)
);
CREATE INDEX contest_area ON contest (county_code, area_code, contest_id);
"""

EXPOSURES = """
CREATE TABLE exposure (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    loan_id uuid NOT NULL,
    household_id uuid,
    lender_id text NOT NULL DEFAULT '',
    programme text NOT NULL DEFAULT '',
    committed_fen bigint NOT NULL DEFAULT 0 CHECK (committed_fen >= 0),
    drawn_fen bigint NOT NULL DEFAULT 0 CHECK (drawn_fen >= 0),
    repaid_fen bigint NOT NULL DEFAULT 0,
    overdue_on date,
    non_performing boolean NOT NULL DEFAULT false,
    settled_on date,
    PRIMARY KEY (county_code, loan_id)
) WITH (fillfactor = 80);
CREATE INDEX exposure_household ON exposure (county_code, household_id);
CREATE TABLE stop (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    scope text NOT NULL,
    scope_id text COLLATE "C" NOT NULL,
    stopped boolean NOT NULL,
    PRIMARY KEY (county_code, scope, scope_id)
);
CREATE TABLE exposure_payout (
    county_code text NOT NULL,
    payout_id uuid NOT NULL,
    loan_id uuid NOT NULL,
    principal_fen bigint NOT NULL,
    reversed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (county_code, payout_id, loan_id)
);
"""

AREAS = """
CREATE TABLE credit_area (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    area_code text COLLATE "C" NOT NULL,
    programme_id text NOT NULL,
    scope text NOT NULL CHECK (scope IN ('villager_group', 'village', 'township')),
    programme text NOT NULL,
    certified boolean NOT NULL,
    since date NOT NULL,
    assessed_on date NOT NULL,
    numerator bigint NOT NULL,
    denominator bigint NOT NULL,
    min_units bigint NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (county_code, area_code, programme_id)
) WITH (fillfactor = 80);
CREATE TABLE credit_area_change (
    county_code text NOT NULL,
    area_code text COLLATE "C" NOT NULL,
    programme_id text NOT NULL,
    version bigint NOT NULL,
    scope text NOT NULL,
    programme text NOT NULL,
    certified boolean NOT NULL,
    since date NOT NULL,
    numerator bigint NOT NULL,
    denominator bigint NOT NULL,
    min_units bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, area_code, programme_id, version)
);
CREATE TABLE coverage (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    kept_on date NOT NULL,
    area_code text COLLATE "C" NOT NULL,
    institution_id text COLLATE "C" NOT NULL,
    measure text NOT NULL CHECK (measure IN ('rated', 'granted', 'lent')),
    numerator bigint NOT NULL,
    denominator bigint NOT NULL CHECK (denominator >= numerator),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, kept_on, area_code, institution_id, measure)
);
"""

GRANTS = """
GRANT SELECT, INSERT, UPDATE ON limit_change, external_score, measure, measure_entry, review,
    review_entry, objection, contest, exposure, exposure_payout, stop, credit_area,
    credit_area_change, coverage TO credit_app;
"""

# Histories are records, not states: a correction is a new row.
APPEND_ONLY = """
REVOKE UPDATE ON limit_change, external_score, measure_entry, review_entry, credit_area_change,
    coverage FROM credit_app;
"""


def upgrade() -> None:
    """Add the tables."""
    for part in (FILES, MEASURES, REVIEWS, EXPOSURES, AREAS, GRANTS, APPEND_ONLY):
        tables_0001.run_script(part)


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
