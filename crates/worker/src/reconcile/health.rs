//! Asks every instance that should run whether it does (contract 17, health check).
//!
//! One failed answer changes nothing; five in a row, over rounds and over workers, make an instance unhealthy, and the next
//! good one heals it. Nothing is ever restarted from here.

use super::judge::{PATIENCE, Sight};
use super::settle::{Settled, settle};
use super::{BATCH, Findings, Round, instances};
use db::platform::instances::{self as rows, Instance};
use db::platform::monitoring::Effective;
use db::platform::{PlatformDb, monitor};
use domain::instance::{DesiredState, Suspension};
use futures::{StreamExt as _, stream};
use runtime::{InstanceRuntime, Observed, Owner, Service};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Name of the loop.
const NAME: &str = "health";
/// How many instances are asked at a time.
const AT_A_TIME: usize = 16;
/// Longest wait for one answer; the client is built with it.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// The health check.
pub struct HealthCheck {
    /// postgres1.
    pub db: PlatformDb,
    /// What runs Odoo.
    pub runtime: Arc<dyn InstanceRuntime>,
    /// Asks Odoo, with [`TIMEOUT`].
    pub http: reqwest::Client,
    /// How often.
    pub setup: watch::Receiver<Effective>,
}

#[async_trait::async_trait]
impl Round for HealthCheck {
    fn name(&self) -> &'static str {
        NAME
    }

    fn period(&self) -> Duration {
        self.setup.borrow().health_check_every()
    }

    fn setup(&self) -> Option<watch::Receiver<Effective>> {
        Some(self.setup.clone())
    }

    async fn round(&self) -> anyhow::Result<Value> {
        let before = self.failing_before().await?;
        let mut findings = Findings::default();
        let mut after = None;
        loop {
            let page = rows::watched(&self.db, after, BATCH).await?;
            after = page.last().map(|row| row.id);
            let last = page.len() < BATCH as usize;
            let shall_run = page.into_iter().filter(shall_run);
            let mut looks = stream::iter(shall_run.map(|row| self.look(row, &before))).buffer_unordered(AT_A_TIME);
            while let Some((row, look)) = looks.next().await {
                self.note(&row, look, &before, &mut findings).await;
            }
            if last {
                return Ok(findings.report());
            }
        }
    }
}

fn shall_run(row: &Instance) -> bool {
    row.axes.desired == DesiredState::Running && row.axes.suspension == Suspension::None && row.operation_id.is_none()
}

impl HealthCheck {
    /// How often in a row each instance had not answered, by the last report.
    async fn failing_before(&self) -> anyhow::Result<BTreeMap<String, u32>> {
        let report = monitor::read(&self.db, NAME).await?;
        let failing = report.and_then(|report| report.value.pointer("/report/failing").cloned());
        Ok(failing.and_then(|failing| serde_json::from_value(failing).ok()).unwrap_or_default())
    }

    async fn look(&self, row: Instance, before: &BTreeMap<String, u32>) -> (Instance, Option<Sight>) {
        let Some(placement) = &row.placement else { return (row, None) };
        let service = Service { name: placement.service_name.clone(), owner: Owner::Instance(row.id) };
        let sight = match self.runtime.observe(&service).await {
            Ok(Observed::Running { .. }) if self.answers(&row).await => Some(Sight::Healthy),
            Ok(Observed::Running { .. }) => {
                let earlier = before.get(&row.id.to_string()).copied().unwrap_or_default();
                Some(Sight::NotAnswering(earlier.saturating_add(1)))
            }
            Ok(observed) => {
                if let Observed::Failed { reason } = &observed {
                    tracing::warn!(instance_id = %row.id, reason, "Odoo ended by itself");
                }
                Some(instances::sight(&observed))
            }
            // Who cannot be asked says nothing about the instance.
            Err(error) => {
                tracing::warn!(instance_id = %row.id, error = %error, "the runtime cannot be asked");
                None
            }
        };
        (row, sight)
    }

    async fn answers(&self, row: &Instance) -> bool {
        let Some(url) = &row.internal_url else { return false };
        let answer = self.http.get(format!("{}/web/health", url.trim_end_matches('/'))).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    async fn note(&self, row: &Instance, look: Option<Sight>, before: &BTreeMap<String, u32>, findings: &mut Findings) {
        let key = row.id.to_string();
        let Some(sight) = look else {
            findings.errors += 1;
            if let Some(times) = before.get(&key) {
                findings.failing.insert(key, *times);
            }
            return;
        };
        if let Sight::NotAnswering(times) = sight {
            findings.failing.insert(key, times.min(PATIENCE));
        }
        match settle(&self.db, NAME, row, sight).await {
            Ok(Settled::Skipped) => findings.skipped += 1,
            Ok(settled) => {
                findings.checked += 1;
                findings.changed += u64::from(matches!(settled, Settled::Moved { .. }));
            }
            Err(error) => {
                tracing::warn!(instance_id = %row.id, error = %error, "what was seen could not be stored");
                findings.errors += 1;
            }
        }
    }
}
