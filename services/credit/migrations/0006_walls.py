"""Row-level security: what is another county's or another institution's is not there."""

from services.kernel.migrations.row_walls import raise_walls

revision = "credit_0006"
down_revision = "credit_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Put every table with a county behind its walls."""
    raise_walls()
