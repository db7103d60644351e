//! Answers kept per `Idempotency-Key`, written in the same transaction as the effect (contract 3.2).
//!
//! Owns: the rows of `idempotency_keys` and the rule that one key never runs twice, also not at once.
//! Leaves to others: what scope and body hash are made of, and which answers are worth keeping (`api`).

use crate::error::DbResult;
use crate::platform::{LockClass, PlatformDb, PlatformTx};
use domain::ids::OperationId;
use serde_json::Value;

/// What a key says about the request that carries it.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Begun {
    /// Not seen within 24 hours: go on, then [`store`] the answer and commit.
    Fresh,
    /// Answered before: repeat that answer.
    Replay {
        /// HTTP status.
        status: u16,
        /// JSON body.
        body: Value,
    },
    /// The same key came with another body.
    Mismatch,
    /// The first request with this key is still at work.
    InProgress,
}

/// The answer to keep.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status; below 500, since a fault is not kept.
    pub status: u16,
    /// JSON body.
    pub body: Value,
    /// The operation that was accepted, if any.
    pub operation_id: Option<OperationId>,
}

/// Looks the key up and, if it is new, holds it until the end of the transaction: a second request with it, arriving meanwhile,
/// is told [`Begun::InProgress`] at once instead of waiting. A kept answer is repeated to any number of requests at once.
///
/// # Errors
/// Database errors only.
pub async fn begin(tx: &mut PlatformTx, scope: &str, key: &str, body_hash: &[u8]) -> DbResult<Begun> {
    let known = look(tx, scope, key, body_hash).await?;
    if known != Begun::Fresh {
        return Ok(known);
    }
    if !tx.try_lock(LockClass::IdempotencyKey, &format!("{scope}\n{key}")).await? {
        return Ok(Begun::InProgress);
    }
    // The first request may have ended between the look and the lock.
    look(tx, scope, key, body_hash).await
}

async fn look(tx: &mut PlatformTx, scope: &str, key: &str, body_hash: &[u8]) -> DbResult<Begun> {
    let known = sqlx::query!(
        "SELECT body_hash, status, body FROM instance_service.idempotency_keys
          WHERE scope = $1 AND key = $2 AND expires_at > clock_timestamp()",
        scope,
        key,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(match known {
        None => Begun::Fresh,
        Some(row) if row.body_hash != body_hash => Begun::Mismatch,
        Some(row) => Begun::Replay { status: row.status.unsigned_abs(), body: row.body },
    })
}

/// Keeps the answer for 24 hours. The caller holds the key since [`begin`], so that only an expired row can be in the way.
///
/// # Errors
/// Database errors only.
pub async fn store(tx: &mut PlatformTx, scope: &str, key: &str, body_hash: &[u8], answer: &Answer) -> DbResult<()> {
    sqlx::query!(
        "INSERT INTO instance_service.idempotency_keys AS k (scope, key, body_hash, status, body, operation_id)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (scope, key) DO UPDATE
            SET body_hash = excluded.body_hash, status = excluded.status, body = excluded.body,
                operation_id = excluded.operation_id, created_at = excluded.created_at, expires_at = excluded.expires_at",
        scope,
        key,
        body_hash,
        i16::try_from(answer.status).unwrap_or(i16::MAX),
        answer.body,
        answer.operation_id.map(|id| id.as_uuid()),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Removes expired keys; says how many.
///
/// # Errors
/// Database errors only.
pub async fn remove_expired(db: &PlatformDb) -> DbResult<u64> {
    let done = sqlx::query!("DELETE FROM instance_service.idempotency_keys WHERE expires_at <= clock_timestamp()")
        .execute(db.pool())
        .await?;
    Ok(done.rows_affected())
}
