"""The table of pauses: what stands still by two persons' word, and since when."""

from services.kernel.migrations import tables_0001

# Not `county_code`: an order of the platform stands behind no county's wall.
PAUSE = """
CREATE TABLE pause (
    pause_id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('institution', 'feed', 'consumer', 'product')),
    subject text NOT NULL CHECK (subject <> ''),
    only_county text NOT NULL DEFAULT ''
        CHECK (only_county = '' OR (kind = 'product' AND only_county ~ '^[0-9]{6}$')),
    reason text NOT NULL CHECK (reason <> ''),
    proposed_by text NOT NULL CHECK (proposed_by <> ''),
    proposed_at timestamptz NOT NULL DEFAULT now(),
    confirmed_by text NOT NULL DEFAULT '',
    paused_at timestamptz,
    expires_at timestamptz,
    resume_proposed_by text NOT NULL DEFAULT '',
    resume_reason text NOT NULL DEFAULT '',
    resume_proposed_at timestamptz,
    ended_by text NOT NULL DEFAULT '',
    ended_at timestamptz,
    CHECK (confirmed_by <> proposed_by),
    CHECK ((paused_at IS NULL) = (confirmed_by = '')),
    CHECK (expires_at > proposed_at),
    CHECK ((resume_proposed_by = '') = (resume_proposed_at IS NULL)),
    CHECK (paused_at IS NOT NULL OR resume_proposed_at IS NULL),
    CHECK (ended_at IS NOT NULL OR ended_by = ''),
    -- What was in force is ended by a second person, or by its time.
    CHECK (paused_at IS NULL OR ended_by = '' OR ended_by <> resume_proposed_by)
);
CREATE UNIQUE INDEX pause_open ON pause (kind, subject, only_county) WHERE ended_at IS NULL;
"""


def create(noun: str) -> None:
    """Make the table; a pause is never removed."""
    tables_0001.run_script(PAUSE)
    tables_0001.run_script(f"GRANT SELECT, INSERT, UPDATE ON pause TO {noun}_app")
    tables_0001.run_script(f"REVOKE DELETE, TRUNCATE ON pause FROM {noun}_app")
