"""Loans: allocations that are divided anew, and such as are undone."""

from services.kernel.migrations import tables_0001

revision = "loans_0006"
down_revision = "loans_0005"
branch_labels = None
depends_on = None

ALLOCATION = """
ALTER TABLE allocation
    ADD COLUMN version bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    ADD COLUMN corrections integer NOT NULL DEFAULT 0 CHECK (corrections >= 0),
    ADD COLUMN reversed_on date;
"""


def upgrade() -> None:
    """An allocation says more than one event, and may end."""
    tables_0001.run_script(ALLOCATION)


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
