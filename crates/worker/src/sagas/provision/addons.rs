//! Installs the ordered add-ons that the installation has, in one run of Odoo, and lists the others. After the data
//! directory, since the run works on it.

use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::errors::unless_foreign;
use crate::sagas::site::{Site, turn};
use crate::sagas::waiting::unless_told_to_stop;
use async_trait::async_trait;
use db::odoo::ModuleStates;
use domain::operation::Place;
use runtime::{Files, OneOff, Task};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) const NAME: &str = "addons";

/// Longest run of Odoo; big modules take minutes.
const RUN: Duration = Duration::from_secs(20 * 60);

/// Lines of a failed run's log that an operator gets to see.
const TOLD: usize = 20;

pub(super) struct Addons(pub(super) Arc<Tools>);

/// What the step records, and the client reads in the result.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) installed: Vec<String>,
    pub(super) unknown: Vec<String>,
}

#[async_trait]
impl Step for Addons {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Runtime
    }

    fn limit(&self) -> Duration {
        RUN + Duration::from_secs(60)
    }

    /// What is installed already is not installed again.
    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let site = Site::of(cx, &self.0).await?;
        let ordered = &site.instance.custom_addons;
        if ordered.is_empty() {
            return Ok(json!(Outcome::default()));
        }
        let states = site.inside().await?.module_states().await?;
        let (known, unknown): (Vec<_>, Vec<_>) = ordered.iter().cloned().partition(|name| states.is_known(name));
        if !all_installed(&states, &known) {
            self.install(cx, &site, known.clone()).await?;
        }
        Ok(json!(Outcome { installed: known, unknown }))
    }
}

/// What is installed goes with the database. The run of a worker that was killed must end before its ground goes.
#[async_trait]
impl Undo for Addons {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(()) };
        unless_foreign(self.0.runtime.remove(&site.service(), turn(cx)).await)
    }
}

impl Addons {
    async fn install(&self, cx: &Cx, site: &Site, names: Vec<String>) -> Result<(), StepError> {
        let task = Task::Install(names.clone());
        let run = OneOff { workload: site.workload(cx, &self.0)?, task, limit: RUN, files: Files::Live };
        let end = unless_told_to_stop(cx, self.0.runtime.run_once(&run)).await?;
        let states = site.inside().await?.module_states().await?;
        if all_installed(&states, &names) {
            return Ok(());
        }
        let log = end.log.get(end.log.len().saturating_sub(TOLD)..).unwrap_or_default().join("\n");
        let cause = format!("exit {:?}, pending {:?}, log: {log}", end.exit, states.pending);
        Err(StepError::retry("addons_not_installed", "The ordered add-ons could not be installed.", cause))
    }
}

fn all_installed(states: &ModuleStates, names: &[String]) -> bool {
    states.pending.is_empty() && names.iter().all(|name| states.is_installed(name))
}
