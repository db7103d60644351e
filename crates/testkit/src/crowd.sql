-- As much as a large deployment holds, for plans and benchmarks: :rows instances, and what grew with them. The first 500 belong to
-- one customer, the next 4,000 to 200 customers, all others to a customer each. Ids are scattered over the tables, as real ones are.
BEGIN;
INSERT INTO instance_service.odoo_servers (id, name, admin_host, admin_port, default_database, admin_user, secret_name, tenant_host,
                                           tenant_port, capacity, instances, state)
VALUES (md5('server')::uuid, 'crowd', 'postgres2', 5432, 'postgres', 'odoo_admin', 'crowd', 'postgres2', 5432, 1000000, :rows, 'disabled');

INSERT INTO public.instances (id, customer_id, subscription_id, name, odoo_version, instance_type, status, billing_status, provisioning_status,
        admin_email, database_name, subdomain, phase, desired_state, observed_state, revision, hostname, odoo_server_id, db_host, db_port, db_name,
        db_user, service_name, data_dir, mark, internal_url, external_url, error_message, environment_vars, metadata, started_at, created_at, updated_at)
SELECT md5('instance ' || n)::uuid,
       md5('customer ' || CASE WHEN n <= 500 THEN 0 WHEN n <= 4500 THEN 1 + n % 200 ELSE n END)::uuid,
       md5('subscription ' || n)::uuid, 'Shop ' || n, '19', 'production', s.status, 'paid', 'completed',
       'owner@shop-' || n || '.example', 'shop_' || n, 'shop-' || n, 'ready', s.desired, s.observed, 7,
       CASE WHEN s.status <> 'terminated' THEN 'shop-' || n END, md5('server')::uuid, 'postgres2', 5432, 'odoo_' || n, 'odoo_' || n, 'odoo-' || n,
       'odoo-' || n, lpad(to_hex(n), 16, '0'), 'http://odoo-' || n || ':8069', 'https://shop-' || n || '.example',
       CASE WHEN s.status = 'error' THEN 'It did not start' END, '{"WORKERS": "2"}', '{"plan": "business"}',
       now() - n * interval '1 minute', now() - n * interval '2 minutes', now() - n * interval '1 minute'
  FROM generate_series(1, :rows) AS n
  CROSS JOIN LATERAL (SELECT (ARRAY['running', 'running', 'running', 'running', 'running', 'running', 'running', 'stopped', 'terminated', 'error'])[1 + n % 10]) AS w (status)
  CROSS JOIN LATERAL (SELECT w.status,
                             CASE w.status WHEN 'stopped' THEN 'stopped' WHEN 'terminated' THEN 'terminated' ELSE 'running' END,
                             CASE w.status WHEN 'running' THEN 'running' WHEN 'error' THEN 'failed' ELSE 'stopped' END) AS s (status, desired, observed);

-- Three finished operations each, and a few that wait.
INSERT INTO instance_service.operations (id, scope, instance_id, kind, class, def_version, state, percent, plan, created_at, started_at, finished_at)
SELECT md5('operation ' || n || ' ' || k)::uuid, 'instance:' || md5('instance ' || n)::uuid, md5('instance ' || n)::uuid,
       (ARRAY['provision', 'stop', 'start'])[k], CASE k WHEN 1 THEN 'provision' ELSE 'control' END, 1,
       CASE WHEN n % 50 = k THEN 'failed' ELSE 'succeeded' END, 100, '[]', w.at, w.at, w.at + interval '20 seconds'
  FROM generate_series(1, 3) AS k, generate_series(1, :rows) AS n
  CROSS JOIN LATERAL (SELECT now() - (4 - k) * interval '10 days' - n * interval '30 seconds') AS w (at);
INSERT INTO instance_service.operations (id, scope, instance_id, kind, class, def_version, plan)
SELECT md5('waiting ' || n)::uuid, 'instance:' || md5('instance ' || n)::uuid, md5('instance ' || n)::uuid, 'restart', 'control', 1, '[]'
  FROM generate_series(7, :rows, 1000) AS n;
INSERT INTO instance_service.operation_steps (operation_id, step, phase, step_version, position, place, status, lease_token, finished_at)
SELECT id, 'service', 'apply', 1, 0, 'runtime', 'done', 1, finished_at FROM instance_service.operations WHERE kind = 'start';
INSERT INTO instance_service.operation_events (operation_id, event, data, created_at)
SELECT id, 'operation', '{}', created_at FROM instance_service.operations WHERE kind = 'start';
INSERT INTO instance_service.outbox (id, operation_id, instance_id, customer_id, template, variables, state, next_try_at)
SELECT md5('mail ' || id)::uuid, id, instance_id, instance_id, 'instance_ready', '{}',
       CASE WHEN right(id::text, 2) = '00' THEN 'pending' ELSE 'delivered' END, created_at
  FROM instance_service.operations WHERE kind = 'provision';
INSERT INTO instance_service.audit_log (door, actor, instance_id, action)
SELECT 'internal', 'billing', instance_id, kind FROM instance_service.operations;
INSERT INTO instance_service.leases (resource, owner, token, expires_at)
SELECT DISTINCT scope, 'crowd', 1, now() - interval '1 day' FROM instance_service.operations WHERE finished_at IS NOT NULL;
COMMIT;
VACUUM (ANALYZE);
