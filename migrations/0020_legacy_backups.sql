-- Backups of the earlier service (contract 16.2): they lie where it left them, in a form of their own and without a manifest. `legacy` says which
-- files those are and what they held when they were entered. No operation took them.
ALTER TABLE instance_service.backups
    ADD COLUMN legacy jsonb,
    ALTER COLUMN operation_id DROP NOT NULL,
    DROP CONSTRAINT backups_check,
    ADD CONSTRAINT backups_check CHECK (
        state <> 'completed' OR completed_at IS NOT NULL AND (legacy IS NOT NULL OR num_nulls(attempt, manifest_sha256) = 0));

-- Each is entered once, and found by its old name.
CREATE UNIQUE INDEX backups_legacy ON instance_service.backups ((legacy ->> 'name')) WHERE legacy IS NOT NULL;
