"""Pauses: what two persons let stand still."""

from services.kernel.migrations import tables_pauses

revision = "claims_0007"
down_revision = "claims_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    tables_pauses.create("claims")
