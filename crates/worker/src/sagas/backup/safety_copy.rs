//! Backs up what is live before anything is done to it, unless that was done just now.

use super::catalogue::begun;
use super::store::{discarded, take, taken_back};
use crate::engine::{Cx, Seen, Step, StepError, Undo, Verdict};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use db::platform::backups;
use domain::backup::{Origin, State};
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(in crate::sagas) const NAME: &str = "safety_copy";

/// One that is not older now is copy enough: clients ask for both back to back.
const RECENT: TimeDelta = TimeDelta::minutes(1);

pub(in crate::sagas) struct SafetyCopy {
    pub(in crate::sagas) tools: Arc<Tools>,
    /// As what it is catalogued.
    pub(in crate::sagas) origin: Origin,
    /// Whether nothing is done without it. Data that cannot be copied may be why somebody restores; and what a restore replaces is kept
    /// for a while all the same.
    pub(in crate::sagas) needed: bool,
}

#[async_trait]
impl Step for SafetyCopy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Storage
    }

    fn weight(&self) -> u32 {
        10
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(4 * 3600)
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        let (db, operation) = (&cx.services().db, cx.operation());
        let is_whole = |backup: &backups::Backup| backup.state == State::Completed;
        // Of a try that did not come to say so.
        if let Some(own) = backups::of_operation(db, operation.id, self.origin).await?.filter(is_whole) {
            return Ok(Seen::Ours(json!({ "backup": own.id })));
        }
        let newest = match operation.instance_id {
            Some(id) => backups::newest_whole(db, id).await?,
            None => None,
        };
        // However long the operation has waited for its turn: an instance may have served for hours meanwhile.
        let now = DateTime::<Utc>::from(SystemTime::now());
        let is_recent = |at: DateTime<Utc>| now.signed_duration_since(at) <= RECENT;
        match newest.filter(|newest| newest.summary.as_ref().and_then(|summary| summary.taken_at).is_some_and(is_recent)) {
            Some(recent) => Ok(Seen::Ours(json!({ "backup": recent.id }))),
            None => Ok(Seen::Absent),
        }
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let site = Site::of(cx, &self.tools).await?;
        let backup = begun(cx, self.origin).await?;
        match take(cx, &self.tools, &site, backup.id).await {
            Ok(whole) => {
                let mut tx = cx.fenced_tx().await?;
                backups::complete(&mut tx, backup.id, &whole).await?;
                tx.commit().await?;
                Ok(json!({ "backup": backup.id }))
            }
            Err(error) if !self.needed && is_final(error.verdict) => {
                tracing::warn!(instance = %site.instance.id, %error, "what a restore replaces cannot be backed up");
                taken_back(cx, &self.tools, self.origin).await?;
                Ok(json!({ "backup": null, "why": error.code }))
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether waiting will not help.
const fn is_final(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Retry | Verdict::Permanent | Verdict::NeedsAttention | Verdict::Snooze { unreachable: false, .. })
}

/// What it was a copy of is live still: nobody needs it.
#[async_trait]
impl Undo for SafetyCopy {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        discarded(cx, &self.tools, self.origin).await
    }
}
