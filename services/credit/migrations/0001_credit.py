"""Credit: the kernel's tables, credit files, indicators and ratings."""

from alembic import op

from services.kernel.migrations import tables_0001

revision = "credit_0001"
down_revision = None
branch_labels = None
depends_on = None

CREDIT_FILE = """
CREATE TABLE credit_file (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    household_id uuid NOT NULL,
    area_code text COLLATE "C" NOT NULL,
    household_status text NOT NULL,
    honour text NOT NULL,
    delisted boolean NOT NULL DEFAULT false,
    version bigint NOT NULL DEFAULT 0 CHECK (version >= 0),
    rating_id uuid,
    programme text NOT NULL DEFAULT '',
    score_centi bigint NOT NULL DEFAULT 0,
    grade text NOT NULL DEFAULT '',
    vetoes text[] NOT NULL DEFAULT '{}',
    limit_fen bigint NOT NULL DEFAULT 0 CHECK (limit_fen >= 0),
    valid_until date,
    granted_on date,
    PRIMARY KEY (county_code, household_id),
    CHECK (limit_fen = 0 OR (rating_id IS NOT NULL AND grade <> '' AND vetoes = '{}'
                             AND granted_on IS NOT NULL)),
    CHECK (limit_fen > 0 OR valid_until IS NULL)
) WITH (fillfactor = 80)
"""

CREDIT_FILE_AREA = """
CREATE INDEX credit_file_area ON credit_file (county_code, area_code, household_id)
"""

INDICATOR = """
CREATE TABLE indicator (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    household_id uuid NOT NULL,
    code text NOT NULL,
    entry bigint GENERATED ALWAYS AS IDENTITY,
    value bigint NOT NULL,
    observed_on date NOT NULL,
    source_id text NOT NULL,
    person_id text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, household_id, code, entry)
)
"""

RATING = """
CREATE TABLE rating (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    rating_id uuid NOT NULL,
    household_id uuid NOT NULL,
    cause text NOT NULL CHECK (cause IN ('rated', 'honour_changed')),
    programme text NOT NULL CHECK (programme <> ''),
    rated_on date NOT NULL,
    inputs jsonb NOT NULL,
    honour text NOT NULL,
    score_centi bigint NOT NULL,
    grade text NOT NULL,
    vetoes text[] NOT NULL,
    base_limit_fen bigint NOT NULL CHECK (base_limit_fen >= 0),
    uplift_fen bigint NOT NULL CHECK (uplift_fen >= 0),
    limit_fen bigint NOT NULL CHECK (limit_fen = base_limit_fen + uplift_fen),
    valid_until date,
    working text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, rating_id)
)
"""

# What was observed and how it was rated is a record, not a state.
APPEND_ONLY = "REVOKE UPDATE, DELETE, TRUNCATE ON indicator, rating FROM credit_app"


def upgrade() -> None:
    """Make the schema."""
    tables_0001.create()
    for part in (CREDIT_FILE, CREDIT_FILE_AREA, INDICATOR, RATING):
        op.execute(part)
    tables_0001.grant("credit")
    op.execute(APPEND_ONLY)


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
