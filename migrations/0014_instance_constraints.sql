-- What 0003 and 0007 demand of new rows holds for the old ones too. Nobody waits while they are read.
ALTER TABLE public.instances
    VALIDATE CONSTRAINT instances_odoo_server_id_fkey,
    VALIDATE CONSTRAINT instances_status_known,
    VALIDATE CONSTRAINT instances_billing_known,
    VALIDATE CONSTRAINT instances_provisioning_known,
    VALIDATE CONSTRAINT instances_type_known,
    VALIDATE CONSTRAINT instances_tier_known,
    VALIDATE CONSTRAINT instances_phase_known,
    VALIDATE CONSTRAINT instances_desired_known,
    VALIDATE CONSTRAINT instances_suspension_known,
    VALIDATE CONSTRAINT instances_resume_known,
    VALIDATE CONSTRAINT instances_observed_known,
    VALIDATE CONSTRAINT instances_host_of_live,
    VALIDATE CONSTRAINT instances_placement_whole;
