-- What the runtime role and the reader may do. Not a migration: `migrate` runs it last, each time, so that a role made or renamed
-- later gets its rights too. The runtime role's name comes from the setting instance_service.runtime_role.
DO $$
DECLARE
    runtime text := current_setting('instance_service.runtime_role');
    open_columns text;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA instance_service TO %I', runtime);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON public.instances TO %I', runtime);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA instance_service TO %I', runtime);
    -- The trail is written and read, never changed; the history of migrations is only read.
    EXECUTE format('REVOKE UPDATE, DELETE ON instance_service.audit_log FROM %I', runtime);
    IF to_regclass('instance_service._migrations') IS NOT NULL THEN
        EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON instance_service._migrations FROM %I', runtime);
    END IF;
    IF to_regnamespace('apalis') IS NOT NULL THEN
        EXECUTE format('GRANT USAGE ON SCHEMA apalis TO %I', runtime);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA apalis TO %I', runtime);
        EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA apalis TO %I', runtime);
        EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA apalis TO %I', runtime);
        IF to_regclass('apalis._sqlx_migrations') IS NOT NULL THEN
            EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON apalis._sqlx_migrations FROM %I', runtime);
        END IF;
    END IF;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'readonly_user') THEN
        GRANT USAGE ON SCHEMA instance_service TO readonly_user;
        GRANT SELECT ON instance_service.odoo_servers, instance_service.operations, instance_service.operation_steps,
                        instance_service.audit_log, instance_service.templates, instance_service.worker_heartbeats TO readonly_user;
        -- All columns but the secret ones, by name: a grant on the table would open those too.
        REVOKE SELECT ON public.instances FROM readonly_user;
        SELECT string_agg(quote_ident(attname), ', ') INTO open_columns
          FROM pg_attribute
         WHERE attrelid = 'public.instances'::regclass AND attnum > 0 AND NOT attisdropped
           AND attname NOT IN ('db_secret', 'admin_password', 'environment_vars');
        EXECUTE format('GRANT SELECT (%s) ON public.instances TO readonly_user', open_columns);
    END IF;
END $$;
