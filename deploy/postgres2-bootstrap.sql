-- Prepares one Odoo server (a postgres2) for the worker. Run once by the server's superuser; running it again changes nothing:
--
--     ODOO_ADMIN_VERIFIER='SCRAM-SHA-256$...' psql -X -v ON_ERROR_STOP=1 -d postgres -f postgres2-bootstrap.sql
--
-- ODOO_ADMIN_VERIFIER is the verifier of the admin's password, not the password, so that no log and no process list ever
-- has it in clear. Without it the role is made without a password: set one later with \password.
\if :{?odoo_admin_verifier}
\else
    \getenv odoo_admin_verifier ODOO_ADMIN_VERIFIER
\endif

-- The worker's role. CREATEDB and CREATEROLE are all it needs; the worker refuses to act as a superuser.
SELECT 'CREATE ROLE odoo_admin' WHERE to_regrole('odoo_admin') IS NULL
\gexec
ALTER ROLE odoo_admin LOGIN NOSUPERUSER CREATEDB CREATEROLE NOREPLICATION NOBYPASSRLS;
\if :{?odoo_admin_verifier}
    ALTER ROLE odoo_admin PASSWORD :'odoo_admin_verifier';
\endif

-- By default every role may enter these databases and leave tables behind. Tenants must not.
REVOKE CONNECT, TEMP ON DATABASE postgres, template1 FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT CONNECT ON DATABASE postgres TO odoo_admin;

-- Odoo itself listens in database postgres (bus and scheduled jobs): its tenants may enter there, and nothing more.
SELECT 'CREATE ROLE odoo_tenants' WHERE to_regrole('odoo_tenants') IS NULL
\gexec
ALTER ROLE odoo_tenants NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
GRANT CONNECT ON DATABASE postgres TO odoo_tenants;
GRANT odoo_tenants TO odoo_admin WITH ADMIN OPTION;

-- A large object needs no right on a schema: tenants could leave data there for each other. Odoo needs none of this there,
-- and databases made from template0, as all of tenants are, keep these functions.
REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea), lo_put(oid, bigint, bytea),
    lowrite(integer, bytea) FROM PUBLIC;

-- The worker's locks are in a database of their own, which no tenant may enter: advisory locks belong to one database, and
-- whoever may connect to it may take any of them. Closed until PUBLIC has lost its rights in it.
SELECT 'CREATE DATABASE ois OWNER odoo_admin TEMPLATE template0 ALLOW_CONNECTIONS false'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'ois')
\gexec
REVOKE ALL ON DATABASE ois FROM PUBLIC;
ALTER DATABASE ois ALLOW_CONNECTIONS true;

\connect template1
REVOKE ALL ON SCHEMA public FROM PUBLIC;
