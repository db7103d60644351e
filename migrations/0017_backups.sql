-- The catalogue of backups (contract 14.1 and 16): what is in the store, and by which manifest it is known. A backup outlives
-- what it was taken of, so that nothing refers to the row of the instance.
CREATE TABLE instance_service.backups (
    id              uuid PRIMARY KEY,
    instance_id     uuid NOT NULL,
    customer_id     uuid NOT NULL,
    operation_id    uuid NOT NULL,
    name            text NOT NULL,
    origin          text NOT NULL CHECK (origin IN ('requested', 'scheduled', 'before_restore', 'before_update', 'final', 'imported')),
    state           text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'completed', 'failed', 'deleting')),
    odoo_version    text NOT NULL,
    database_bytes  bigint CHECK (database_bytes >= 0),  -- on its server
    files_count     bigint CHECK (files_count >= 0),
    files_bytes     bigint CHECK (files_bytes >= 0),     -- of the filestore
    stored_bytes    bigint CHECK (stored_bytes >= 0),    -- in the store, without what it shares
    new_bytes       bigint CHECK (new_bytes >= 0),       -- sent to the store when it was taken
    attempt         bigint,                              -- whose manifest counts, and under which number its parts are
    manifest_sha256 bytea CHECK (octet_length(manifest_sha256) = 32),
    error           text,                                -- in words for the customer
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    completed_at    timestamptz,
    verified_at     timestamptz,                         -- all of it was compared
    CHECK (state <> 'completed' OR (num_nulls(attempt, manifest_sha256, completed_at) = 0))
);
CREATE INDEX backups_instance ON instance_service.backups (instance_id, created_at DESC, id);
CREATE UNIQUE INDEX backups_operation ON instance_service.backups (operation_id, origin);

-- What restores have replaced, for as long as there is a way back: the database under its new name, and the directory beside the live one.
CREATE TABLE instance_service.replaced_data (
    instance_id  uuid NOT NULL,
    operation_id uuid NOT NULL,
    server_id    uuid NOT NULL REFERENCES instance_service.odoo_servers (id),
    db_name      text NOT NULL,
    db_oid       bigint NOT NULL,
    number       integer NOT NULL,                       -- of the directory that was kept
    replaced_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    keep_until   timestamptz NOT NULL,
    PRIMARY KEY (instance_id, number)
);
CREATE INDEX replaced_data_due ON instance_service.replaced_data (keep_until);
