-- What a terminated instance was reached under, so that a reactivation finds it again; and the limits that its service runs with
-- while newer ones wait for the next start.
ALTER TABLE public.instances
    ADD COLUMN released_hostname text,
    ADD COLUMN running_limits    jsonb;
