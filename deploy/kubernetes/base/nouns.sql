-- A role pair and a schema per noun, in the new database: deploy/postgres/sql for an operator that runs
-- plain SQL. One statement, so that it is done whole. Log-ins, limits and passwords are the Cluster's.
DO $$
DECLARE
    noun text;
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    FOREACH noun IN ARRAY ARRAY['households', 'credit', 'loans', 'claims', 'funds', 'gateway'] LOOP
        EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', noun || '_owner');
        EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', noun || '_app');
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I, %I', current_database(), noun || '_owner', noun || '_app');
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO %I, %I', current_database(), noun || '_owner', noun || '_app');
        EXECUTE format('CREATE SCHEMA %I AUTHORIZATION %I', noun, noun || '_owner');
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', noun, noun || '_app');
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = %I', noun || '_owner', current_database(), noun);
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = %I', noun || '_app', current_database(), noun);
    END LOOP;
END
$$;
