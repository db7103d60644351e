-- Prepares the platform server (postgres1): three roles and the database. Run once by the server's superuser, before the first
-- `instance-admin migrate`; running it again changes nothing:
--
--     INSTANCE_OWNER_VERIFIER='SCRAM-SHA-256$...' INSTANCE_SERVICE_VERIFIER='SCRAM-SHA-256$...' \
--         psql -X -v ON_ERROR_STOP=1 -d postgres -f postgres1-bootstrap.sql
--
-- The variables (and READONLY_USER_VERIFIER) are verifiers of the passwords, not the passwords, so that no log and no process
-- list ever has one in clear. A role whose variable is missing keeps the password it has, or gets none: set it with \password.
-- Another database name: -v database=NAME.
\if :{?database}
\else
    \set database instance
\endif
\if :{?owner_verifier}
\else
    \getenv owner_verifier INSTANCE_OWNER_VERIFIER
\endif
\if :{?service_verifier}
\else
    \getenv service_verifier INSTANCE_SERVICE_VERIFIER
\endif
\if :{?reader_verifier}
\else
    \getenv reader_verifier READONLY_USER_VERIFIER
\endif

-- Owns schema and tables; only the migrate command logs in as this role.
SELECT 'CREATE ROLE instance_owner' WHERE to_regrole('instance_owner') IS NULL
\gexec
ALTER ROLE instance_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
\if :{?owner_verifier}
    ALTER ROLE instance_owner PASSWORD :'owner_verifier';
\endif

-- What API and worker run as: rows, never structure. `migrate` grants it the tables.
SELECT 'CREATE ROLE instance_service' WHERE to_regrole('instance_service') IS NULL
\gexec
ALTER ROLE instance_service LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
\if :{?service_verifier}
    ALTER ROLE instance_service PASSWORD :'service_verifier';
\endif

-- Reports: reads, without the secret columns.
SELECT 'CREATE ROLE readonly_user' WHERE to_regrole('readonly_user') IS NULL
\gexec
ALTER ROLE readonly_user LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
\if :{?reader_verifier}
    ALTER ROLE readonly_user PASSWORD :'reader_verifier';
\endif

SELECT format('CREATE DATABASE %I ENCODING ''UTF8'' TEMPLATE template0', :'database')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database')
\gexec
-- By default every role of the server may enter, and an existing deployment lets the service create schemas.
REVOKE ALL ON DATABASE :"database" FROM PUBLIC, instance_service, readonly_user;
GRANT CONNECT ON DATABASE :"database" TO instance_service, readonly_user;
-- CREATE: for the schemas instance_service and apalis, and for the trusted extensions that apalis needs.
GRANT CONNECT, CREATE ON DATABASE :"database" TO instance_owner;

\connect :"database"
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO instance_owner;
GRANT USAGE ON SCHEMA public TO instance_service, readonly_user;
