//! One full initialisation of Odoo in the empty database, checked by query: Odoo's exit status proves nothing.

use super::ground::Ground;
use super::{data_directory, database};
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::errors::unless_foreign;
use crate::sagas::site::turn;
use crate::sagas::waiting::unless_told_to_stop;
use async_trait::async_trait;
use domain::operation::Place;
use runtime::{Files, OneOff, OneOffEnd, Task};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const NAME: &str = "initialise";
/// Longest run of Odoo. A quiet machine takes 17 s, demonstration data and a loaded one a few minutes.
const RUN: Duration = Duration::from_secs(12 * 60);

pub(super) struct Initialise(pub(super) Arc<Tools>);

#[async_trait]
impl Step for Initialise {
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
        RUN + Duration::from_secs(180)
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        Ok(if cx.started_before(NAME) { Seen::Partial } else { Seen::Absent })
    }

    async fn apply(&self, cx: &Cx, seen: Seen) -> Result<Value, StepError> {
        let ground = Ground::of(cx, &self.0)?;
        if seen == Seen::Partial {
            // What an interrupted run left cannot be told from a whole one with certainty, and it may still be at work.
            self.0.runtime.remove(&ground.service(), turn(cx)).await?;
            database::make_empty(cx, &ground).await?;
            data_directory::make_empty(cx, &self.0, &ground).await?;
        }
        let run =
            OneOff { workload: ground.workload(cx, &self.0, None)?, task: Task::Initialise, limit: RUN, files: Files::Live };
        let end = unless_told_to_stop(cx, self.0.runtime.run_once(&run)).await?;
        let states = ground.inside().await?.module_states().await?;
        if states.is_installed("base") && states.pending.is_empty() && errors_of(&end).is_empty() {
            return Ok(json!({ "modules": states.installed.len() }));
        }
        let cause = format!(
            "exit {:?}, {} modules, pending {:?}, errors {:?}, log: {}",
            end.exit,
            states.installed.len(),
            states.pending,
            errors_of(&end),
            end.log.join("\n")
        );
        Err(StepError::retry("odoo_not_initialised", "Odoo could not be initialised.", cause))
    }
}

/// What was loaded goes with database and directory. The run of a worker that was killed must end before they do.
#[async_trait]
impl Undo for Initialise {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(ground) = Ground::find(cx, &self.0)? else { return Ok(()) };
        unless_foreign(self.0.runtime.remove(&ground.service(), turn(cx)).await)
    }
}

/// Lines of Odoo's log that report an error; the level is the fourth word.
fn errors_of(end: &OneOffEnd) -> Vec<&str> {
    let is_error = |line: &&str| matches!(line.split_whitespace().nth(3), Some("ERROR" | "CRITICAL"));
    end.log.iter().map(String::as_str).filter(is_error).collect()
}
