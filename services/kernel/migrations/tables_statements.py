"""The tables of statements: lists of others, where they differ from ours, what became of it."""

from services.kernel.migrations import tables_0001

STATEMENT = """
CREATE TABLE statement (
    county_code text NOT NULL CHECK (county_code ~ '^[0-9]{6}$'),
    statement_id uuid NOT NULL,
    institution_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('own', 'national')),
    reference text NOT NULL CHECK (reference <> ''),
    as_of date NOT NULL,
    stated_lines bigint NOT NULL CHECK (stated_lines >= 0),
    stated_sum bigint NOT NULL CHECK (stated_sum >= 0),
    started_by text NOT NULL,
    started_person text NOT NULL,
    started_on date NOT NULL,
    PRIMARY KEY (county_code, statement_id),
    CONSTRAINT statement_once UNIQUE (county_code, institution_id, reference)
);
CREATE TABLE statement_line (
    county_code text NOT NULL,
    statement_id uuid NOT NULL,
    line_number bigint NOT NULL CHECK (line_number > 0),
    record_id text NOT NULL CHECK (record_id <> ''),
    amount bigint NOT NULL CHECK (amount >= 0),
    cells jsonb NOT NULL,
    posted_by text NOT NULL,
    posted_person text NOT NULL,
    posted_on date NOT NULL,
    PRIMARY KEY (county_code, statement_id, line_number),
    FOREIGN KEY (county_code, statement_id) REFERENCES statement
);
CREATE TABLE statement_comparison (
    county_code text NOT NULL,
    statement_id uuid NOT NULL,
    agreeing bigint NOT NULL CHECK (agreeing >= 0),
    compared_by text NOT NULL,
    compared_person text NOT NULL,
    compared_on date NOT NULL,
    PRIMARY KEY (county_code, statement_id),
    FOREIGN KEY (county_code, statement_id) REFERENCES statement
);
CREATE TABLE statement_difference (
    county_code text NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    statement_id uuid NOT NULL,
    record_id text NOT NULL,
    line_number bigint NOT NULL CHECK (line_number >= 0),
    cause text NOT NULL,
    theirs_fen bigint NOT NULL,
    ours_fen bigint NOT NULL,
    theirs text NOT NULL,
    ours text NOT NULL,
    touches_money boolean NOT NULL,
    found_on date NOT NULL,
    PRIMARY KEY (county_code, number),
    FOREIGN KEY (county_code, statement_id) REFERENCES statement_comparison
);
CREATE INDEX statement_difference_found
    ON statement_difference (county_code, statement_id, number);
CREATE TABLE statement_word (
    county_code text NOT NULL,
    number bigint NOT NULL,
    round integer NOT NULL CHECK (round > 0),
    resolution text NOT NULL CHECK (resolution IN ('ours_stands', 'theirs_stands', 'explained')),
    final boolean NOT NULL,
    reason text NOT NULL CHECK (reason <> ''),
    said_by text NOT NULL,
    said_person text NOT NULL CHECK (said_person <> ''),
    said_on date NOT NULL,
    PRIMARY KEY (county_code, number, round),
    FOREIGN KEY (county_code, number) REFERENCES statement_difference
);
CREATE TABLE statement_agreement (
    county_code text NOT NULL,
    number bigint NOT NULL,
    round integer NOT NULL,
    agrees boolean NOT NULL,
    reason text NOT NULL,
    said_by text NOT NULL,
    said_person text NOT NULL CHECK (said_person <> ''),
    said_on date NOT NULL,
    PRIMARY KEY (county_code, number, round),
    FOREIGN KEY (county_code, number, round) REFERENCES statement_word
);
"""

ONLY_ADDED = (
    "statement",
    "statement_line",
    "statement_comparison",
    "statement_difference",
    "statement_word",
    "statement_agreement",
)


def create(noun: str) -> None:
    """Make the tables; what was stated, found or said is never changed."""
    tables_0001.run_script(STATEMENT)
    for table in ONLY_ADDED:
        tables_0001.run_script(f"GRANT SELECT, INSERT ON {table} TO {noun}_app")
        tables_0001.run_script(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {noun}_app")
