//! Finding operations that are due and owned by nobody, and waking them (engine 13). Repairs lost, killed and stuck wake-ups
//! alike. Any number of processes may sweep at once.

use crate::error::DbResult;
use crate::platform::PlatformDb;
use crate::platform::claims::{self, Claimant};
use crate::queue;
use domain::ids::OperationId;

/// How many operations one sweep wakes at most.
const BATCH: i64 = 100;

/// Wakes what this worker knows how to do, is due, has no live lease and no pending wake-up, and was not woken for three
/// seconds. Of each customer only as many as its share leaves room for, the least recently served first.
///
/// # Errors
/// Database errors only.
pub async fn sweep(db: &PlatformDb, me: &Claimant) -> DbResult<u64> {
    let mut tx = db.begin().await?;
    let (kinds, versions) = claims::names(&me.known);
    let due = sqlx::query_scalar!(
        r#"WITH due AS (
               SELECT o.id, o.state, o.class, o.priority, o.seq, i.customer_id,
                      row_number() OVER (PARTITION BY o.class, i.customer_id, o.state = 'queued' ORDER BY o.priority DESC, o.seq) AS turn
                 FROM instance_service.operations o
                 JOIN instance_service.operations_ready r ON r.id = o.id
                 LEFT JOIN public.instances i ON i.id = o.instance_id
                WHERE o.state IN ('queued', 'running', 'waiting')
                  AND o.next_run_at <= clock_timestamp()
                  AND (o.woken_at IS NULL OR o.woken_at < clock_timestamp() - interval '3 seconds')
                  AND (o.kind, o.def_version) IN (SELECT * FROM unnest($1::text[], $2::int[]))
                  AND NOT EXISTS (SELECT FROM instance_service.leases l WHERE l.resource = o.scope AND l.expires_at > clock_timestamp())
                  AND NOT EXISTS (SELECT FROM apalis.jobs j WHERE j.job_type = o.class AND j.status = 'Pending'
                                     AND j.idempotency_key = o.id || ':' || o.wake_no)),
           served AS (
               SELECT c.customer_id,
                      (SELECT max(o.started_at) FROM public.instances i JOIN instance_service.operations o ON o.instance_id = i.id
                        WHERE i.customer_id = c.customer_id) AS last
                 FROM (SELECT DISTINCT customer_id FROM due WHERE customer_id IS NOT NULL) c),
           busy AS (
               SELECT o.class, i.customer_id, count(*) AS running
                 FROM instance_service.operations o JOIN public.instances i ON i.id = o.instance_id
                WHERE o.state = 'running' GROUP BY 1, 2)
           SELECT o.id FROM instance_service.operations o
             JOIN due d ON d.id = o.id
             LEFT JOIN served s ON s.customer_id = d.customer_id
             LEFT JOIN busy b ON b.class = d.class AND b.customer_id = d.customer_id
            WHERE d.state <> 'queued' OR d.customer_id IS NULL OR d.turn + coalesce(b.running, 0) <= $3
            ORDER BY s.last NULLS FIRST, d.priority DESC, d.seq
            LIMIT $4 FOR UPDATE OF o SKIP LOCKED"#,
        &kinds,
        &versions,
        me.share,
        BATCH
    )
    .fetch_all(tx.conn())
    .await?;
    let due: Vec<OperationId> = due.into_iter().map(OperationId::from_uuid).collect();
    if due.is_empty() {
        return Ok(0);
    }
    let woken = queue::wake(&mut tx, &due).await?;
    tx.commit().await?;
    Ok(woken)
}
