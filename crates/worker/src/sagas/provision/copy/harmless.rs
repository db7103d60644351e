//! Makes the copy harmless before its service is made: what `odoo neutralize` says for its modules, carried out as its tenant, and looked at.

use super::super::addons;
use super::database::{self, Loaded};
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::errors::unless_foreign;
use crate::sagas::site::{Site, turn};
use crate::sagas::waiting::unless_told_to_stop;
use async_trait::async_trait;
use db::odoo::OdooError;
use domain::operation::Place;
use runtime::{Files, OneOff, Task};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// It only loads the modules.
const RUN: Duration = Duration::from_secs(10 * 60);
/// Lines of a failed run's log that an operator gets to see.
const TOLD: usize = 20;

pub(in crate::sagas::provision) struct MakeHarmless(pub(in crate::sagas::provision) Arc<Tools>);

#[async_trait]
impl Step for MakeHarmless {
    fn name(&self) -> &'static str {
        addons::NAME
    }

    fn place(&self) -> Place {
        Place::Runtime
    }

    fn limit(&self) -> Duration {
        RUN + Duration::from_secs(660)
    }

    /// Done again, it changes nothing.
    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        const FAILED: &str = "The copy could not be made harmless.";
        let site = Site::of(cx, &self.0).await?;
        let run = OneOff { workload: site.workload(cx, &self.0)?, task: Task::Neutralise, limit: RUN, files: Files::Live };
        let end = unless_told_to_stop(cx, self.0.runtime.run_once(&run)).await?;
        if end.exit != Some(0) {
            // What it printed may lack something.
            let log = end.log.get(end.log.len().saturating_sub(TOLD)..).unwrap_or_default().join("\n");
            return Err(StepError::retry("not_harmless", FAILED, format!("exit {:?}, log: {log}", end.exit)));
        }
        let (name, owner) = (&site.placement.db_name, &site.placement.db_user);
        let mut fence = site.fence(cx).await?;
        let done = fence.as_tenant(name, owner, &site.password(&self.0)?).await?.neutralise(&end.output).await;
        fence.release().await?;
        let unfit = |error: OdooError| match error {
            OdooError::Unfit { .. } => StepError::permanent("not_harmless", FAILED, error),
            other => other.into(),
        };
        done.map_err(unfit)?;
        let original = cx.output::<Loaded>(database::NAME)?.original_uuid;
        site.snapshot(&self.0, name).await?.verify_neutralised(original.as_deref()).await.map_err(unfit)?;
        Ok(json!(addons::Outcome::default()))
    }
}

/// The run of a worker that was killed must end before its ground goes.
#[async_trait]
impl Undo for MakeHarmless {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(()) };
        unless_foreign(self.0.runtime.remove(&site.service(), turn(cx)).await)
    }
}
