-- Which backups copies wait for: those that an operation takes for them are kept for them as well.
CREATE INDEX clones_operation ON instance_service.clones (backup_operation);
