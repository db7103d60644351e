-- Work that waits for a server that is away: since when, which decides how often it looks; and how long each step lost by it.
ALTER TABLE instance_service.operations ADD COLUMN unreachable_since timestamptz;
ALTER TABLE instance_service.operation_steps ADD COLUMN lost_seconds double precision NOT NULL DEFAULT 0;
