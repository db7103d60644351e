//! Backs up instances when their time has come.

use super::by;
use crate::reconcile::{BATCH, Round, Troubles};
use db::DbResult;
use db::platform::{PlatformDb, acceptance, backup_schedules};
use domain::backup::schedule::Schedule;
use domain::ids::InstanceId;
use domain::sources::{Clock, Entropy};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const PERIOD: Duration = Duration::from_secs(60);

/// The loop.
pub struct Schedules {
    /// postgres1.
    pub db: PlatformDb,
    /// Ids of operations.
    pub entropy: Arc<dyn Entropy>,
    /// The present moment.
    pub clock: Arc<dyn Clock>,
    /// For instances without a schedule of their own.
    pub configured: Schedule,
}

#[async_trait::async_trait]
impl Round for Schedules {
    fn name(&self) -> &'static str {
        "backup_schedule"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn round(&self) -> anyhow::Result<Value> {
        let (mut after, mut queued, mut troubles) = (InstanceId::from_uuid(Uuid::nil()), 0, Troubles::default());
        loop {
            let candidates = backup_schedules::candidates(&self.db, after, BATCH).await?;
            let Some(last) = candidates.last() else { return troubles.end(json!({ "queued": queued })) };
            after = last.instance;
            for candidate in &candidates {
                let schedule = candidate.own.unwrap_or(self.configured);
                if schedule.is_due(self.clock.now(), candidate.last, candidate.instance.as_uuid().as_u128()) {
                    match self.back_up(candidate.instance).await {
                        Ok(accepted) => queued += u64::from(accepted),
                        Err(error) => troubles.note(self.name(), candidate.instance, error)?,
                    }
                }
            }
        }
    }
}

impl Schedules {
    async fn back_up(&self, id: InstanceId) -> DbResult<bool> {
        let mut tx = self.db.begin().await?;
        let accepted = acceptance::back_up(&mut tx, id, &*self.entropy, &by(self.name())).await?;
        tx.commit().await?;
        Ok(accepted.is_some())
    }
}
