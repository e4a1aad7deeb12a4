"""Areas in time, enterprises, linkage contracts, societies and the library of projects."""

from services.kernel.migrations.tables_0001 import run_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

PROVENANCE = """
    source_id text NOT NULL,
    acted_by text NOT NULL,
    evidence jsonb NOT NULL,
    business_date date NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
"""
AREA = f"""
CREATE TABLE area_flag (
    county_code text NOT NULL,
    area_code text COLLATE "C" NOT NULL,
    flag text NOT NULL,
    version bigint NOT NULL,
    is_set boolean NOT NULL,
    valid_from date NOT NULL,
    {PROVENANCE}
    PRIMARY KEY (county_code, area_code, flag, version)
);
CREATE TABLE village_service (
    county_code text NOT NULL,
    village_code text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    service jsonb NOT NULL,
    valid_from date NOT NULL,
    {PROVENANCE}
    PRIMARY KEY (county_code, village_code, version)
);
"""
ENTERPRISE = f"""
CREATE TABLE enterprise (
    county_code text NOT NULL,
    enterprise_id uuid NOT NULL,
    credit_code text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    area_code text COLLATE "C" NOT NULL,
    paired_unit_id text NOT NULL,
    lead_radius_km integer NOT NULL,
    {PROVENANCE}
    PRIMARY KEY (county_code, enterprise_id),
    UNIQUE (county_code, credit_code)
);
CREATE TABLE linkage_contract (
    county_code text NOT NULL,
    contract_id uuid NOT NULL,
    enterprise_id uuid NOT NULL,
    terms jsonb NOT NULL,
    valid_from date NOT NULL,
    valid_to date CHECK (valid_to >= valid_from),
    {PROVENANCE}
    PRIMARY KEY (county_code, contract_id)
);
CREATE INDEX linkage_contract_enterprise ON linkage_contract (county_code, enterprise_id);
CREATE TABLE linkage_household (
    county_code text NOT NULL,
    household_id uuid NOT NULL,
    contract_id uuid NOT NULL,
    PRIMARY KEY (county_code, household_id, contract_id)
);
CREATE INDEX linkage_household_contract ON linkage_household (county_code, contract_id);
CREATE TABLE linkage_end (
    county_code text NOT NULL,
    contract_id uuid NOT NULL,
    ended_on date NOT NULL,
    reason text NOT NULL,
    {PROVENANCE}
    PRIMARY KEY (county_code, contract_id)
);
"""
SOCIETY = f"""
CREATE TABLE society (
    county_code text NOT NULL,
    society_id uuid NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    village_code text COLLATE "C" NOT NULL,
    institution_id text NOT NULL,
    lead_household_id uuid,
    {PROVENANCE}
    PRIMARY KEY (county_code, society_id)
);
CREATE TABLE society_member (
    county_code text NOT NULL,
    membership_id uuid NOT NULL,
    society_id uuid NOT NULL,
    household_id uuid NOT NULL,
    share_fen bigint NOT NULL CHECK (share_fen >= 0),
    joined_on date NOT NULL,
    {PROVENANCE}
    PRIMARY KEY (county_code, membership_id)
);
CREATE INDEX society_member_society ON society_member (county_code, society_id, household_id);
CREATE TABLE society_leave (
    county_code text NOT NULL,
    membership_id uuid NOT NULL,
    left_on date NOT NULL,
    {PROVENANCE}
    PRIMARY KEY (county_code, membership_id)
);
CREATE TABLE project (
    county_code text NOT NULL,
    project_id uuid NOT NULL,
    version bigint NOT NULL,
    name text NOT NULL,
    industry text NOT NULL,
    area_code text COLLATE "C" NOT NULL,
    amount_min_fen bigint NOT NULL,
    amount_max_fen bigint NOT NULL,
    term_months integer NOT NULL,
    enterprise_id uuid,
    is_open boolean NOT NULL,
    {PROVENANCE}
    PRIMARY KEY (county_code, project_id, version),
    CHECK (amount_max_fen >= amount_min_fen)
);
"""
GRANTS = """
GRANT SELECT, INSERT ON area_flag, village_service, enterprise, linkage_contract, linkage_household,
    linkage_end, society, society_member, society_leave, project TO households_app;
"""


def upgrade() -> None:
    """Make the tables; the app adds to them and changes nothing."""
    for script in (AREA, ENTERPRISE, SOCIETY, GRANTS):
        run_script(script)
