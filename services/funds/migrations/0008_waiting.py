"""Money of a loan's book that nobody was left to get waits, and is shared later (decision 0028)."""

from services.kernel.migrations import tables_0001

revision = "funds_0008"
down_revision = "funds_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Widen recoveries; the rows themselves are still only added."""
    tables_0001.run_script("""
ALTER TABLE recovery
    ADD COLUMN waiting_fen bigint NOT NULL DEFAULT 0 CHECK (waiting_fen >= 0),
    ADD COLUMN turn integer NOT NULL DEFAULT 1 CHECK (turn > 0),
    DROP CONSTRAINT recovery_amount_fen_check,
    ADD CONSTRAINT recovery_amount CHECK (amount_fen >= 0 AND amount_fen + waiting_fen > 0);
DROP INDEX recovery_once;
CREATE UNIQUE INDEX recovery_once ON recovery (county_code, case_id, source, reference, turn)
    WHERE source <> 'collected';
CREATE INDEX recovery_waiting ON recovery (county_code, case_id) WHERE waiting_fen > 0;
""")
