"""Loans: lists of others held against ours, which are due; projects that use many loans."""

from services.kernel.migrations import tables_0001, tables_statements

revision = "loans_0010"
down_revision = "loans_0009"
branch_labels = None
depends_on = None

DUE = """
CREATE TABLE statement_due (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    lender_id text NOT NULL,
    as_of date NOT NULL,
    PRIMARY KEY (county_code, as_of, lender_id)
);
CREATE INDEX statement_of_day ON statement (county_code, institution_id, as_of);
"""

SAID = """
    reason text NOT NULL,
    evidence text NOT NULL,
    institution_id text NOT NULL,
    person_id text NOT NULL CHECK (person_id <> ''),
    said_on date NOT NULL,
"""
PROJECT = f"""
CREATE TABLE project (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{{6}}$'),
    project_id uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    enterprise_id text NOT NULL CHECK (enterprise_id <> ''),
    enterprise_name text NOT NULL,
    sector text NOT NULL,
    area_code text NOT NULL CHECK (starts_with(area_code, county_code)),
    programme text NOT NULL,
    product_id text NOT NULL,
    legacy_id text NOT NULL,
    forbidden boolean NOT NULL,
    registered_by text NOT NULL,
    registered_person text NOT NULL CHECK (registered_person <> ''),
    registered_on date NOT NULL,
    PRIMARY KEY (county_code, project_id),
    CHECK ((product_id = '') <> (legacy_id = ''))
);
CREATE TABLE project_loan (
    county_code text NOT NULL,
    loan_id uuid NOT NULL,
    project_id uuid NOT NULL,
    added_by text NOT NULL,
    added_person text NOT NULL,
    added_on date NOT NULL,
    PRIMARY KEY (county_code, loan_id),
    FOREIGN KEY (county_code, project_id) REFERENCES project,
    FOREIGN KEY (county_code, loan_id) REFERENCES loan
);
CREATE INDEX project_loan_project ON project_loan (county_code, project_id, loan_id);
CREATE TABLE project_listing (
    county_code text NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    project_id uuid NOT NULL,
    list text NOT NULL CHECK (list IN ('library', 'white_list')),
    level text NOT NULL CHECK (level IN ('county', 'city', 'province')),
    listed boolean NOT NULL,
    {SAID}
    PRIMARY KEY (county_code, project_id, number),
    FOREIGN KEY (county_code, project_id) REFERENCES project
);
CREATE TABLE project_evaluation (
    county_code text NOT NULL,
    project_id uuid NOT NULL,
    month date NOT NULL CHECK (extract(day FROM month) = 1),
    grade text NOT NULL CHECK (grade <> ''),
    at_risk boolean NOT NULL,
    {SAID}
    PRIMARY KEY (county_code, project_id, month),
    FOREIGN KEY (county_code, project_id) REFERENCES project
);
CREATE TABLE project_watch (
    county_code text NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    project_id uuid NOT NULL,
    watched boolean NOT NULL,
    {SAID}
    PRIMARY KEY (county_code, project_id, number),
    FOREIGN KEY (county_code, project_id) REFERENCES project
);
CREATE TABLE project_wind_down (
    county_code text NOT NULL,
    project_id uuid NOT NULL,
    cause text NOT NULL CHECK (cause IN ('forbidden_sector', 'closed_use', 'at_risk')),
    outstanding_fen bigint NOT NULL CHECK (outstanding_fen >= 0),
    {SAID}
    PRIMARY KEY (county_code, project_id),
    FOREIGN KEY (county_code, project_id) REFERENCES project
);
CREATE TABLE project_duty (
    county_code text NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    project_id uuid NOT NULL,
    duty text NOT NULL,
    loan_id uuid,
    officer_id text NOT NULL,
    {SAID}
    PRIMARY KEY (county_code, project_id, number),
    FOREIGN KEY (county_code, project_id) REFERENCES project
);
"""
ONLY_ADDED = (
    "statement_due",
    "project",
    "project_loan",
    "project_listing",
    "project_evaluation",
    "project_watch",
    "project_wind_down",
    "project_duty",
)


def upgrade() -> None:
    """Make the tables; what was due, stated, found or said is never changed."""
    tables_statements.create("loans")
    tables_0001.run_script(DUE)
    tables_0001.run_script(PROJECT)
    for table in ONLY_ADDED:
        tables_0001.run_script(f"GRANT SELECT, INSERT ON {table} TO loans_app")
        tables_0001.run_script(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM loans_app")


def downgrade() -> None:
    """A released schema is never taken back; a new step mends it."""
    raise NotImplementedError("migrations go forward only")
