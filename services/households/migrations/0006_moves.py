"""Households that move within their county."""

from services.kernel.migrations.tables_0001 import run_script

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MOVE = """
CREATE TABLE move (
    county_code text NOT NULL,
    move_id uuid NOT NULL,
    household_id uuid NOT NULL,
    version bigint NOT NULL,
    from_area_code text NOT NULL,
    to_area_code text NOT NULL CHECK (to_area_code <> from_area_code),
    moved_on date NOT NULL,
    reason text NOT NULL,
    source_id text NOT NULL,
    acted_by text NOT NULL,
    evidence jsonb NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, move_id),
    UNIQUE (county_code, household_id, version)
);
GRANT SELECT, INSERT ON move TO households_app;
"""


def upgrade() -> None:
    """Make the table; the app adds to it and changes nothing."""
    run_script(MOVE)
