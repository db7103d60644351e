-- The runtime role works on rows and on nothing else. Its name comes from the migrate command (`SET instance_service.runtime_role`).
DO $$
DECLARE
    runtime text := current_setting('instance_service.runtime_role');
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA instance_service TO %I', runtime);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA instance_service TO %I', runtime);
    EXECUTE format('REVOKE UPDATE, DELETE ON instance_service.audit_log FROM %I', runtime);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON public.instances TO %I', runtime);
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'readonly_user') THEN
        GRANT USAGE ON SCHEMA instance_service TO readonly_user;
        GRANT SELECT ON instance_service.operations, instance_service.operation_steps, instance_service.odoo_servers,
                        instance_service.audit_log, instance_service.templates, instance_service.worker_heartbeats TO readonly_user;
        REVOKE SELECT ON public.instances FROM readonly_user;
        EXECUTE (SELECT format('GRANT SELECT (%s) ON public.instances TO readonly_user', string_agg(quote_ident(attname), ', '))
                   FROM pg_attribute
                  WHERE attrelid = 'public.instances'::regclass AND attnum > 0 AND NOT attisdropped
                    AND attname NOT IN ('db_secret', 'admin_password', 'environment_vars'));
    END IF;
END $$;
