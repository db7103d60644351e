-- What the runtime role and the reader may do. Not a migration: `migrate` runs it last, each time, so that a role made or renamed
-- later gets its rights too. The runtime role's name comes from the setting instance_service.runtime_role.
DO $$
DECLARE
    runtime text := current_setting('instance_service.runtime_role');
    open_columns text;
    closed_table regclass;
    closed_columns text[];
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
        GRANT SELECT ON instance_service.odoo_servers, instance_service.audit_log, instance_service.templates,
                        instance_service.worker_heartbeats TO readonly_user;
        -- All columns but the secret ones, by name: a grant on the table would open those too. What a step records may hold sealed
        -- passwords, what an operation ends in or fails of a tenant's log lines.
        FOR closed_table, closed_columns IN VALUES
            ('public.instances'::regclass, ARRAY['db_secret', 'admin_password', 'environment_vars']),
            ('instance_service.operations', ARRAY['params', 'result', 'error']),
            ('instance_service.operation_steps', ARRAY['output', 'error'])
        LOOP
            EXECUTE format('REVOKE SELECT ON %s FROM readonly_user', closed_table);
            SELECT string_agg(quote_ident(attname), ', ') INTO open_columns
              FROM pg_attribute
             WHERE attrelid = closed_table AND attnum > 0 AND NOT attisdropped AND attname <> ALL (closed_columns);
            EXECUTE format('GRANT SELECT (%s) ON %s TO readonly_user', open_columns, closed_table);
        END LOOP;
    END IF;
END $$;
