"""Pauses: what two persons let stand still."""

from services.kernel.migrations import tables_pauses

revision = "loans_0014"
down_revision = "loans_0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    tables_pauses.create("loans")
