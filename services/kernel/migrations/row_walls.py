"""
Row-level security for the tables of a schema, by the columns that they have.

Call `raise_walls` in every migration that makes a table: tables that have their walls keep them.
"""

import json
from collections.abc import Mapping

from services.kernel.migrations.tables_0001 import run_script

# A setting is asked for once a statement, as the subquery is uncorrelated; one that nobody made is
# null, and nothing equals null. The owner is held to the walls like anybody else.
WALLS = """
DO $$
DECLARE
    found record;
    parts jsonb := {parts};
    county text := $q$(SELECT current_setting('liandong.county', true))$q$;
    party text;
    me text;
    mine text;
BEGIN
    FOR found IN
        SELECT c.relname, array_agg(a.attname::text) AS columns
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
        WHERE c.relnamespace = current_schema()::regnamespace
          AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT c.relrowsecurity
        GROUP BY c.oid, c.relname
        HAVING 'county_code' = ANY (array_agg(a.attname::text))
        ORDER BY c.relname
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', found.relname);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', found.relname);
        EXECUTE format($q$CREATE POLICY county ON %I USING (%s = '*' OR county_code = %s)$q$,
                       found.relname, county, county);
        FOREACH party IN ARRAY ARRAY['lender', 'insurer'] LOOP
            CONTINUE WHEN party || '_id' <> ALL (found.columns);
            me := format('(SELECT current_setting(%L, true))', 'liandong.' || party);
            mine := format($q$%s = '' OR %I IN ('', %s)$q$, me, party || '_id', me);
            -- What an institution has to do is its own, whoever lends.
            IF 'institution_id' = ANY (found.columns) THEN
                mine := mine || format(' OR institution_id = %s', me);
            END IF;
            IF parts ? found.relname THEN
                mine := mine || format(
                    ' OR EXISTS (SELECT FROM %I AS p WHERE p.county_code = %I.county_code
                                 AND p.%I = %I.%I AND p.institution_id = %s)',
                    parts -> found.relname ->> 0, found.relname, parts -> found.relname ->> 1,
                    found.relname, parts -> found.relname ->> 1, me);
            END IF;
            EXECUTE format('CREATE POLICY %I ON %I AS RESTRICTIVE FOR SELECT USING (%s)',
                           party, found.relname, mine);
        END LOOP;
    END LOOP;
END $$;
"""


def raise_walls(parts: Mapping[str, tuple[str, str]] | None = None) -> None:
    """
    Put every table with a county behind its walls, in the schema that is being migrated.

    `parts` names tables whose rows are also those institutions' that have a part in them: the table
    of the parts, and the column by which a part names its row.
    """
    run_script(WALLS.replace("{parts}", f"'{json.dumps(dict(parts or {}))}'"))
