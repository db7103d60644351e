//! Instances against the runtime, both ways: rows whose service is missing, down or crashed, services that run although they
//! should not, and services without a row.
//!
//! Reports, and writes what it saw; it never starts, stops or removes anything itself. What runs although it shall not is taken down by
//! an operation, as if the stop, the suspension or the termination had been repeated; what is paid and was left down is started by one.

use super::judge::{self, Sight};
use super::settle::{Settled, settle};
use super::{BATCH, Findings, Round};
use db::platform::PlatformDb;
use db::platform::acceptance;
use db::platform::audit::{AuditContext, Door};
use db::platform::instances::{self, Instance};
use domain::ids::InstanceId;
use domain::instance::Phase;
use domain::sources::Entropy;
use runtime::{InstanceRuntime, Listed, Observed, Owner};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Rows against services.
pub struct Instances {
    /// postgres1.
    pub db: PlatformDb,
    /// What runs Odoo.
    pub runtime: Arc<dyn InstanceRuntime>,
    /// Ids of operations.
    pub entropy: Arc<dyn Entropy>,
    /// How often.
    pub period: Duration,
    /// How long a start may take to follow a payment.
    pub grace: Duration,
}

#[async_trait::async_trait]
impl Round for Instances {
    fn name(&self) -> &'static str {
        "reconcile"
    }

    fn period(&self) -> Duration {
        self.period
    }

    async fn round(&self) -> anyhow::Result<Value> {
        let mut findings = Findings::default();
        let mut known = HashSet::new();
        let mut after = None;
        loop {
            // Rows before services: what changes between the two looks has a new revision and is skipped.
            let rows = instances::watched(&self.db, after, BATCH).await?;
            let services = by_instance(self.runtime.list().await?);
            for row in &rows {
                known.insert(row.id);
                self.compare(row, services.get(&row.id), &mut findings).await;
            }
            after = rows.last().map(|row| row.id);
            if rows.len() < BATCH as usize {
                self.find_orphans(&services, &known, &mut findings).await?;
                self.resume(&mut findings).await?;
                return Ok(findings.report());
            }
        }
    }
}

impl Instances {
    async fn compare(&self, row: &Instance, service: Option<&Listed>, findings: &mut Findings) {
        let sight = sight(service.map_or(&Observed::Absent, |service| &service.observed));
        match settle(&self.db, self.name(), row, sight).await {
            Ok(Settled::Skipped) => findings.skipped += 1,
            Ok(settled) => {
                findings.checked += 1;
                findings.changed += u64::from(matches!(settled, Settled::Moved { .. }));
                if let Some(drift) = judge::drift(&row.axes, sight) {
                    findings.drift(row.id, drift);
                }
                if sight.is_up() && !judge::shall_run(&row.axes) {
                    self.take_down_again(row.id, findings).await;
                }
            }
            Err(error) => {
                tracing::warn!(instance_id = %row.id, error = %error, "what was seen could not be stored");
                findings.errors += 1;
            }
        }
    }

    async fn take_down_again(&self, id: InstanceId, findings: &mut Findings) {
        let by = self.by();
        let accepted = async {
            let mut tx = self.db.begin().await?;
            let accepted = acceptance::take_down_again(&mut tx, id, &*self.entropy, &by).await?;
            tx.commit().await?;
            Ok::<_, db::DbError>(accepted)
        };
        match accepted.await {
            Ok(operation) => {
                tracing::warn!(instance_id = %id, ?operation, "it runs although it should not; it is taken down again")
            }
            Err(error) => {
                tracing::warn!(instance_id = %id, error = %error, "it runs although it should not, and cannot be taken down again");
                findings.errors += 1;
            }
        }
    }

    /// What is paid and was left down: the start that billing sends after a payment has not come.
    async fn resume(&self, findings: &mut Findings) -> anyhow::Result<()> {
        let by = self.by();
        for id in instances::left_down(&self.db, self.grace, BATCH).await? {
            let mut tx = self.db.begin().await?;
            if let Some(operation) = acceptance::resume_paid(&mut tx, id, &*self.entropy, &by).await? {
                tx.commit().await?;
                tracing::info!(instance_id = %id, %operation, "its debt is paid; it is started");
                findings.changed += 1;
            }
        }
        Ok(())
    }

    fn by(&self) -> AuditContext {
        AuditContext { door: Door::Worker, actor: self.name().to_owned(), request_id: None }
    }

    /// Services of an instance that has no data, or no row at all, and no operation that could be making or removing them.
    async fn find_orphans(
        &self,
        services: &HashMap<InstanceId, Listed>,
        known: &HashSet<InstanceId>,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        for (id, service) in services.iter().filter(|(id, _)| !known.contains(id)) {
            let row = instances::get(&self.db, *id).await?;
            let at_rest = row.is_none_or(|row| row.operation_id.is_none() && row.axes.phase != Phase::Ready);
            if at_rest {
                tracing::warn!(instance_id = %id, service = service.name, "a service has no row");
                findings.orphans.push(service.name.clone());
            }
        }
        Ok(())
    }
}

fn by_instance(services: Vec<Listed>) -> HashMap<InstanceId, Listed> {
    let of_instance = |service: Listed| match service.owner {
        Owner::Instance(id) => Some((id, service)),
        Owner::Template(_) => None,
    };
    services.into_iter().filter_map(of_instance).collect()
}

/// What the runtime's answer means; whether Odoo is well is for the health check.
pub(super) const fn sight(observed: &Observed) -> Sight {
    match observed {
        Observed::Absent => Sight::Absent,
        Observed::Stopped => Sight::Stopped,
        Observed::Starting => Sight::Starting,
        Observed::Running { .. } => Sight::Up,
        Observed::Failed { .. } => Sight::Failed,
    }
}
