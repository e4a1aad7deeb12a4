"""Row-level security: what is another county's or another institution's is not there."""

from services.kernel.migrations.row_walls import raise_walls

revision = "loans_0013"
down_revision = "loans_0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Put every table with a county behind its walls."""
    raise_walls()
