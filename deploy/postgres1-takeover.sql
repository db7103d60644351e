-- For deployments of the earlier service only: hands its tables to the owner role, so that `instance-admin migrate` can work on
-- them. Run once by the server's superuser after postgres1-bootstrap.sql; running it again changes nothing:
--
--     psql -X -v ON_ERROR_STOP=1 -d instance -f postgres1-takeover.sql
--
-- No row changes, and the earlier service goes on working: the rights that its role has on the tables stay.
BEGIN;

ALTER TABLE public.instances OWNER TO instance_owner;
-- Second generation only.
SELECT 'ALTER TABLE public.db_servers OWNER TO instance_owner' WHERE to_regclass('public.db_servers') IS NOT NULL
\gexec

COMMIT;
