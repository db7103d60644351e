-- The archives of a backup, the newest first: each call that fetches one asks for them.
CREATE INDEX operations_exports ON instance_service.operations (scope, seq DESC) WHERE kind = 'export';
