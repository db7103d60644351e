-- Lists are read newest first.
CREATE INDEX operations_age ON instance_service.operations (seq DESC);
-- A purge erases what mails of its instance say.
CREATE INDEX outbox_instance ON instance_service.outbox (instance_id);
