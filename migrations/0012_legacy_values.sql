-- no-transaction
-- Old spellings become ours, 200 rows in a transaction: the earlier service waits for no more than these (ADR 0006). What a run that
-- was ended left over, the next one finds.
DO $$
DECLARE
    low  uuid;
    high uuid;
BEGIN
    FOR low, high IN
        SELECT id, lead(id, 1, 'ffffffff-ffff-ffff-ffff-ffffffffffff') OVER (ORDER BY id)
          FROM (SELECT id, row_number() OVER (ORDER BY id) AS number FROM public.instances WHERE phase IS NULL) AS numbered
         WHERE number % 200 = 1
    LOOP
        UPDATE public.instances SET odoo_version = split_part(odoo_version, '.', 1)
         WHERE id BETWEEN low AND high AND phase IS NULL AND odoo_version ~ '^[0-9]+\.0$';
        UPDATE public.instances SET billing_status = 'payment_required'
         WHERE id BETWEEN low AND high AND phase IS NULL AND billing_status = 'pending_payment';
        UPDATE public.instances SET provisioning_status = 'completed'
         WHERE id BETWEEN low AND high AND phase IS NULL AND provisioning_status IN ('pending', 'provisioning')
           AND status IN ('running', 'stopping', 'stopped', 'restarting', 'paused', 'maintenance', 'updating', 'container_missing')
           AND (db_host IS NOT NULL OR service_name IS NOT NULL OR service_id IS NOT NULL);
        COMMIT;
    END LOOP;
END $$;
