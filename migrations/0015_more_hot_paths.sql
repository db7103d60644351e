-- Found by the plans of what is asked (crates/db/tests/platform/plans.rs): failed operations, and sealed mails to be erased.
CREATE INDEX operations_failed ON instance_service.operations (seq DESC) WHERE state = 'failed';
CREATE INDEX outbox_secrets ON instance_service.outbox (created_at) WHERE secret IS NOT NULL;
