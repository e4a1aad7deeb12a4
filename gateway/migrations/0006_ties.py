"""Ties between households and institutions, and the consents of households."""

from alembic import op

revision = "0006"
down_revision = "0005"

# One statement each: the driver prepares them.
STATEMENTS = (
    """
CREATE TABLE household_tie (
    kind text NOT NULL CHECK (kind IN ('application', 'debt', 'cover', 'claim')),
    object_id uuid NOT NULL,
    institution_id text NOT NULL,
    county_code text NOT NULL,
    household_id uuid NOT NULL,
    -- What a claim is paid by: once that is settled, the claim is over.
    payout_id uuid,
    live boolean NOT NULL,
    PRIMARY KEY (object_id, kind, institution_id)
)
""",
    """
CREATE INDEX household_tie_household ON household_tie (household_id, institution_id) WHERE live
""",
    "CREATE INDEX household_tie_payout ON household_tie (payout_id) WHERE payout_id IS NOT NULL",
    # A household that was merged into another is the other.
    """
CREATE TABLE household_alias (
    alias_id uuid PRIMARY KEY,
    survivor_id uuid NOT NULL
)
""",
    "CREATE INDEX household_alias_survivor ON household_alias (survivor_id)",
    """
CREATE TABLE household_consent (
    consent_id uuid PRIMARY KEY,
    county_code text NOT NULL,
    household_id uuid NOT NULL,
    receiver_id text NOT NULL,
    purpose text NOT NULL,
    categories text[] NOT NULL,
    valid_from date,
    valid_to date
)
""",
    "CREATE INDEX household_consent_household ON household_consent (household_id, receiver_id)",
    # The newest business date that an event of the county was said on.
    """
CREATE TABLE county_day (
    county_code text PRIMARY KEY,
    business_date date NOT NULL
)
""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    op.execute(
        """GRANT SELECT, INSERT, UPDATE, DELETE ON household_tie, household_alias,
                 household_consent, county_day TO gateway_app"""
    )


def downgrade() -> None:
    for table in ("county_day", "household_consent", "household_alias", "household_tie"):
        op.execute(f"DROP TABLE {table}")
