//! Lets backups go that have had their time, and terminated instances that nobody brings back.

use super::by;
use crate::reconcile::{BATCH, Round};
use chrono::{DateTime, TimeDelta, Utc};
use db::platform::acceptance::{self, Delete, Deleted};
use db::platform::backups::Backup;
use db::platform::{PlatformDb, PlatformTx, backup_schedules, backups, instances};
use domain::backup::retention::{self, Entry, Policy};
use domain::backup::schedule::Schedule;
use domain::backup::{Origin, State};
use domain::ids::{BackupId, InstanceId};
use domain::instance::Phase;
use domain::sources::{Clock, Entropy};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const PERIOD: Duration = Duration::from_secs(3600);
/// A backup that came to nothing is listed for so long.
const FAILED: TimeDelta = TimeDelta::days(30);

/// The loop.
pub struct Keep {
    /// postgres1.
    pub db: PlatformDb,
    /// Ids of operations.
    pub entropy: Arc<dyn Entropy>,
    /// The present moment.
    pub clock: Arc<dyn Clock>,
    /// For instances without a schedule of their own.
    pub configured: Schedule,
    /// What is kept of all backups, whoever asked for them; none keeps all but those by schedule.
    pub every: Policy,
    /// For how many days after its removal the backups of an instance are kept.
    pub purged_days: u32,
    /// After how many days without any change a terminated instance is removed; none keeps it.
    pub purge_after_days: Option<u32>,
}

#[async_trait::async_trait]
impl Round for Keep {
    fn name(&self) -> &'static str {
        "backup_retention"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn round(&self) -> anyhow::Result<Value> {
        let (mut after, mut condemned) = (InstanceId::from_uuid(Uuid::nil()), 0);
        loop {
            let owners = backups::owners(&self.db, after, BATCH).await?;
            let Some(last) = owners.last() else { break };
            after = *last;
            for owner in owners {
                condemned += self.of(owner).await?;
            }
        }
        Ok(json!({ "condemned": condemned, "purged": self.purge().await? }))
    }
}

impl Keep {
    /// Condemns what an instance need not have any more; how many.
    async fn of(&self, id: InstanceId) -> anyhow::Result<usize> {
        let own = backup_schedules::of(&self.db, id).await?;
        let mut tx = self.db.begin().await?;
        let Some(instance) = instances::lock(&mut tx, id).await? else { return Ok(0) };
        let now = self.clock.now();
        let gone_long = instance
            .purged_at
            .filter(|_| instance.axes.phase == Phase::Purged)
            .is_some_and(|at| now.signed_duration_since(at) > TimeDelta::days(i64::from(self.purged_days)));
        let whole = backups::in_state(&mut tx, id, State::Completed).await?;
        let failed = backups::in_state(&mut tx, id, State::Failed).await?;
        let read = backups::being_read(&mut tx, id).await?;
        let mut chosen = match instance.axes.phase {
            Phase::Purged if gone_long => whole.iter().map(|backup| backup.id).filter(|id| !read.contains(id)).collect(),
            Phase::Purged | Phase::Purging => Vec::new(),
            Phase::Registered | Phase::Ready => self.expired(&whole, &read, own.unwrap_or(self.configured), now),
        };
        // Of one that came from the earlier service something may be wanted by hand.
        let old =
            |backup: &&Backup| gone_long || backup.legacy.is_none() && now.signed_duration_since(backup.created_at) > FAILED;
        chosen.extend(failed.iter().filter(old).map(|backup| backup.id).filter(|id| !read.contains(id)));
        for backup in &chosen {
            backups::condemn(&mut tx, *backup).await?;
        }
        self.remove(&mut tx, id).await?;
        tx.commit().await?;
        Ok(chosen.len())
    }

    /// By two rules: of all backups, and of those that nobody asked for. Each leaves the newest whole one of all.
    fn expired(&self, whole: &[Backup], read: &[BackupId], schedule: Schedule, now: DateTime<Utc>) -> Vec<BackupId> {
        let entry = |backup: &Backup| Entry {
            id: backup.id,
            taken_at: backup.completed_at.unwrap_or(backup.created_at),
            completed: true,
            being_read: read.contains(&backup.id),
        };
        let automatic =
            |backup: &&Backup| matches!(backup.origin, Origin::Scheduled | Origin::BeforeRestore | Origin::BeforeUpdate);
        let own: Vec<Entry> = whole.iter().filter(automatic).map(entry).collect();
        let (brought, taken): (Vec<&Backup>, Vec<&Backup>) = whole.iter().partition(|backup| backup.origin == Origin::Imported);
        let mut chosen = retention::expired(&own, &schedule.keep.policy(), now);
        if self.every != Policy::default() {
            // What one rule keeps, the other may not take: a count for all is the harder one and has been asked for.
            // What was brought from elsewhere must not stand for the last copy of what the instance has.
            for each in [taken, brought] {
                let each: Vec<Entry> = each.into_iter().map(entry).collect();
                chosen.extend(retention::expired(&each, &self.every, now));
            }
        }
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    /// Asks for the removal of what is condemned, now or earlier.
    async fn remove(&self, tx: &mut PlatformTx, id: InstanceId) -> anyhow::Result<()> {
        if !backups::in_state(tx, id, State::Deleting).await?.is_empty() {
            acceptance::prune_backups(tx, id, &*self.entropy, &by(self.name())).await?;
        }
        Ok(())
    }

    /// Removes instances that were terminated long ago; how many.
    async fn purge(&self) -> anyhow::Result<usize> {
        let Some(days) = self.purge_after_days else { return Ok(0) };
        let mut purged = 0;
        for id in instances::terminated_for(&self.db, days, BATCH).await? {
            let request = Delete { instance_id: id, reason: Some(format!("terminated for {days} days")), brake: None };
            let mut tx = self.db.begin().await?;
            let deleted = acceptance::delete(&mut tx, request, &*self.entropy, &by(self.name())).await?;
            tx.commit().await?;
            if let Deleted::Accepted { operation, .. } = deleted {
                tracing::info!(instance = %id, %operation, "an instance that was terminated long ago is removed");
                purged += 1;
            }
        }
        Ok(purged)
    }
}
