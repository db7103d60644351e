-- Durable operations, their journal, their leases and their event stream.
CREATE TABLE instance_service.operations (
    id                  uuid PRIMARY KEY,
    scope               text NOT NULL,                 -- instance:<id>, template:<server>:<version>:<demo>, own:<operation id>
    instance_id         uuid REFERENCES public.instances (id),
    seq                 bigint GENERATED ALWAYS AS IDENTITY,
    kind                text NOT NULL,
    class               text NOT NULL CHECK (class IN ('control', 'provision', 'backup', 'maintenance')),
    def_version         integer NOT NULL,
    params              jsonb NOT NULL DEFAULT '{}',
    state               text NOT NULL DEFAULT 'queued'
                        CHECK (state IN ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled', 'needs_attention')),
    direction           text NOT NULL DEFAULT 'forward' CHECK (direction IN ('forward', 'undo')),
    priority            smallint NOT NULL DEFAULT 0,
    lease_token         bigint,
    claims              integer NOT NULL DEFAULT 0,    -- claims in a row without any recorded outcome
    attempts            integer NOT NULL DEFAULT 0,    -- whole attempts used
    max_attempts        integer NOT NULL DEFAULT 3,
    next_run_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    deadline_at         timestamptz,
    cancel_requested_at timestamptz,
    cancel_reason       text,
    preempted_by        text,                          -- kind of the operation that it makes way for
    past_return         boolean NOT NULL DEFAULT false, -- past the point of no return: a cancel is no longer obeyed
    wake_no             integer NOT NULL DEFAULT 0,
    woken_at            timestamptz,
    write_no            bigint NOT NULL DEFAULT 0,     -- rises with each write of the lease holder: tells whether a COMMIT without an answer happened
    plan                jsonb NOT NULL DEFAULT '[]',   -- the steps of the saga, written at the first claim
    percent             smallint NOT NULL DEFAULT 0 CHECK (percent BETWEEN 0 AND 100),
    current_step        text,
    error               jsonb,                         -- {code, message} for the customer, {cause} for us
    result              jsonb,
    trace_parent        text,
    request_id          text,
    door                text NOT NULL DEFAULT 'internal',
    actor               text NOT NULL DEFAULT '',
    reason              text,
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at          timestamptz,
    finished_at         timestamptz
);
CREATE UNIQUE INDEX operations_one_active ON instance_service.operations (scope) WHERE state IN ('running', 'waiting');
CREATE INDEX operations_queue ON instance_service.operations (scope, priority DESC, seq) WHERE state = 'queued';
CREATE INDEX operations_due ON instance_service.operations (next_run_at) WHERE state IN ('queued', 'running', 'waiting');
CREATE INDEX operations_open ON instance_service.operations (scope) WHERE state IN ('queued', 'running', 'waiting', 'needs_attention');
CREATE INDEX operations_instance ON instance_service.operations (instance_id, seq DESC);

-- What may run now, apart from time, lease and a tenant's share: the active operation of a scope, else the head of its queue.
-- An operation that needs attention blocks its scope, but closing access is always safe.
CREATE VIEW instance_service.operations_ready AS
SELECT o.id
  FROM instance_service.operations o
 WHERE o.state IN ('running', 'waiting')
    OR (o.state = 'queued'
        AND NOT EXISTS (SELECT FROM instance_service.operations a WHERE a.scope = o.scope AND a.state IN ('running', 'waiting'))
        AND NOT EXISTS (SELECT FROM instance_service.operations q
                         WHERE q.scope = o.scope AND q.state = 'queued' AND (q.priority, -q.seq) > (o.priority, -o.seq))
        AND (o.kind IN ('suspend', 'terminate', 'delete')
             OR NOT EXISTS (SELECT FROM instance_service.operations n WHERE n.scope = o.scope AND n.state = 'needs_attention')));

CREATE TABLE instance_service.operation_steps (
    operation_id uuid NOT NULL REFERENCES instance_service.operations (id) ON DELETE CASCADE,
    step         text NOT NULL,
    phase        text NOT NULL CHECK (phase IN ('apply', 'undo')),
    step_version integer NOT NULL,
    position     smallint NOT NULL,
    place        text NOT NULL,
    status       text NOT NULL CHECK (status IN ('started', 'done', 'failed', 'skipped')),
    attempt      integer NOT NULL DEFAULT 0,
    output       jsonb,
    error        jsonb,
    lease_token  bigint NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at  timestamptz,
    PRIMARY KEY (operation_id, step, phase)
);

-- Renewed every two seconds: narrow and alone, so that it does not bloat operations. A token never goes back.
CREATE TABLE instance_service.leases (
    resource   text PRIMARY KEY,
    owner      text NOT NULL,
    token      bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    renewed_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

CREATE TABLE instance_service.operation_events (
    operation_id uuid NOT NULL REFERENCES instance_service.operations (id) ON DELETE CASCADE,
    seq          bigint GENERATED ALWAYS AS IDENTITY,
    event        text NOT NULL CHECK (event IN ('operation', 'step')),
    data         jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (operation_id, seq)
);
CREATE INDEX operation_events_age ON instance_service.operation_events (created_at);
