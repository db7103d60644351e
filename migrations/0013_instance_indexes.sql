-- no-transaction
-- The indexes of a table that others work on: each in a transaction of its own, so that they wait for no more than one (ADR 0006).
DO $$
BEGIN
    CREATE UNIQUE INDEX IF NOT EXISTS instances_hostname_live ON public.instances (hostname)
        WHERE status <> 'terminated' AND phase IS NOT NULL;
    COMMIT;
    CREATE UNIQUE INDEX IF NOT EXISTS instances_label_live ON public.instances (customer_id, database_name)
        WHERE status <> 'terminated' AND phase IS NOT NULL;
    COMMIT;
    CREATE UNIQUE INDEX IF NOT EXISTS instances_subscription_live ON public.instances (subscription_id)
        WHERE (status <> 'terminated' OR awaiting_reactivation) AND phase IS NOT NULL;
    COMMIT;
    CREATE UNIQUE INDEX IF NOT EXISTS instances_database ON public.instances (odoo_server_id, db_name)
        WHERE odoo_server_id IS NOT NULL;
    COMMIT;
    CREATE UNIQUE INDEX IF NOT EXISTS instances_role ON public.instances (odoo_server_id, db_user)
        WHERE odoo_server_id IS NOT NULL;
    COMMIT;
    CREATE UNIQUE INDEX IF NOT EXISTS instances_service ON public.instances (service_name) WHERE phase IS NOT NULL;
    COMMIT;
    CREATE UNIQUE INDEX IF NOT EXISTS instances_data_dir ON public.instances (data_dir) WHERE data_dir IS NOT NULL;
    COMMIT;
    CREATE UNIQUE INDEX IF NOT EXISTS instances_mark ON public.instances (mark) WHERE mark IS NOT NULL;
    COMMIT;
    CREATE UNIQUE INDEX IF NOT EXISTS instances_external_port ON public.instances (external_port) WHERE phase IS NOT NULL;
    COMMIT;
    CREATE INDEX IF NOT EXISTS idx_instances_customer_id ON public.instances (customer_id);
    COMMIT;
    CREATE INDEX IF NOT EXISTS idx_instances_subscription_id ON public.instances (subscription_id);
    COMMIT;
    CREATE INDEX IF NOT EXISTS idx_instances_status ON public.instances (status);
    COMMIT;
    -- The names that a row not adopted may be served under.
    CREATE INDEX IF NOT EXISTS instances_unadopted_subdomain ON public.instances (lower(subdomain))
        WHERE phase IS NULL AND status IS DISTINCT FROM 'terminated';
    COMMIT;
    CREATE INDEX IF NOT EXISTS instances_unadopted_label ON public.instances (replace(lower(database_name), '_', '-'))
        WHERE phase IS NULL AND status IS DISTINCT FROM 'terminated';
    COMMIT;
    CREATE INDEX IF NOT EXISTS instances_in_debt ON public.instances (updated_at) WHERE suspension = 'debt';
    COMMIT;
    CREATE INDEX IF NOT EXISTS instances_failed ON public.instances (updated_at DESC NULLS LAST, id)
        WHERE status IS NULL OR status NOT IN ('creating', 'starting', 'running', 'stopping', 'stopped', 'restarting', 'updating',
            'maintenance', 'terminated', 'container_missing', 'paused');
    COMMIT;
END $$;
