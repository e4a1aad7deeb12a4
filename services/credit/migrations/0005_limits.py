"""Credit: the limits that end with a day are looked up at every day close."""

from services.kernel.migrations import tables_0001

revision = "credit_0005"
down_revision = "credit_0004"
branch_labels = None
depends_on = None

ENDING = """
CREATE INDEX credit_file_limit_ends ON credit_file (county_code, valid_until) WHERE limit_fen > 0;
"""


def upgrade() -> None:
    """Make the index."""
    tables_0001.run_script(ENDING)


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
