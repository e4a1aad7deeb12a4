"""Pauses: what two persons let stand still."""

from services.kernel.migrations import tables_pauses

revision = "funds_0006"
down_revision = "funds_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    tables_pauses.create("funds")
