"""The registry: areas, households, people and their places in households."""

from alembic import op

from services.kernel.migrations import tables_0001

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Codes are compared byte by byte, so that an index serves "all within this area".
AREA = """
CREATE TABLE area (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    area_code text COLLATE "C" NOT NULL CHECK (area_code ~ '^[0-9]{6,14}$'),
    name text NOT NULL CHECK (name <> ''),
    level text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, area_code),
    CHECK (starts_with(area_code, county_code)),
    CHECK (level = CASE length(area_code) WHEN 6 THEN 'county' WHEN 9 THEN 'township'
                   WHEN 12 THEN 'village' WHEN 14 THEN 'villager_group' END)
);
"""

HOUSEHOLD = """
CREATE TABLE household (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    household_id uuid NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    household_number text NOT NULL CHECK (household_number <> ''),
    area_code text COLLATE "C" NOT NULL CHECK (length(area_code) IN (12, 14)),
    status text NOT NULL CHECK (status IN ('registered_poor', 'near_poor', 'non_poor',
                                           'five_guarantee', 'delisted')),
    honour text NOT NULL DEFAULT ''
        CHECK (honour IN ('', 'law_abiding', 'honest', 'civilised', 'model')),
    member_count integer NOT NULL CHECK (member_count > 0),
    registered_on date NOT NULL,
    source_id text NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (county_code, household_id),
    UNIQUE (county_code, household_number),
    CHECK (starts_with(area_code, county_code))
) WITH (fillfactor = 80);
"""
HOUSEHOLD_AREA = """
CREATE INDEX household_area ON household (county_code, area_code);
"""

# What tells who a person is stands apart from the place that they have in a household.
PERSON = """
CREATE TABLE person (
    county_code text NOT NULL,
    person_id uuid NOT NULL,
    identity_key bytea NOT NULL CHECK (length(identity_key) = 32),
    sealed bytea NOT NULL,
    PRIMARY KEY (county_code, person_id),
    UNIQUE (county_code, identity_key)
);
"""
MEMBER = """
CREATE TABLE member (
    county_code text NOT NULL,
    person_id uuid NOT NULL,
    household_id uuid NOT NULL,
    position smallint NOT NULL CHECK (position > 0),
    relation text NOT NULL,
    labour text NOT NULL DEFAULT '',
    registered_on date NOT NULL,
    PRIMARY KEY (county_code, person_id),
    UNIQUE (county_code, household_id, position)
);
"""
MEMBER_HEAD = """
CREATE UNIQUE INDEX member_head ON member (county_code, household_id) WHERE relation = 'head';
"""


def upgrade() -> None:
    """Make the kernel's tables and the service's own, and let the app in."""
    tables_0001.create()
    for statement in (AREA, HOUSEHOLD, HOUSEHOLD_AREA, PERSON, MEMBER, MEMBER_HEAD):
        op.execute(statement)
    tables_0001.grant("households")
