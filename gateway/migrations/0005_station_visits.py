"""People at a station: on which consent a clerk looked up a household's own file for it."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
CREATE TABLE station_visit (
    visit_id uuid PRIMARY KEY,
    visited_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    county_code text NOT NULL,
    household_id uuid NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL CHECK (person_id <> ''),
    method text NOT NULL,
    evidence_kind text NOT NULL,
    evidence_reference text NOT NULL CHECK (evidence_reference <> ''),
    evidence_sha256 bytea NOT NULL
)
""",
    "CREATE INDEX station_visit_household ON station_visit (household_id, visited_at)",
    "GRANT SELECT, INSERT ON station_visit TO gateway_app",
)


def upgrade() -> None:
    """Add the visits; they are only added to."""
    for statement in STATEMENTS:
        op.execute(statement)
