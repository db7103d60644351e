-- Mails that were given up, among all that were ever sent: listed for operators, counted at each scrape.
CREATE INDEX outbox_dead ON instance_service.outbox (created_at DESC, id) WHERE state = 'dead';
