-- Where an instance is, is known as a whole or not at all: of a placement with a hole in it a purge would leave everything behind.
ALTER TABLE public.instances ADD CONSTRAINT instances_placement_whole CHECK (
    phase IS NULL
    OR num_nonnulls(odoo_server_id, db_name, db_user, data_dir, mark) = 0
    OR num_nonnulls(odoo_server_id, db_host, db_port, db_name, db_user, service_name, data_dir, mark) = 8
       AND mark ~ '^[0-9a-f]{16}$') NOT VALID;
