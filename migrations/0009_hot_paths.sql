-- What is asked at every order, every delete and every scrape, of tables that only grow.
CREATE INDEX operations_deletes ON instance_service.operations (created_at) WHERE kind = 'delete';
CREATE INDEX operations_finished ON instance_service.operations (finished_at);
CREATE INDEX operations_unfinished ON instance_service.operations (kind, state) WHERE finished_at IS NULL;
