//! Reads everything that the backup has in the store and compares it.

use super::Parameters;
use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::prune_backups::Rounds;
use crate::sagas::restore::{PLAN, Planned, number_beside, opened};
use crate::sagas::site::{Site, instance_id};
use crate::sagas::waiting::unless_told_to_stop;
use async_trait::async_trait;
use backup::BackupError;
use domain::operation::Place;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The steps of a restore that load a backup find here what a restore plans.
pub(super) const NAME: &str = PLAN;

pub(super) struct Compare(pub(super) Arc<Tools>);

/// What the step records.
#[derive(Serialize, Deserialize)]
struct Compared {
    #[serde(flatten)]
    planned: Option<Planned>,
    files: u64,
    bytes: u64,
}

#[async_trait]
impl Step for Compare {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Storage
    }

    fn weight(&self) -> u32 {
        20
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(4 * 3600)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let Parameters { backup, restore } = cx.params()?;
        let (opened, row) = opened(cx, &self.0, backup, instance_id(cx)?).await?;
        let (verified, wrong) = unless_told_to_stop(cx, opened.examine()).await?;
        if let Some(first) = wrong.first() {
            Rounds::default().remove(cx, &self.0, &wrong).await?;
            let why = format!(
                "not what its name says, as are {} objects in all; they are removed, so that the next backup stores them anew",
                wrong.len()
            );
            return Err(BackupError::Damaged { what: first.to_string(), why }.into());
        }
        let planned = if restore {
            let site = Site::of(cx, &self.0).await?;
            let (number, live_oid) = number_beside(cx, &site).await?;
            Some(Planned { backup, name: row.name, number, live_oid, run_before: None })
        } else {
            None
        };
        Ok(json!(Compared { planned, files: verified.files, bytes: verified.files_bytes }))
    }
}
