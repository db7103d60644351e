-- The billing engine's own events (contract 19.3): kept before they are answered, worked off afterwards. The limits are what the
-- subscription last said, so that a change of plan is told from a change that somebody made here.
CREATE TABLE instance_service.webhook_events (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_type  text NOT NULL,
    object_id   uuid NOT NULL,                  -- subscription, invoice or account, by the type
    account_id  uuid,
    metadata    jsonb,
    dedupe_key  text UNIQUE,                    -- empty once an equal event counts as a new one
    lasting     boolean NOT NULL,               -- its key holds for ever, not for a minute
    received    integer NOT NULL DEFAULT 1,     -- how often it came
    state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'ignored', 'dead')),
    attempts    integer NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    give_up_at  timestamptz NOT NULL DEFAULT clock_timestamp() + interval '24 hours',
    last_error  text,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
);
CREATE INDEX webhook_events_due ON instance_service.webhook_events (next_try_at) WHERE state = 'pending';
CREATE INDEX webhook_events_finished ON instance_service.webhook_events (finished_at) WHERE state <> 'pending';

ALTER TABLE public.instances ADD COLUMN billed_limits jsonb;
