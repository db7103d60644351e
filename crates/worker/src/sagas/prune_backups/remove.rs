//! Removes what only the backups have that are to go.

use super::{LIMIT, Rounds};
use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::instance_id;
use async_trait::async_trait;
use db::platform::backups;
use domain::backup::State;
use domain::ids::BackupId;
use domain::operation::Place;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) const NAME: &str = "remove_backups";

pub(super) struct RemoveCondemned(pub(super) Arc<Tools>);

/// What the step records.
#[derive(Serialize, Deserialize)]
pub(super) struct Removed {
    #[serde(default)]
    pub(super) backups: Vec<BackupId>,
}

#[async_trait]
impl Step for RemoveCondemned {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Storage
    }

    fn limit(&self) -> Duration {
        LIMIT
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let rounds = Rounds::default();
        rounds.of(remove(cx, &self.0, &rounds)).await.map(|removed| json!(removed))
    }
}

async fn remove(cx: &Cx, tools: &Tools, rounds: &Rounds) -> Result<Removed, StepError> {
    let mut tx = cx.fenced_tx().await?;
    let condemned = backups::in_state(&mut tx, instance_id(cx)?, State::Deleting).await?;
    tx.commit().await?;
    for backup in &condemned {
        match &backup.legacy {
            Some(legacy) => {
                cx.confirm_token().await?;
                tools.legacy.remove(legacy).await?;
            }
            None => rounds.remove(cx, tools, &tools.backups.stored(backup.id, cx.token()).await?).await?,
        }
        rounds.count(1);
    }
    tools.backups.tidy().await?;
    Ok(Removed { backups: condemned.iter().map(|backup| backup.id).collect() })
}
