//! Changing an instance: every status write is a compare-and-set with its audit row in the same transaction.

use super::{Instance, Limits, lock};
use crate::error::{DbError, DbResult};
use crate::platform::PlatformTx;
use crate::platform::audit::{self, AuditContext, Entry};
use domain::ids::{InstanceId, OperationId, SubscriptionId};
use domain::instance::{Axes, Event, NotAllowed, ObservedState, apply, find};
use domain::names::HostLabel;
use serde_json::Value;

/// What else changes with the axes. What is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// The reason that somebody gave, in his words.
    pub reason: Option<String>,
    /// The new text, or `Some(None)` to remove it.
    pub error_message: Option<Option<String>>,
    /// The subscription that pays from now on.
    pub subscription_id: Option<SubscriptionId>,
    /// The host label that it takes.
    pub hostname: Option<HostLabel>,
    /// Where customers reach it.
    pub external_url: Option<String>,
    /// Where the platform reaches it.
    pub internal_url: Option<String>,
    /// The operation that does this, or that was accepted with it.
    pub operation_id: Option<OperationId>,
    /// More for the audit trail; never a secret.
    pub details: Value,
}

impl Change {
    fn writes_nothing(&self, instance: &Instance) -> bool {
        self.error_message.as_ref().is_none_or(|text| *text == instance.error_message)
            && self.hostname.is_none()
            && self.subscription_id.is_none_or(|id| Some(id) == instance.subscription_id)
            && self.external_url.as_ref().is_none_or(|url| Some(url) == instance.external_url.as_ref())
            && self.internal_url.as_ref().is_none_or(|url| Some(url) == instance.internal_url.as_ref())
    }
}

/// Why an event did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The transition table does not have it for this state.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// This transition is for instances at rest, and an operation has it.
    #[error("an operation is at work on this instance")]
    Busy(OperationId),
}

/// Lets an event happen to an instance: looks it up in the transition table and stores what follows, with the message of the
/// table unless the change brings its own. An event that changes nothing writes nothing.
///
/// # Errors
/// As [`advance`]; a refusal is an answer.
pub async fn happen(
    tx: &mut PlatformTx,
    instance: &Instance,
    event: Event,
    mut change: Change,
    by: &AuditContext,
) -> DbResult<Result<Instance, Refused>> {
    let (row, to) = match (find(&instance.axes, event), apply(&instance.axes, event)) {
        (Ok(row), Ok(to)) => (row, to),
        (Err(refused), _) | (_, Err(refused)) => return Ok(Err(refused.into())),
    };
    if let (true, Some(operation)) = (row.idle, instance.operation_id) {
        return Ok(Err(Refused::Busy(operation)));
    }
    change.error_message = change.error_message.or_else(|| row.message.text(change.reason.as_deref()));
    if to == instance.axes && change.writes_nothing(instance) {
        return Ok(Ok(instance.clone()));
    }
    advance(tx, instance, event.name().as_str(), to, change, by).await.map(Ok)
}

/// Stores new axes and what changes with them, if the row is still as `instance` says, and writes the audit row. Times that
/// follow from the change (started, suspended since, purged) are set here, and a terminated row gives its host label back.
///
/// In a row that is not adopted only the public columns are written: what the others shall be is for adoption to find out.
///
/// # Errors
/// [`DbError::Stale`] when somebody else changed the row meanwhile: read again and decide again.
/// [`DbError::Constraint`] when another live instance has the subscription.
pub async fn advance(
    tx: &mut PlatformTx,
    instance: &Instance,
    action: &'static str,
    to: Axes,
    change: Change,
    by: &AuditContext,
) -> DbResult<Instance> {
    if !store(tx, instance, to, &change).await? {
        return Err(DbError::Stale);
    }
    let mut details = change.details;
    if let (Value::Null, Some(reason)) = (&details, &change.reason) {
        details = serde_json::json!({ "reason": reason });
    }
    let entry = Entry {
        action,
        instance_id: Some(instance.id),
        operation_id: change.operation_id,
        from: Some(instance.axes.status),
        to: Some(to.status),
        details: if details.is_null() { serde_json::json!({}) } else { details },
    };
    audit::record(tx, by, &entry).await?;
    lock(tx, instance.id).await?.ok_or(DbError::Stale)
}

/// A word that does not change is not written: the one in the row may be one that we do not know, and stays to be reported.
async fn store(tx: &mut PlatformTx, instance: &Instance, to: Axes, change: &Change) -> DbResult<bool> {
    let from = &instance.axes;
    let done = sqlx::query!(
        "UPDATE public.instances
            SET status = coalesce($18, status), billing_status = coalesce($5, billing_status),
                provisioning_status = coalesce($6, provisioning_status),
                phase = CASE WHEN phase IS NULL THEN NULL ELSE $7::text END,
                desired_state = CASE WHEN phase IS NULL THEN desired_state ELSE $8::text END,
                suspension = CASE WHEN phase IS NULL THEN suspension ELSE $9::text END,
                resume_to = CASE WHEN phase IS NULL THEN resume_to ELSE $10::text END,
                observed_state = $11::text,
                observed_at = CASE WHEN observed_state = $11::text THEN observed_at ELSE clock_timestamp() END,
                suspended_since = CASE $9::text WHEN 'none' THEN NULL ELSE coalesce(suspended_since, clock_timestamp()) END,
                suspension_reason = CASE $9::text WHEN 'none' THEN NULL ELSE coalesce($12::text, suspension_reason) END,
                hostname = CASE $4::text WHEN 'terminated' THEN NULL ELSE coalesce($19::text, hostname) END,
                released_hostname = CASE $4::text WHEN 'terminated' THEN coalesce(hostname, released_hostname) END,
                awaiting_reactivation = awaiting_reactivation AND $4::text = 'terminated' AND $7::text IN ('registered', 'ready'),
                started_at = CASE WHEN $4::text = 'running' AND status IS DISTINCT FROM 'running' THEN clock_timestamp() ELSE started_at END,
                purged_at = CASE $7::text WHEN 'purged' THEN coalesce(purged_at, clock_timestamp()) ELSE purged_at END,
                error_message = CASE WHEN $13 THEN $14::text ELSE error_message END,
                subscription_id = coalesce($15, subscription_id),
                external_url = coalesce($16, external_url),
                internal_url = coalesce($17, internal_url),
                revision = revision + 1, updated_at = clock_timestamp()
          WHERE id = $1 AND revision = $2 AND status IS NOT DISTINCT FROM $3",
        instance.id.as_uuid(),
        instance.revision,
        instance.stored_status,
        to.status.as_str(),
        (to.billing != from.billing).then(|| to.billing.as_str()),
        (to.provisioning != from.provisioning).then(|| to.provisioning.as_str()),
        to.phase.as_str(),
        to.desired.as_str(),
        to.suspension.as_str(),
        to.resume_to.map(|desired| desired.as_str()),
        to.observed.as_str(),
        change.reason,
        change.error_message.is_some(),
        change.error_message.clone().flatten(),
        change.subscription_id.map(|id| id.as_uuid()),
        change.external_url,
        change.internal_url,
        (to.status != from.status).then(|| to.status.as_str()),
        change.hostname.as_ref().map(HostLabel::as_str),
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Stores what was seen at the runtime, without touching the public status: also in paused and terminated rows. `answered`:
/// Odoo answered a health check. The revision grows only if the observation is a new one.
///
/// # Errors
/// Database errors only.
pub async fn observe(tx: &mut PlatformTx, id: InstanceId, seen: ObservedState, answered: bool) -> DbResult<()> {
    sqlx::query!(
        "UPDATE public.instances
            SET observed_state = $2, observed_at = clock_timestamp(),
                last_health_check = CASE WHEN $3 THEN clock_timestamp() ELSE last_health_check END,
                revision = revision + (observed_state <> $2)::int
          WHERE id = $1",
        id.as_uuid(),
        seen.as_str(),
        answered,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The service runs with these limits. The row may say others by now: those wait for the next time.
///
/// # Errors
/// Database errors only.
pub async fn resources_applied(tx: &mut PlatformTx, instance: &Instance, applied: &Limits) -> DbResult<()> {
    let pending = *applied != instance.limits();
    sqlx::query!(
        "UPDATE public.instances SET resources_pending = $2, running_limits = $3, revision = revision + 1
          WHERE id = $1 AND (resources_pending OR $2)",
        instance.id.as_uuid(),
        pending,
        pending.then(|| serde_json::json!(applied)),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
