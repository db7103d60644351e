//! fetch_logs: reads the last log lines of an instance for a client (contract 4.3). Changes nothing, has a scope of its own.
//!
//! Parameters: `{"lines": 1..1000}`. Result: `{"logs": [...]}`, oldest first, secrets masked, physical names taken out.

mod hidden;

use super::Tools;
use super::site::Site;
use crate::engine::{Cx, Ends, Outcome, Saga, Seen, Step, StepError};
use async_trait::async_trait;
use db::platform::PlatformTx;
use domain::operation::{Kind, Place};
use hidden::Hidden;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const READ: &str = "read";
const MOST_LINES: usize = 1000;

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    Saga::new(Kind::FetchLogs, 1, Read).step(ReadLogs(Arc::clone(tools))).no_undo("it only reads")
}

#[derive(Deserialize)]
struct Parameters {
    lines: usize,
}

struct ReadLogs(Arc<Tools>);

#[async_trait]
impl Step for ReadLogs {
    fn name(&self) -> &'static str {
        READ
    }

    fn place(&self) -> Place {
        Place::Runtime
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(10)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let lines = cx.params::<Parameters>()?.lines.min(MOST_LINES);
        // Never started, or removed: there are no lines.
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(json!([])) };
        let logs = self.0.runtime.logs(&site.service(), lines).await?;
        let password = site.instance.db_secret.is_some().then(|| site.password(&self.0)).transpose()?;
        let hidden = Hidden::of(&site.placement, &site.instance.database_name, password.as_ref());
        Ok(json!(logs.iter().map(|line| hidden.take_out_of(line)).collect::<Vec<_>>()))
    }
}

struct Read;

#[async_trait]
impl Ends for Read {
    async fn finish(&self, cx: &Cx, _tx: &mut PlatformTx) -> Result<Value, StepError> {
        Ok(json!({ "logs": cx.output::<Vec<String>>(READ)? }))
    }

    async fn unwound(&self, _cx: &Cx, _tx: &mut PlatformTx, _outcome: &Outcome) -> Result<(), StepError> {
        Ok(())
    }
}
