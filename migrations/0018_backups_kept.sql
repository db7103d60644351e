-- What a backup's manifest says of it, so that nobody has to read the store to answer, and when it was last loaded to see that it can be.
ALTER TABLE instance_service.backups
    ADD COLUMN summary   jsonb,
    ADD COLUMN proven_at timestamptz;

-- The newest whole backup of an instance, and those that are to go.
CREATE INDEX backups_whole ON instance_service.backups (instance_id, completed_at DESC) WHERE state = 'completed';
CREATE INDEX backups_deleting ON instance_service.backups (instance_id) WHERE state = 'deleting';

-- Instances that have a schedule of their own; the others have the configured one.
CREATE TABLE instance_service.backup_schedules (
    instance_id uuid PRIMARY KEY,
    enabled     boolean NOT NULL,
    hour        smallint NOT NULL CHECK (hour BETWEEN 0 AND 23),
    timezone    text NOT NULL,                           -- IANA name
    daily       integer NOT NULL CHECK (daily >= 0),
    weekly      integer NOT NULL CHECK (weekly >= 0),
    monthly     integer NOT NULL CHECK (monthly >= 0),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Instances that begin as a copy of another one: of a backup that was chosen, or of one that is taken for it.
CREATE TABLE instance_service.clones (
    instance_id      uuid PRIMARY KEY,
    source_id        uuid NOT NULL,
    backup_id        uuid,
    backup_operation uuid,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (num_nonnulls(backup_id, backup_operation) > 0)
);
CREATE INDEX clones_backup ON instance_service.clones (backup_id);
