//! Removes what has served its time on postgres1. Instances, operations and the audit trail stay; wake-ups are the engine's.

use super::{BATCH, Round, Troubles};
use db::DbResult;
use db::platform::audit::{AuditContext, Door};
use db::platform::{PlatformDb, acceptance, events, heartbeats, idempotency, operations, outbox, replaced, webhook_events};
use domain::ids::InstanceId;
use domain::sources::Entropy;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A secret lives up to this much longer than its seven days, so the loop runs hourly, not daily.
const PERIOD: Duration = Duration::from_secs(3600);
/// Workers not heard of for longer were killed and will not come back under that name.
const WORKER_GONE: Duration = Duration::from_secs(24 * 3600);

/// Whoever asked for log lines has read them by then, or has gone.
const LOGS_READ: Duration = Duration::from_secs(600);

/// The retention loop.
pub struct Retention {
    /// postgres1.
    pub db: PlatformDb,
    /// Ids of operations.
    pub entropy: Arc<dyn Entropy>,
}

#[async_trait::async_trait]
impl Round for Retention {
    fn name(&self) -> &'static str {
        "retention"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn round(&self) -> anyhow::Result<Value> {
        // Secrets first: if something below fails, they are gone all the same.
        let secrets = outbox::erase_old_secrets(&self.db).await?;
        let logs = operations::remove_fetched(&self.db, LOGS_READ).await?;
        let keys = idempotency::remove_expired(&self.db).await?;
        let events = events::remove_old(&self.db).await?;
        let webhooks = webhook_events::remove_old(&self.db).await?;
        let workers = heartbeats::remove_stale(&self.db, WORKER_GONE).await?;
        let mut troubles = Troubles::default();
        let replaced = self.forget_replaced(&mut troubles).await?;
        troubles.end(json!({"secrets_erased": secrets, "logs_removed": logs, "idempotency_keys": keys, "events": events,
                   "webhook_events": webhooks, "heartbeats": workers, "replaced_data": replaced}))
    }
}

impl Retention {
    /// What restores have replaced goes by operations of its own, when its time is over.
    async fn forget_replaced(&self, troubles: &mut Troubles) -> anyhow::Result<u64> {
        let mut queued = 0;
        for id in replaced::due(&self.db, BATCH).await? {
            match self.forget_one(id).await {
                Ok(asked) => queued += u64::from(asked),
                Err(error) => troubles.note(self.name(), id, error)?,
            }
        }
        Ok(queued)
    }

    async fn forget_one(&self, id: InstanceId) -> DbResult<bool> {
        let by = AuditContext { door: Door::Worker, actor: self.name().to_owned(), request_id: None };
        let mut tx = self.db.begin().await?;
        let asked = acceptance::forget_replaced(&mut tx, id, &*self.entropy, &by).await?;
        tx.commit().await?;
        Ok(asked.is_some())
    }
}
