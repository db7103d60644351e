//! reconcile: compares rows with what runs, and with what stands on servers and disks, on request (contract 8.5 and 17). The loops do both by themselves.
//!
//! Parameters: [`Compare`]. Result: the counts of the comparison, and what it found wrong.

use super::Tools;
use crate::engine::{Cx, Ends, Outcome, Saga, Seen, Step, StepError};
use crate::reconcile::drift::Drift;
use crate::reconcile::{Comparison, Findings, LOOP, LookError};
use async_trait::async_trait;
use db::platform::acceptance::Compare;
use db::platform::{PlatformTx, monitor};
use domain::operation::{Kind, Place};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const COMPARE: &str = "compare";

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    Saga::new(Kind::Reconcile, 1, Compared)
        .step(CompareRows(Arc::clone(tools)))
        .no_undo("it only reads, and what it asks for is work of its own")
}

struct CompareRows(Arc<Tools>);

#[async_trait]
impl Step for CompareRows {
    fn name(&self) -> &'static str {
        COMPARE
    }

    fn place(&self) -> Place {
        Place::Runtime
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(15 * 60)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let services = cx.services();
        let comparison = Comparison {
            db: services.db.clone(),
            runtime: self.0.runtime.clone(),
            entropy: services.entropy.clone(),
            setup: self.0.monitoring.clone(),
        };
        let request = cx.params::<Compare>()?;
        let mut findings = match comparison.run(&request).await {
            // A runtime that cannot be asked says nothing, and whoever asked is told so (contract 17).
            Err(LookError::Runtime(error)) => {
                tracing::warn!(error = %error, "instances cannot be compared with what runs");
                Findings::nothing()
            }
            findings => {
                let findings = findings?;
                if !request.dry_run && request.only.is_none() {
                    // As good as a round of the loop.
                    monitor::write(&services.db, LOOP, &json!({ "ok": true, "report": findings.report() })).await?;
                }
                findings
            }
        };
        if request.only.is_none() {
            findings.add(self.drift(cx).look().await?);
        }
        Ok(findings.result())
    }
}

impl CompareRows {
    fn drift(&self, cx: &Cx) -> Drift {
        let (servers, directories) = (self.0.servers.clone(), self.0.directories.clone());
        Drift { db: cx.services().db.clone(), servers, directories }
    }
}

struct Compared;

#[async_trait]
impl Ends for Compared {
    async fn finish(&self, cx: &Cx, _tx: &mut PlatformTx) -> Result<Value, StepError> {
        cx.output(COMPARE)
    }

    async fn unwound(&self, _cx: &Cx, _tx: &mut PlatformTx, _outcome: &Outcome) -> Result<(), StepError> {
        Ok(())
    }
}
