-- The separate axes of an instance, its physical names, and its revision. A row without a phase is one of the earlier
-- service that has not been adopted yet; constraints spare it, so that an older replica can go on writing meanwhile.
ALTER TABLE public.instances
    ALTER COLUMN cpu_limit TYPE numeric(5, 2),
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
    ADD COLUMN odoo_server_id        uuid REFERENCES instance_service.odoo_servers (id),
    ADD COLUMN mark                  text,
    ADD COLUMN db_oid                bigint,
    ADD COLUMN db_secret             bytea,
    ADD COLUMN data_dir              text,
    ADD COLUMN image_profile         text,
    ADD COLUMN image                 text,
    ADD COLUMN resources_pending     boolean NOT NULL DEFAULT false,
    ADD COLUMN purged_at             timestamptz,
    ADD COLUMN adopted_from          text;

UPDATE public.instances SET odoo_version = split_part(odoo_version, '.', 1) WHERE odoo_version ~ '^[0-9]+\.0$';
UPDATE public.instances SET billing_status = 'payment_required' WHERE billing_status = 'pending_payment';
UPDATE public.instances SET provisioning_status = 'completed'
 WHERE provisioning_status IN ('pending', 'provisioning')
   AND status IN ('running', 'stopping', 'stopped', 'restarting', 'paused', 'maintenance', 'updating', 'container_missing')
   AND (db_host IS NOT NULL OR service_name IS NOT NULL OR service_id IS NOT NULL);

ALTER TABLE public.instances
    ADD CONSTRAINT instances_status_known CHECK (phase IS NULL OR status IS NOT NULL AND status IN ('creating', 'starting', 'running',
        'stopping', 'stopped', 'restarting', 'updating', 'maintenance', 'error', 'terminated', 'container_missing', 'paused')),
    ADD CONSTRAINT instances_billing_known CHECK (phase IS NULL
        OR billing_status IS NOT NULL AND billing_status IN ('payment_required', 'trial', 'paid')),
    ADD CONSTRAINT instances_provisioning_known CHECK (phase IS NULL
        OR provisioning_status IS NOT NULL AND provisioning_status IN ('pending', 'provisioning', 'completed', 'failed')),
    ADD CONSTRAINT instances_type_known CHECK (phase IS NULL OR instance_type IN ('development', 'staging', 'production')),
    ADD CONSTRAINT instances_tier_known CHECK (phase IS NULL OR db_type IN ('shared', 'dedicated')),
    ADD CONSTRAINT instances_phase_known CHECK (phase IN ('registered', 'ready', 'purging', 'purged')),
    ADD CONSTRAINT instances_desired_known CHECK (desired_state IN ('none', 'running', 'stopped', 'terminated')),
    ADD CONSTRAINT instances_suspension_known CHECK (suspension IN ('none', 'debt', 'operator')),
    ADD CONSTRAINT instances_resume_known CHECK (resume_to IN ('none', 'running', 'stopped', 'terminated')),
    ADD CONSTRAINT instances_observed_known CHECK (observed_state IN ('unknown', 'absent', 'starting', 'running', 'unhealthy', 'stopped', 'failed')),
    ADD CONSTRAINT instances_host_of_live CHECK (phase IS NULL OR (hostname IS NULL) = (status = 'terminated'));

CREATE UNIQUE INDEX instances_hostname_live ON public.instances (hostname) WHERE status <> 'terminated' AND phase IS NOT NULL;
CREATE UNIQUE INDEX instances_label_live ON public.instances (customer_id, database_name) WHERE status <> 'terminated' AND phase IS NOT NULL;
CREATE UNIQUE INDEX instances_subscription_live ON public.instances (subscription_id)
    WHERE (status <> 'terminated' OR awaiting_reactivation) AND phase IS NOT NULL;
CREATE UNIQUE INDEX instances_database ON public.instances (odoo_server_id, db_name) WHERE odoo_server_id IS NOT NULL;
CREATE UNIQUE INDEX instances_role ON public.instances (odoo_server_id, db_user) WHERE odoo_server_id IS NOT NULL;
CREATE UNIQUE INDEX instances_service ON public.instances (service_name) WHERE phase IS NOT NULL;
CREATE UNIQUE INDEX instances_data_dir ON public.instances (data_dir);
CREATE UNIQUE INDEX instances_mark ON public.instances (mark);
CREATE UNIQUE INDEX instances_external_port ON public.instances (external_port) WHERE phase IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_instances_customer_id ON public.instances (customer_id);
CREATE INDEX IF NOT EXISTS idx_instances_subscription_id ON public.instances (subscription_id);
CREATE INDEX IF NOT EXISTS idx_instances_status ON public.instances (status);
