//! Events of the billing engine: kept before they are answered, worked off afterwards (contract 19.3).
//!
//! Owns: their rows, which event repeats an earlier one, when one is tried again, when it is given up; and what the subscription of an
//! instance said last about its limits. Leaves to others: what an event means (`domain::billing_event`) and leads to
//! (`worker::billing`).
//!
//! An event that comes again is the same row. It is due again all the same: what it is about may have changed since, and looking once
//! more does no harm.

use crate::error::DbResult;
use crate::platform::{PlatformDb, PlatformTx};
use domain::billing_event::{BillingEvent, EventType};
use domain::ids::{InstanceId, SubscriptionId};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// How long a key holds that is made of nothing but the fields: some events legitimately repeat.
const SAME: Duration = Duration::from_secs(60);
/// How long finished events are kept.
const KEEP: Duration = Duration::from_secs(30 * 24 * 3600);

/// What tells an event from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DedupeKey {
    /// For ever: it names a fact that happens once.
    Lasting(String),
    /// For a minute: it is all that the event says.
    Brief(String),
}

/// An event that is due.
#[derive(Clone, Debug)]
pub struct DueEvent {
    /// Constant over all attempts.
    pub id: i64,
    /// Its type; none if a later release wrote it.
    pub kind: Option<EventType>,
    /// What it names.
    pub object: Uuid,
    /// This attempt's number, from 1.
    pub attempt: i32,
    /// How often it had come when it was taken.
    pub received: i32,
}

/// Keeps an event. `false`: it is one that came before.
///
/// # Errors
/// Database errors only; it is not kept then.
pub async fn receive(db: &PlatformDb, event: &BillingEvent, key: &DedupeKey) -> DbResult<bool> {
    let (key, lasting) = match key {
        DedupeKey::Lasting(key) => (key, true),
        DedupeKey::Brief(key) => (key, false),
    };
    let mut tx = db.begin().await?;
    tx.wait_briefly().await?;
    sqlx::query!(
        "UPDATE instance_service.webhook_events SET dedupe_key = NULL
          WHERE dedupe_key = $1 AND NOT lasting AND received_at < clock_timestamp() - make_interval(secs => $2)",
        key,
        SAME.as_secs_f64(),
    )
    .execute(tx.conn())
    .await?;
    let received = sqlx::query_scalar!(
        "INSERT INTO instance_service.webhook_events AS e (event_type, object_id, account_id, metadata, dedupe_key, lasting)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (dedupe_key) DO UPDATE
            SET received = e.received + 1, state = 'pending', finished_at = NULL,
                attempts = CASE e.state WHEN 'pending' THEN e.attempts ELSE 0 END,
                next_try_at = CASE e.state WHEN 'pending' THEN e.next_try_at ELSE clock_timestamp() END,
                give_up_at = clock_timestamp() + interval '24 hours'
         RETURNING received",
        event.kind.as_str(),
        event.object,
        event.account,
        Value::Object(event.metadata.clone()),
        key,
        lasting,
    )
    .fetch_one(tx.conn())
    .await?;
    tx.commit().await?;
    Ok(received == 1)
}

/// Takes up to `limit` due events for one attempt. Nobody else gets them within `hold`; a worker that dies is so replaced.
///
/// # Errors
/// Database errors only.
pub async fn claim_due(db: &PlatformDb, limit: i64, hold: Duration) -> DbResult<Vec<DueEvent>> {
    let rows = sqlx::query!(
        "UPDATE instance_service.webhook_events AS e
            SET attempts = e.attempts + 1, next_try_at = clock_timestamp() + make_interval(secs => $2)
           FROM (SELECT id FROM instance_service.webhook_events
                  WHERE state = 'pending' AND next_try_at <= clock_timestamp()
                  ORDER BY next_try_at, id LIMIT $1 FOR UPDATE SKIP LOCKED) AS due
          WHERE e.id = due.id
      RETURNING e.id, e.event_type, e.object_id, e.attempts, e.received",
        limit,
        hold.as_secs_f64(),
    )
    .fetch_all(db.pool())
    .await?;
    let due = rows.into_iter().map(|row| DueEvent {
        id: row.id,
        kind: EventType::parse(&row.event_type),
        object: row.object_id,
        attempt: row.attempts,
        received: row.received,
    });
    Ok(due.collect())
}

/// How an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What it is about was looked at.
    Done,
    /// It is about nothing that we know.
    Ignored,
}

/// The event is worked off, unless it came again meanwhile: then it is due at once.
///
/// # Errors
/// Database errors only.
pub async fn finish(db: &PlatformDb, event: &DueEvent, end: End) -> DbResult<()> {
    let word = match end {
        End::Done => "done",
        End::Ignored => "ignored",
    };
    sqlx::query!(
        "UPDATE instance_service.webhook_events
            SET state = CASE WHEN received = $2 THEN $3 ELSE 'pending' END,
                finished_at = CASE WHEN received = $2 THEN clock_timestamp() END,
                attempts = CASE WHEN received = $2 THEN attempts ELSE 0 END,
                next_try_at = clock_timestamp(), last_error = NULL
          WHERE id = $1 AND state = 'pending'",
        event.id,
        event.received,
        word,
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// It was not the event's turn: it is due again after `pause`, and this was no attempt.
///
/// # Errors
/// Database errors only.
pub async fn put_off(db: &PlatformDb, event: &DueEvent, pause: Duration) -> DbResult<()> {
    sqlx::query!(
        "UPDATE instance_service.webhook_events
            SET attempts = greatest(attempts - 1, 0), next_try_at = clock_timestamp() + make_interval(secs => $2)
          WHERE id = $1 AND state = 'pending'",
        event.id,
        pause.as_secs_f64(),
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// An attempt failed; `error` is a general text. The pause doubles from 2 s to half an hour; a day after the event came it is given up:
/// `false`.
///
/// # Errors
/// Database errors only.
pub async fn failed(db: &PlatformDb, event: &DueEvent, error: &str) -> DbResult<bool> {
    let state = sqlx::query_scalar!(
        "UPDATE instance_service.webhook_events
            SET last_error = $2,
                next_try_at = clock_timestamp() + make_interval(secs => least(1800, 2 ^ least(attempts, 20))),
                finished_at = CASE WHEN clock_timestamp() > give_up_at THEN clock_timestamp() END,
                state = CASE WHEN clock_timestamp() > give_up_at THEN 'dead' ELSE 'pending' END
          WHERE id = $1 AND state = 'pending'
      RETURNING state",
        event.id,
        error,
    )
    .fetch_optional(db.pool())
    .await?;
    Ok(state.as_deref() == Some("pending"))
}

/// Removes events that ended long ago; says how many.
///
/// # Errors
/// Database errors only.
pub async fn remove_old(db: &PlatformDb) -> DbResult<u64> {
    let done = sqlx::query!(
        "DELETE FROM instance_service.webhook_events
          WHERE state <> 'pending' AND finished_at < clock_timestamp() - make_interval(secs => $1)",
        KEEP.as_secs_f64(),
    )
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected())
}

/// Subscriptions of instances that are in service or wait for their payment, in the order of their ids: up to `limit` after `after`.
///
/// # Errors
/// Database errors only.
pub async fn subscriptions(db: &PlatformDb, after: Option<SubscriptionId>, limit: i64) -> DbResult<Vec<SubscriptionId>> {
    let ids = sqlx::query_scalar!(
        r#"SELECT DISTINCT subscription_id AS "id!" FROM public.instances
            WHERE subscription_id > $1 AND (status IS DISTINCT FROM 'terminated' OR awaiting_reactivation)
            ORDER BY subscription_id LIMIT $2"#,
        after.map_or(Uuid::nil(), |id| id.as_uuid()),
        limit,
    )
    .fetch_all(db.pool())
    .await?;
    Ok(ids.into_iter().map(SubscriptionId::from_uuid).collect())
}

/// What the instance's subscription said last about its limits, if it was asked before.
///
/// # Errors
/// Database errors only.
pub async fn billed_limits(tx: &mut PlatformTx, id: InstanceId) -> DbResult<Option<Value>> {
    let limits = sqlx::query_scalar!("SELECT billed_limits FROM public.instances WHERE id = $1", id.as_uuid());
    Ok(limits.fetch_optional(tx.conn()).await?.flatten())
}

/// Remembers what it says now.
///
/// # Errors
/// Database errors only.
pub async fn keep_billed_limits(tx: &mut PlatformTx, id: InstanceId, limits: &Value) -> DbResult<()> {
    sqlx::query!("UPDATE public.instances SET billed_limits = $2 WHERE id = $1", id.as_uuid(), limits).execute(tx.conn()).await?;
    Ok(())
}

/// How many events are due or wait for their next attempt, and how many were given up.
///
/// # Errors
/// Database errors only.
pub async fn figures(db: &PlatformDb) -> DbResult<Value> {
    let row = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE state = 'pending') AS "pending!", count(*) FILTER (WHERE state = 'dead') AS "dead!"
             FROM instance_service.webhook_events WHERE state IN ('pending', 'dead')"#
    )
    .fetch_one(db.pool())
    .await?;
    Ok(json!({"pending": row.pending, "dead": row.dead}))
}
