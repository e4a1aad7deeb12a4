"""Pauses: what two persons let stand still."""

from services.kernel.migrations import tables_pauses

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    tables_pauses.create("gateway")
