"""The kernel's tables, and two of the farm's own, for whichever noun is migrated."""

from alembic import op

from services.kernel.migrations import row_walls, tables_0001, tables_pauses

revision = "farm_0001"
down_revision = None
branch_labels = None
depends_on = None

FARM = """
CREATE TABLE effect (
    place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id uuid NOT NULL,
    aggregate_id text NOT NULL,
    sequence bigint NOT NULL,
    what text NOT NULL
);
CREATE TABLE bin (
    bin_id text PRIMARY KEY,
    sacks bigint NOT NULL CHECK (sacks >= 0)
);
CREATE TABLE stall (
    county_code text NOT NULL,
    stall_id text PRIMARY KEY,
    lender_id text NOT NULL,
    insurer_id text NOT NULL
);
"""


def upgrade() -> None:
    """Make the tables."""
    tables_0001.create()
    tables_0001.run_script(FARM)
    schema = op.get_context().opts["version_table_schema"]
    tables_0001.grant(schema)
    tables_pauses.create(schema)
    row_walls.raise_walls()
