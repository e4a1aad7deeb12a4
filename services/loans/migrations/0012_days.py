"""Loans: the villages of a county are looked up at every day close."""

from services.kernel.migrations import tables_0001

revision = "loans_0012"
down_revision = "loans_0011"
branch_labels = None
depends_on = None

AREAS = "CREATE INDEX borrower_area ON borrower (county_code, area_code)"


def upgrade() -> None:
    """Make the index."""
    tables_0001.run_script(AREAS)


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
