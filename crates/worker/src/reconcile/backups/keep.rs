//! Lets backups go that have had their time, and terminated instances that nobody brings back.

use super::by;
use crate::reconcile::{BATCH, Round, Troubles};
use chrono::{DateTime, TimeDelta, Utc};
use db::platform::acceptance::{self, Delete, Deleted};
use db::platform::backups::Backup;
use db::platform::{PlatformDb, backup_schedules, backups, instances};
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
/// Whose backups are judged together: one of a kind takes no place from another. A copy that was taken before something is done is of what may
/// be broken, and what was brought from elsewhere is no copy of what the instance has.
const TAKEN: &[Origin] = &[Origin::Requested, Origin::Scheduled, Origin::Final];
const COPIES: &[Origin] = &[Origin::BeforeRestore, Origin::BeforeUpdate];
const BROUGHT: &[Origin] = &[Origin::Imported];

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
    /// Most removals within an hour, whoever asks for them; none for no limit.
    pub delete_brake: Option<u32>,
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
        let (mut after, mut condemned, mut troubles) = (InstanceId::from_uuid(Uuid::nil()), 0, Troubles::default());
        loop {
            let owners = backups::owners(&self.db, after, BATCH).await?;
            let Some(last) = owners.last() else { break };
            after = *last;
            for owner in owners {
                match self.of(owner).await {
                    Ok(more) => condemned += more,
                    Err(error) => troubles.note(self.name(), owner, error)?,
                }
            }
        }
        let purged = self.purge(&mut troubles).await?;
        troubles.end(json!({ "condemned": condemned, "purged": purged }))
    }
}

/// What the catalogue has of an instance.
struct Catalogued {
    whole: Vec<Backup>,
    /// Found damaged; they were whole.
    damaged: Vec<Backup>,
    /// What work reads that is accepted.
    read: Vec<BackupId>,
}

impl Catalogued {
    fn entries(&self, backups: &[Backup], origins: &[Origin]) -> Vec<Entry> {
        let entry = |backup: &Backup| Entry {
            id: backup.id,
            taken_at: backup.completed_at.unwrap_or(backup.created_at),
            being_read: self.read.contains(&backup.id),
        };
        backups.iter().filter(|backup| origins.contains(&backup.origin)).map(entry).collect()
    }
}

impl Keep {
    /// Condemns what an instance need not have any more, and asks for the removal of what is condemned, now or earlier; how many are now.
    async fn of(&self, id: InstanceId) -> anyhow::Result<usize> {
        let own = backup_schedules::of(&self.db, id).await?;
        let mut tx = self.db.begin().await?;
        let Some(instance) = instances::lock(&mut tx, id).await? else { return Ok(0) };
        let now = self.clock.now();
        let gone_long = instance
            .purged_at
            .filter(|_| instance.axes.phase == Phase::Purged)
            .is_some_and(|at| now.signed_duration_since(at) > TimeDelta::days(i64::from(self.purged_days)));
        let read = backups::being_read(&mut tx, id).await?;
        let mut whole = backups::in_state(&mut tx, id, State::Completed).await?;
        let provisional = backups::provisional(&mut tx, id).await?;
        whole.retain(|backup| !provisional.contains(&backup.id));
        let failed = backups::in_state(&mut tx, id, State::Failed).await?;
        // Of one that came from the earlier service something may be wanted by hand.
        let (damaged, failed): (Vec<_>, Vec<_>) =
            failed.into_iter().filter(|backup| gone_long || backup.legacy.is_none()).partition(|backup| backup.attempt.is_some());
        let came_to_nothing = failed
            .iter()
            .filter(|backup| gone_long || now.signed_duration_since(backup.created_at) > FAILED)
            .map(|backup| backup.id);
        let mut chosen: Vec<BackupId> = came_to_nothing.filter(|id| !read.contains(id)).collect();
        match instance.axes.phase {
            Phase::Purged if gone_long => {
                chosen.extend(whole.iter().chain(&damaged).map(|backup| backup.id).filter(|id| !read.contains(id)));
            }
            Phase::Purged | Phase::Purging => {}
            Phase::Registered | Phase::Ready => {
                let catalogued = Catalogued { whole, damaged, read };
                chosen.extend(self.expired(&catalogued, own.unwrap_or(self.configured), now));
            }
        }
        chosen.sort_unstable();
        chosen.dedup();
        for backup in &chosen {
            backups::condemn(&mut tx, *backup).await?;
        }
        if !backups::in_state(&mut tx, id, State::Deleting).await?.is_empty() {
            acceptance::prune_backups(&mut tx, id, &*self.entropy, &by(self.name())).await?;
        }
        tx.commit().await?;
        Ok(chosen.len())
    }

    /// By two rules: of those that nobody asked for, and of all. What one keeps the other may not take: a count for all is the harder one
    /// and has been asked for. Each leaves the newest of its kind.
    fn expired(&self, catalogued: &Catalogued, schedule: Schedule, now: DateTime<Utc>) -> Vec<BackupId> {
        let by_schedule = schedule.keep.policy();
        let rules = [
            (&[Origin::Scheduled][..], &by_schedule),
            (COPIES, &by_schedule),
            (TAKEN, &self.every),
            (COPIES, &self.every),
            (BROUGHT, &self.every),
        ];
        let expired = |(origins, policy): (&[Origin], &Policy)| {
            let whole = catalogued.entries(&catalogued.whole, origins);
            let damaged = catalogued.entries(&catalogued.damaged, origins);
            [retention::expired(&whole, policy, now), retention::expired_damaged(&damaged, &whole, policy, now)].concat()
        };
        rules.into_iter().flat_map(expired).collect()
    }

    /// Removes instances that were terminated long ago; how many.
    async fn purge(&self, troubles: &mut Troubles) -> anyhow::Result<usize> {
        let Some(days) = self.purge_after_days else { return Ok(0) };
        let mut purged = 0;
        for id in instances::terminated_for(&self.db, days, BATCH).await? {
            match self.purge_one(id, days).await {
                Ok(Some(Deleted::Accepted { operation, .. })) => {
                    tracing::info!(instance = %id, %operation, "an instance that was terminated long ago is removed");
                    purged += 1;
                }
                Ok(Some(Deleted::Braked)) => {
                    tracing::warn!("so many instances are being removed that the others have to wait");
                    break;
                }
                Ok(Some(Deleted::NotFound | Deleted::NotAdopted) | None) => {}
                Err(error) => troubles.note(self.name(), id, error)?,
            }
        }
        Ok(purged)
    }

    async fn purge_one(&self, id: InstanceId, days: u32) -> anyhow::Result<Option<Deleted>> {
        let reason = Some(format!("terminated for {days} days"));
        let request = Delete { instance_id: id, reason, brake: self.delete_brake };
        let mut tx = self.db.begin().await?;
        let deleted = acceptance::purge(&mut tx, request, days, &*self.entropy, &by(self.name())).await?;
        tx.commit().await?;
        Ok(deleted)
    }
}
