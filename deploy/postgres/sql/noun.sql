-- One noun: its owner (runs migrations), its app (runs the service) and its schema. May be repeated.
-- Run by psql inside the database; the names and passwords come from the environment.
\set ON_ERROR_STOP on
\getenv noun LIANDONG_NOUN
\getenv owner_password LIANDONG_OWNER_PASSWORD
\getenv app_password LIANDONG_APP_PASSWORD
\set owner :noun _owner
\set app :noun _app

-- A statement that fails must not put a password into the log.
SET log_min_error_statement = panic;
SET log_min_duration_statement = -1;
SET client_min_messages = warning;

SELECT format('CREATE ROLE %I', name) FROM (VALUES (:'owner'), (:'app')) AS role (name)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

ALTER ROLE :"owner" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
    CONNECTION LIMIT 10 PASSWORD :'owner_password';
ALTER ROLE :"app" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
    CONNECTION LIMIT 40 PASSWORD :'app_password';

SELECT current_database() AS database \gset
GRANT CONNECT ON DATABASE :"database" TO :"owner", :"app";
-- Jobs copy into temporary tables: COPY FROM does not work where rows have policies. A rebuild of
-- projections writes as the owner, beside temporary copies too.
GRANT TEMPORARY ON DATABASE :"database" TO :"owner", :"app";

CREATE SCHEMA IF NOT EXISTS :"noun" AUTHORIZATION :"owner";
ALTER SCHEMA :"noun" OWNER TO :"owner";
-- What the app may do with each table is granted by the migration that makes the table.
GRANT USAGE ON SCHEMA :"noun" TO :"app";
ALTER ROLE :"owner" IN DATABASE :"database" SET search_path = :"noun";
ALTER ROLE :"app" IN DATABASE :"database" SET search_path = :"noun";
