//! Claiming an operation: the lease of its scope, a higher token, and the row (engine 7).
//!
//! Locks are taken in one order everywhere, so that nobody deadlocks: instance, operation, lease.

use crate::error::DbResult;
use crate::platform::operation_view::OperationView;
use crate::platform::operations::{Fault, Operation, PlannedStep};
use crate::platform::{LockClass, PlatformDb, PlatformTx, events, journal, record};
use domain::ids::OperationId;
use domain::operation::{Kind, State};
use journal::JournalStep;
use sqlx::types::Json;
use std::time::{Duration, Instant};

/// Claims in a row without any recorded outcome, after which an operation is set aside: it kills its workers (engine 8).
pub const CLAIM_LIMIT: i32 = 5;

/// Who claims, and what it can do.
#[derive(Clone, Debug)]
pub struct Claimant {
    /// Name of this start of this process.
    pub owner: String,
    /// How long the lease holds without renewal.
    pub ttl: Duration,
    /// What this worker has code for.
    pub known: Vec<Known>,
    /// Most operations of one customer that run at once, by class.
    pub share: i64,
}

/// A definition that a worker has code for.
#[derive(Clone, Debug)]
pub struct Known {
    /// What it does.
    pub kind: Kind,
    /// Which definition of it.
    pub version: i32,
    /// Its steps.
    pub plan: Vec<PlannedStep>,
    /// Longest time from the first claim on, if there is a limit.
    pub limit: Option<Duration>,
}

/// The right to write one operation: every write names the token and the number of the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The operation.
    pub operation: OperationId,
    /// The token of our lease.
    pub token: i64,
    /// Our last write; the next one raises it.
    pub write_no: i64,
}

/// A claimed operation.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The row.
    pub operation: Operation,
    /// The right to write it.
    pub fence: Fence,
    /// What was done so far.
    pub journal: Vec<JournalStep>,
    /// Time left until the deadline, by the database's clock; negative when it has passed.
    pub seconds_left: Option<f64>,
    /// A predecessor held it and went silent.
    pub taken_over: bool,
    /// A moment before the lease was taken: from then on it can be trusted for no longer than it lasts.
    pub taken_at: Instant,
}

/// What became of a claim.
#[derive(Clone, Debug)]
pub enum Claimed {
    /// Held elsewhere, finished, not due, not its turn, or unknown to us: nothing was written.
    NotOurs,
    /// Five claims went silent: it waits for an operator now.
    Quarantined(Box<Operation>),
    /// Ours.
    Ours(Box<Claim>),
}

/// Definitions of unfinished operations that this worker has no code for, with how many there are: left by a newer release, or
/// by an older one whose definition was dropped too early (engine 9, rule 8).
///
/// # Errors
/// Database errors only.
pub async fn unknown_to(db: &PlatformDb, me: &Claimant) -> DbResult<Vec<(String, i32, i64)>> {
    let (kinds, versions) = names(&me.known);
    let rows = sqlx::query!(
        r#"SELECT kind, def_version, count(*) AS "count!" FROM instance_service.operations
            WHERE state IN ('queued', 'running', 'waiting')
              AND (kind, def_version) NOT IN (SELECT * FROM unnest($1::text[], $2::int[]))
            GROUP BY kind, def_version"#,
        &kinds,
        &versions
    )
    .fetch_all(db.pool())
    .await?;
    Ok(rows.into_iter().map(|row| (row.kind, row.def_version, row.count)).collect())
}

/// Kinds and definition versions.
pub(crate) fn names(known: &[Known]) -> (Vec<String>, Vec<i32>) {
    known.iter().map(|known| (known.kind.to_string(), known.version)).unzip()
}

/// Tries to take an operation. On [`Claimed::NotOurs`] the caller rolls back.
///
/// # Errors
/// Database errors only.
pub async fn claim(tx: &mut PlatformTx, id: OperationId, me: &Claimant) -> DbResult<Claimed> {
    let target = match lock_in_order(tx, id).await {
        Ok(Some(target)) => target,
        // Somebody is at work on it, or stands still there: the sweeper comes back to it.
        Err(error) if error.is_lock_timeout() => return Ok(Claimed::NotOurs),
        other => match other? {
            Some(target) => target,
            None => return Ok(Claimed::NotOurs),
        },
    };
    let taken_at = Instant::now();
    let Some((operation, token, seconds_left)) = take(tx, id, &target, me).await? else { return Ok(Claimed::NotOurs) };
    // What was never claimed has no journal.
    let journal = if target.state == State::Queued { Vec::new() } else { journal::of(tx.conn(), id).await? };
    if operation.claims > CLAIM_LIMIT {
        return quarantine(tx, &operation, &journal).await;
    }
    let fence = Fence { operation: id, token, write_no: operation.write_no };
    let taken_over = target.state == State::Running;
    Ok(Claimed::Ours(Box::new(Claim { operation, fence, journal, seconds_left, taken_over, taken_at })))
}

struct Target {
    scope: String,
    kind: String,
    version: i32,
    state: State,
    customer: Option<uuid::Uuid>,
}

/// Locks instance and operation, in this order. First claims of one customer go one by one, or two of them could both find the
/// last free place of its share. No wait is long: whoever waits here has a slot that others need.
async fn lock_in_order(tx: &mut PlatformTx, id: OperationId) -> DbResult<Option<Target>> {
    // One statement for three waits, each of which needs what the one before it found.
    let row = sqlx::query!(
        r#"WITH asked AS MATERIALIZED (
               SELECT i.customer_id, o.instance_id, o.state = 'queued' AS queued, set_config('lock_timeout', '2s', true) AS patience
                 FROM instance_service.operations o LEFT JOIN public.instances i ON i.id = o.instance_id
                WHERE o.id = $1 AND o.state IN ('queued', 'running', 'waiting')),
           customer AS MATERIALIZED (
               SELECT instance_id, CASE WHEN queued AND customer_id IS NOT NULL
                                        THEN pg_advisory_xact_lock($2, hashtext(customer_id::text)) END
                 FROM asked),
           instance AS MATERIALIZED (
               SELECT id FROM public.instances WHERE id = (SELECT instance_id FROM customer) FOR NO KEY UPDATE)
           SELECT customer_id AS "customer_id?", patience, (SELECT count(*) FROM instance) AS instances FROM asked"#,
        id.as_uuid(),
        LockClass::Customer as i32
    )
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else { return Ok(None) };
    // A statement of its own: only the next one sees what was committed while this one waited.
    let locked = sqlx::query!(
        r#"SELECT scope, kind, def_version, to_jsonb(state) AS "state!: Json<State>" FROM instance_service.operations WHERE id = $1 FOR UPDATE"#,
        id.as_uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(Some(Target {
        scope: locked.scope,
        kind: locked.kind,
        version: locked.def_version,
        state: locked.state.0,
        customer: row.customer_id,
    }))
}

/// Lease and row at once, when both are to be had: the row, the lease's new token, and the seconds until the deadline. At the first
/// claim the row gets what the saga is going to do: the plan, the start, the deadline. What waited for a server also gets back the time
/// for which it had been due and no worker took it.
async fn take(
    tx: &mut PlatformTx,
    id: OperationId,
    target: &Target,
    me: &Claimant,
) -> DbResult<Option<(Operation, i64, Option<f64>)>> {
    let known = |known: &&Known| known.kind.as_str() == target.kind && known.version == target.version;
    let Some(known) = me.known.iter().find(known) else { return Ok(None) };
    let row = sqlx::query!(
        r#"WITH lease AS (
               INSERT INTO instance_service.leases AS l (resource, owner, token, expires_at)
               VALUES ($2, $3, 1, clock_timestamp() + make_interval(secs => $4))
               ON CONFLICT (resource) DO UPDATE
                  SET owner = excluded.owner, token = l.token + 1, expires_at = excluded.expires_at, renewed_at = clock_timestamp()
                WHERE l.expires_at < clock_timestamp()
               RETURNING token)
           UPDATE instance_service.operations o
              SET state = 'running', lease_token = lease.token, claims = o.claims + 1,
                  plan = CASE WHEN o.started_at IS NULL THEN $7 ELSE o.plan END,
                  deadline_at = CASE WHEN o.started_at IS NULL AND o.deadline_at IS NULL
                                     THEN clock_timestamp() + make_interval(secs => $8)
                                     WHEN o.state = 'waiting' AND o.unreachable_since IS NOT NULL
                                     THEN o.deadline_at + (clock_timestamp() - o.next_run_at) ELSE o.deadline_at END,
                  started_at = coalesce(o.started_at, clock_timestamp())
             FROM lease
            WHERE o.id = $1 AND o.next_run_at <= clock_timestamp()
              AND EXISTS (SELECT FROM instance_service.operations_ready r WHERE r.id = o.id)
              AND (o.state <> 'queued' OR $5::uuid IS NULL
                   OR (SELECT count(*) FROM instance_service.operations r JOIN public.instances i ON i.id = r.instance_id
                        WHERE r.state = 'running' AND r.class = o.class AND i.customer_id = $5) < $6)
        RETURNING to_jsonb(o) AS "operation!: Json<Operation>", lease.token AS "token!",
                  extract(epoch FROM o.deadline_at - clock_timestamp())::float8 AS seconds_left"#,
        id.as_uuid(),
        target.scope,
        me.owner,
        me.ttl.as_secs_f64(),
        target.customer,
        me.share,
        serde_json::json!(known.plan),
        known.limit.map(|limit| limit.as_secs_f64())
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| (row.operation.0, row.token, row.seconds_left)))
}

/// Gives a claimed operation so long from its start on, instead of the limit of its definition.
///
/// # Errors
/// Database errors only.
pub async fn allow(tx: &mut PlatformTx, claim: &mut Claim, limit: Duration) -> DbResult<()> {
    let row = sqlx::query!(
        r#"UPDATE instance_service.operations SET deadline_at = greatest(deadline_at, started_at + make_interval(secs => $2))
            WHERE id = $1 RETURNING deadline_at, extract(epoch FROM deadline_at - clock_timestamp())::float8 AS seconds_left"#,
        claim.operation.id.as_uuid(),
        limit.as_secs_f64()
    )
    .fetch_one(tx.conn())
    .await?;
    (claim.operation.deadline_at, claim.seconds_left) = (row.deadline_at, row.seconds_left);
    Ok(())
}

async fn quarantine(tx: &mut PlatformTx, operation: &Operation, journal: &[JournalStep]) -> DbResult<Claimed> {
    let cause = format!("{CLAIM_LIMIT} claims in a row ended without a word, the last in step {:?}", operation.current_step);
    let fault = match operation.error.clone() {
        Some(first) => Fault { cause: format!("{}; then {cause}", first.cause), ..first },
        None => Fault {
            code: "worker_lost".to_owned(),
            message: "The operation was interrupted too often; an operator will look at it.".to_owned(),
            cause,
        },
    };
    let Json(stopped) = sqlx::query_scalar!(
        r#"UPDATE instance_service.operations o
              SET state = 'needs_attention', error = $2, claims = 0, write_no = write_no + 1
            WHERE id = $1 RETURNING to_jsonb(o) AS "operation!: Json<Operation>""#,
        operation.id.as_uuid(),
        Json(fault) as _
    )
    .fetch_one(tx.conn())
    .await?;
    events::tell(tx, stopped.id, None, &OperationView::new(&stopped, journal, None)).await?;
    record::wake_head(tx, &stopped.scope).await?;
    sqlx::query!("UPDATE instance_service.leases SET expires_at = '-infinity' WHERE resource = $1", stopped.scope)
        .execute(tx.conn())
        .await?;
    Ok(Claimed::Quarantined(Box::new(stopped)))
}
