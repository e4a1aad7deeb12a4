"""Lists of a national system and where they differ from the registry."""

from services.kernel.migrations import tables_statements

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; what was stated, found or said is never changed."""
    tables_statements.create("households")
