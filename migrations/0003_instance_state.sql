-- The separate axes of an instance, its physical names, and its revision. A row without a phase is one of the earlier
-- service that has not been adopted yet; constraints spare it, so that an older replica can go on writing meanwhile.
-- Nothing here reads or writes a row, since that replica waits meanwhile (ADR 0006): another scale of cpu_limit would write the table
-- anew, so it has none; what is demanded of old rows is checked later (0014), indexes are made later (0013).
ALTER TABLE public.instances
    ALTER COLUMN cpu_limit TYPE numeric,
    ALTER COLUMN odoo_version SET DEFAULT '17',
    ALTER COLUMN billing_status SET DEFAULT 'payment_required',
    ADD COLUMN IF NOT EXISTS db_name varchar(255),
    ADD COLUMN IF NOT EXISTS db_type varchar(20) DEFAULT 'shared',
    ADD COLUMN phase                 text,
    ADD COLUMN desired_state         text NOT NULL DEFAULT 'none',
    ADD COLUMN suspension            text NOT NULL DEFAULT 'none',
    ADD COLUMN suspension_reason     text,
    ADD COLUMN suspended_since       timestamptz,
    ADD COLUMN resume_to             text,
    ADD COLUMN observed_state        text NOT NULL DEFAULT 'unknown',
    ADD COLUMN observed_at           timestamptz,
    ADD COLUMN revision              bigint NOT NULL DEFAULT 0,
    ADD COLUMN hostname              text,
    ADD COLUMN awaiting_reactivation boolean NOT NULL DEFAULT false,
    ADD COLUMN odoo_server_id        uuid,
    ADD COLUMN mark                  text,
    ADD COLUMN db_oid                bigint,
    ADD COLUMN db_secret             bytea,
    ADD COLUMN data_dir              text,
    ADD COLUMN image_profile         text,
    ADD COLUMN image                 text,
    ADD COLUMN resources_pending     boolean NOT NULL DEFAULT false,
    ADD COLUMN purged_at             timestamptz,
    ADD COLUMN adopted_from          text;

ALTER TABLE public.instances
    ADD CONSTRAINT instances_odoo_server_id_fkey FOREIGN KEY (odoo_server_id) REFERENCES instance_service.odoo_servers (id) NOT VALID,
    ADD CONSTRAINT instances_status_known CHECK (phase IS NULL OR status IS NOT NULL AND status IN ('creating', 'starting', 'running',
        'stopping', 'stopped', 'restarting', 'updating', 'maintenance', 'error', 'terminated', 'container_missing', 'paused')) NOT VALID,
    ADD CONSTRAINT instances_billing_known CHECK (phase IS NULL
        OR billing_status IS NOT NULL AND billing_status IN ('payment_required', 'trial', 'paid')) NOT VALID,
    ADD CONSTRAINT instances_provisioning_known CHECK (phase IS NULL
        OR provisioning_status IS NOT NULL AND provisioning_status IN ('pending', 'provisioning', 'completed', 'failed')) NOT VALID,
    ADD CONSTRAINT instances_type_known CHECK (phase IS NULL OR instance_type IN ('development', 'staging', 'production')) NOT VALID,
    ADD CONSTRAINT instances_tier_known CHECK (phase IS NULL OR db_type IN ('shared', 'dedicated')) NOT VALID,
    ADD CONSTRAINT instances_phase_known CHECK (phase IN ('registered', 'ready', 'purging', 'purged')) NOT VALID,
    ADD CONSTRAINT instances_desired_known CHECK (desired_state IN ('none', 'running', 'stopped', 'terminated')) NOT VALID,
    ADD CONSTRAINT instances_suspension_known CHECK (suspension IN ('none', 'debt', 'operator')) NOT VALID,
    ADD CONSTRAINT instances_resume_known CHECK (resume_to IN ('none', 'running', 'stopped', 'terminated')) NOT VALID,
    ADD CONSTRAINT instances_observed_known CHECK (observed_state IN ('unknown', 'absent', 'starting', 'running', 'unhealthy', 'stopped', 'failed')) NOT VALID,
    ADD CONSTRAINT instances_host_of_live CHECK (phase IS NULL OR (hostname IS NULL) = (status = 'terminated')) NOT VALID;
