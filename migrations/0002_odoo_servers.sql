-- The registry of Odoo servers (every postgres2). The admin password never enters it: only the name of a secret that the worker resolves.
CREATE TABLE instance_service.odoo_servers (
    id                uuid PRIMARY KEY,
    name              text NOT NULL UNIQUE,
    tier              text NOT NULL DEFAULT 'shared' CHECK (tier IN ('shared', 'dedicated')),
    admin_host        text NOT NULL,
    admin_port        integer NOT NULL,
    default_database  text NOT NULL,
    admin_user        text NOT NULL,
    secret_name       text NOT NULL,
    tenant_host       text NOT NULL,
    tenant_port       integer NOT NULL,
    separated         boolean NOT NULL DEFAULT true,
    system_identifier bigint,
    capacity          integer NOT NULL DEFAULT 1000 CHECK (capacity >= 0),
    instances         integer NOT NULL DEFAULT 0 CHECK (instances >= 0),
    state             text NOT NULL DEFAULT 'probing'
                      CHECK (state IN ('probing', 'active', 'full', 'draining', 'maintenance', 'disabled', 'legacy')),
    healthy           boolean,
    latency_ms        integer,
    version           text,
    checked_at        timestamptz,
    error             text,
    deviations        jsonb NOT NULL DEFAULT '[]',
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
