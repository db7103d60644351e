-- Audit, outbox, idempotency, templates, settings and heartbeats.
CREATE TABLE instance_service.audit_log (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    door        text NOT NULL,
    actor       text NOT NULL,
    request_id  text,
    instance_id uuid,
    operation_id uuid,
    action      text NOT NULL,
    from_status text,
    to_status   text,
    details     jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_instance ON instance_service.audit_log (instance_id, id);

CREATE TABLE instance_service.outbox (
    id            uuid PRIMARY KEY,
    operation_id  uuid NOT NULL REFERENCES instance_service.operations (id),
    instance_id   uuid,
    customer_id   uuid NOT NULL,
    template      text NOT NULL,
    variables     jsonb NOT NULL,
    secret        bytea,                        -- encrypted variables; erased after delivery or after 7 days
    tags          jsonb NOT NULL DEFAULT '[]',
    state         text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts      integer NOT NULL DEFAULT 0,
    next_try_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    give_up_at    timestamptz NOT NULL DEFAULT clock_timestamp() + interval '24 hours',
    last_error    text,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at  timestamptz,
    UNIQUE (operation_id, template)
);
CREATE INDEX outbox_due ON instance_service.outbox (next_try_at) WHERE state = 'pending';

CREATE TABLE instance_service.idempotency_keys (
    scope        text NOT NULL,                 -- door, caller, method and path
    key          text NOT NULL,
    body_hash    bytea NOT NULL,
    status       smallint NOT NULL,
    body         jsonb NOT NULL,
    operation_id uuid,
    expires_at   timestamptz NOT NULL DEFAULT clock_timestamp() + interval '24 hours',
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_keys_expiry ON instance_service.idempotency_keys (expires_at);

CREATE TABLE instance_service.templates (
    id           uuid PRIMARY KEY,
    server_id    uuid NOT NULL REFERENCES instance_service.odoo_servers (id),
    odoo_version smallint NOT NULL,
    demo_data    boolean NOT NULL,
    state        text NOT NULL CHECK (state IN ('building', 'ready', 'broken', 'retired')),
    db_name      text NOT NULL,
    db_oid       bigint,
    content_role text NOT NULL,
    mark         text NOT NULL,
    directory    text NOT NULL,                 -- holds the template's filestore
    image        text NOT NULL,
    operation_id uuid REFERENCES instance_service.operations (id),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    ready_at     timestamptz,
    UNIQUE (server_id, db_name)
);
CREATE UNIQUE INDEX templates_one_ready ON instance_service.templates (server_id, odoo_version, demo_data) WHERE state = 'ready';
CREATE UNIQUE INDEX templates_one_building ON instance_service.templates (server_id, odoo_version, demo_data) WHERE state = 'building';

CREATE TABLE instance_service.settings (
    name       text PRIMARY KEY,
    value      jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE instance_service.monitor_state (
    name       text PRIMARY KEY,               -- one row a loop: what it last did
    value      jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE instance_service.worker_heartbeats (
    worker     text PRIMARY KEY,
    host       text NOT NULL,
    version    text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    beat_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    details    jsonb NOT NULL DEFAULT '{}'
);
