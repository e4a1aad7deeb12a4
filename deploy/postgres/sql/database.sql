-- The one database; its doors are closed to everyone who is not named. May be repeated.
\set ON_ERROR_STOP on
\getenv database LIANDONG_DATABASE

SELECT format('CREATE DATABASE %I', :'database')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec

REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
\connect :"database"
REVOKE ALL ON SCHEMA public FROM PUBLIC;
