"""Funds: the outlet that lends, so that an outlet's suspension gives its unused cover back."""

from services.kernel.migrations import tables_0001

revision = "funds_0004"
down_revision = "funds_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Widen cover."""
    tables_0001.run_script("ALTER TABLE cover ADD COLUMN outlet_code text NOT NULL DEFAULT ''")


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
