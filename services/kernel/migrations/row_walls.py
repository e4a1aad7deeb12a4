"""
Row-level security for the tables of a schema, by the columns that they have.

Call `raise_walls` in every migration that makes a table: tables that have their walls keep them.
"""

from services.kernel.migrations.tables_0001 import run_script

# A setting is asked for once a statement, as the subquery is uncorrelated; one that nobody made is
# null, and nothing equals null. The owner is held to the walls like anybody else.
WALLS = """
DO $$
DECLARE
    found record;
    county text := '(SELECT current_setting(''liandong.county'', true))';
    party text;
BEGIN
    FOR found IN
        SELECT c.oid, c.relname,
               array_agg(a.attname::text) AS columns
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
        WHERE c.relnamespace = current_schema()::regnamespace
          AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT c.relrowsecurity
        GROUP BY c.oid, c.relname
        HAVING 'county_code' = ANY (array_agg(a.attname::text))
        ORDER BY c.relname
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', found.relname);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', found.relname);
        EXECUTE format(
            'CREATE POLICY county ON %I USING (%s = ''*'' OR county_code = %s)',
            found.relname, county, county);
        FOREACH party IN ARRAY ARRAY['lender', 'insurer'] LOOP
            IF party || '_id' = ANY (found.columns) THEN
                EXECUTE format(
                    'CREATE POLICY %I ON %I AS RESTRICTIVE FOR SELECT
                     USING (%s = '''' OR %I IN ('''', %s))',
                    party, found.relname,
                    format('(SELECT current_setting(%L, true))', 'liandong.' || party),
                    party || '_id',
                    format('(SELECT current_setting(%L, true))', 'liandong.' || party));
            END IF;
        END LOOP;
    END LOOP;
END $$;
"""


def raise_walls() -> None:
    """Put every table with a county behind its walls, in the schema that is being migrated."""
    run_script(WALLS)
