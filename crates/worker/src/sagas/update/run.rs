//! Chooses what there is to do, and then updates and installs modules in the copy, by runs of Odoo on the copied files.

use super::plan::{self, Parameters, Planned};
use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use crate::sagas::waiting::unless_told_to_stop;
use async_trait::async_trait;
use db::odoo::ModuleStates;
use domain::operation::Place;
use runtime::{Files, OneOff, Task};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const CHOICE: &str = "choose_modules";
pub(super) const NAME: &str = "update_modules";
/// Longest run of Odoo: large databases take their time.
const RUN: Duration = Duration::from_secs(90 * 60);
/// Lines of a failed run's log that an operator gets to see.
const TOLD: usize = 20;
const ALL: &str = "all";

/// Recorded before anything is done: afterwards the copy does not tell any more what was there before.
pub(super) struct Choose(pub(super) Arc<Tools>);

pub(super) struct Run(pub(super) Arc<Tools>);

/// What both steps record, and the client reads in the result.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) updated: Vec<String>,
    pub(super) installed: Vec<String>,
    /// Names that this installation of Odoo does not know.
    pub(super) unknown: Vec<String>,
}

impl Done {
    /// What there is to do: of what was asked for, what is installed is updated and the rest installed, with what was ordered and is not
    /// there yet.
    fn planned(asked: &[String], ordered: &[String], states: &ModuleStates) -> Self {
        let mut plan = Self::default();
        let everything = asked.is_empty() || asked.iter().any(|name| name == ALL);
        if everything {
            plan.updated.push(ALL.to_owned());
        }
        for name in asked.iter().filter(|name| *name != ALL).chain(ordered) {
            let known = [&plan.updated, &plan.installed, &plan.unknown].iter().any(|list| list.contains(name));
            match (known, states.is_installed(name), states.is_known(name)) {
                (true, _, _) => {}
                (false, true, _) if everything || !asked.contains(name) => {}
                (false, true, _) => plan.updated.push(name.clone()),
                (false, false, true) => plan.installed.push(name.clone()),
                (false, false, false) => plan.unknown.push(name.clone()),
            }
        }
        plan
    }
}

#[async_trait]
impl Step for Choose {
    fn name(&self) -> &'static str {
        CHOICE
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let (site, plan) = (Site::of(cx, &self.0).await?, cx.output::<Planned>(plan::NAME)?);
        let Parameters { modules, .. } = cx.params()?;
        let states = states(cx, &self.0, &site, &plan).await?;
        Ok(json!(Done::planned(&modules, &site.instance.custom_addons, &states)))
    }
}

#[async_trait]
impl Step for Run {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Runtime
    }

    fn weight(&self) -> u32 {
        20
    }

    fn limit(&self) -> Duration {
        RUN * 2
    }

    /// What is updated is not harmed by another update.
    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        Ok(if cx.started_before(NAME) { Seen::Partial } else { Seen::Absent })
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let (site, plan) = (Site::of(cx, &self.0).await?, cx.output::<Planned>(plan::NAME)?);
        let done: Done = cx.output(CHOICE)?;
        if !done.updated.is_empty() {
            self.run(cx, &site, &plan, Task::Update(done.updated.clone())).await?;
        }
        if !done.installed.is_empty() {
            self.run(cx, &site, &plan, Task::Install(done.installed.clone())).await?;
        }
        let states = states(cx, &self.0, &site, &plan).await?;
        let missing: Vec<&String> = done.installed.iter().filter(|name| !states.is_installed(name)).collect();
        if !states.pending.is_empty() || !missing.is_empty() {
            return Err(failed(format!("pending {:?}, not installed {missing:?}", states.pending)));
        }
        Ok(json!(done))
    }
}

impl Run {
    async fn run(&self, cx: &Cx, site: &Site, plan: &Planned, task: Task) -> Result<(), StepError> {
        let mut workload = site.workload(cx, &self.0)?;
        workload.image = plan.image.clone();
        workload.database.name = plan.copy(&site.placement)?;
        let files = Files::Staged { number: plan.number, filestore: site.placement.db_name.clone() };
        let end = unless_told_to_stop(cx, self.0.runtime.run_once(&OneOff { workload, task, limit: RUN, files })).await?;
        if end.exit == Some(0) {
            return Ok(());
        }
        let log = end.log.get(end.log.len().saturating_sub(TOLD)..).unwrap_or_default().join("\n");
        Err(failed(format!("exit {:?}, log: {log}", end.exit)))
    }
}

async fn states(cx: &Cx, tools: &Tools, site: &Site, plan: &Planned) -> Result<ModuleStates, StepError> {
    let (copy, password) = (plan.copy(&site.placement)?, site.password(tools)?);
    let mut fence = site.fence(cx).await?;
    let states = fence.as_tenant(&copy, &site.placement.db_user, &password).await?.module_states().await?;
    fence.release().await?;
    Ok(states)
}

fn failed(cause: String) -> StepError {
    const FAILED: &str = "Odoo could not update the modules. The instance is as it was before.";
    StepError::permanent("update_failed", FAILED, cause)
}
