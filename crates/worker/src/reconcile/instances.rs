//! Instances against the runtime, both ways: rows whose service is missing, down or crashed, services that run although they
//! should not, and services without a row.
//!
//! Reports, and writes what it saw; it never starts, stops or removes anything itself. What runs although it shall not is taken down by
//! an operation, as if the stop, the suspension or the termination had been repeated; what is paid and was left down is started by one.

use super::findings::Detail;
use super::judge::{self, Sight};
use super::settle::{Settled, settle};
use super::{BATCH, Findings, Round};
use db::platform::acceptance::{self, Applied, ApplyResources, Compare};
use db::platform::audit::{AuditContext, Door};
use db::platform::instances::{self, Instance};
use db::platform::monitoring::Effective;
use db::platform::{PlatformDb, PlatformTx};
use db::{DbError, DbResult};
use domain::ids::{InstanceId, OperationId};
use domain::instance::{Phase, Status};
use domain::sources::Entropy;
use runtime::{InstanceRuntime, Listed, Observed, Owner, RuntimeError, Service};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Name of the loop.
pub(crate) const NAME: &str = "reconcile";

/// Rows against services.
pub struct Comparison {
    /// postgres1.
    pub db: PlatformDb,
    /// What runs Odoo.
    pub runtime: Arc<dyn InstanceRuntime>,
    /// Ids of operations.
    pub entropy: Arc<dyn Entropy>,
    /// How long a start may take to follow a payment.
    pub setup: watch::Receiver<Effective>,
}

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// postgres1.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The engine that runs Odoo: who cannot be asked says nothing.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

#[async_trait::async_trait]
impl Round for Comparison {
    fn name(&self) -> &'static str {
        NAME
    }

    fn period(&self) -> Duration {
        self.setup.borrow().reconcile_every()
    }

    fn setup(&self) -> Option<watch::Receiver<Effective>> {
        Some(self.setup.clone())
    }

    async fn round(&self) -> anyhow::Result<Value> {
        Ok(self.run(&Compare::default()).await?.report())
    }
}

impl Comparison {
    /// Compares, and does what is asked about it.
    ///
    /// # Errors
    /// The runtime or postgres1 could not be asked; trouble with single rows is in the findings.
    pub async fn run(&self, how: &Compare) -> Result<Findings, LookError> {
        let mut findings = Findings::default();
        findings.tells_all = how.only.is_some();
        match how.only {
            Some(id) => self.compare_one(id, how, &mut findings).await?,
            None => self.compare_all(how, &mut findings).await?,
        }
        Ok(findings)
    }

    async fn compare_one(&self, id: InstanceId, how: &Compare, findings: &mut Findings) -> Result<(), LookError> {
        let Some(row) = instances::get(&self.db, id).await? else { return Ok(()) };
        let Some(placement) = &row.placement else { return Ok(()) };
        let service = Service { name: placement.service_name.clone(), owner: Owner::Instance(id) };
        let sight = sight(&self.runtime.observe(&service).await?);
        self.compare(&row, sight, how, findings).await;
        Ok(())
    }

    async fn compare_all(&self, how: &Compare, findings: &mut Findings) -> Result<(), LookError> {
        let mut known = HashSet::new();
        let mut after = None;
        loop {
            // Rows before services: what changes between the two looks has a new revision and is skipped.
            let rows = instances::watched(&self.db, after, BATCH).await?;
            let services = by_instance(self.runtime.list().await?);
            for row in &rows {
                known.insert(row.id);
                let sight = sight(services.get(&row.id).map_or(&Observed::Absent, |service| &service.observed));
                self.compare(row, sight, how, findings).await;
            }
            after = rows.last().map(|row| row.id);
            if rows.len() < BATCH as usize {
                self.find_orphans(&services, &known, findings).await?;
                if !how.dry_run {
                    self.resume(findings).await?;
                }
                return Ok(());
            }
        }
    }

    async fn compare(&self, row: &Instance, sight: Sight, how: &Compare, findings: &mut Findings) {
        if row.operation_id.is_some() {
            findings.skipped += 1;
            return;
        }
        let mut detail = Detail::of(row, sight);
        match self.act(row, sight, how).await {
            Ok(Done::Skipped) => {
                findings.skipped += 1;
                return;
            }
            Ok(done) => {
                findings.checked += 1;
                detail.updated = done == Done::Changed;
                findings.changed += u64::from(detail.updated);
            }
            Err(error) => {
                tracing::warn!(instance_id = %row.id, error = %error, "what was seen could not be stored");
                findings.errors += 1;
                detail.error_message = Some("What was seen could not be stored".to_owned());
            }
        }
        if let Some(drift) = judge::drift(&row.axes, sight) {
            findings.drift(row.id, drift);
        }
        findings.tell(detail);
    }

    async fn act(&self, row: &Instance, sight: Sight, how: &Compare) -> DbResult<Done> {
        if how.dry_run {
            let now = instances::get(&self.db, row.id).await?;
            let as_seen = now.is_some_and(|now| now.revision == row.revision && now.operation_id.is_none());
            return Ok(if as_seen { Done::Seen } else { Done::Skipped });
        }
        let settled = settle(&self.db, NAME, row, sight).await?;
        let queued = match settled {
            Settled::Skipped => return Ok(Done::Skipped),
            _ if sight.is_up() && !judge::shall_run(&row.axes) => self.take_down_again(row.id).await?,
            _ if how.force_update && row.resources_pending && row.axes.status == Status::Running => {
                self.bring_limits(row.id).await?
            }
            _ => None,
        };
        let changed = queued.is_some() || matches!(settled, Settled::Moved { .. });
        Ok(if changed { Done::Changed } else { Done::Seen })
    }

    async fn take_down_again(&self, id: InstanceId) -> DbResult<Option<OperationId>> {
        let mut tx = self.db.begin().await?;
        let accepted = acceptance::take_down_again(&mut tx, id, &*self.entropy, &by()).await?;
        tx.commit().await?;
        tracing::warn!(instance_id = %id, operation = ?accepted, "it runs although it should not; it is taken down again");
        Ok(accepted)
    }

    async fn bring_limits(&self, id: InstanceId) -> DbResult<Option<OperationId>> {
        let mut tx: PlatformTx = self.db.begin().await?;
        let applied = acceptance::apply_resources(&mut tx, &ApplyResources { instance_id: id }, &*self.entropy, &by()).await?;
        let Applied::Done(_, operation) = applied else { return Ok(None) };
        tx.commit().await?;
        Ok(operation)
    }

    /// What is paid and was left down: the start that billing sends after a payment has not come.
    async fn resume(&self, findings: &mut Findings) -> DbResult<()> {
        let grace = self.setup.borrow().resume_grace();
        for id in instances::left_down(&self.db, grace, BATCH).await? {
            let mut tx = self.db.begin().await?;
            if let Some(operation) = acceptance::resume_paid(&mut tx, id, &*self.entropy, &by()).await? {
                tx.commit().await?;
                tracing::info!(instance_id = %id, %operation, "its debt is paid; it is started");
                findings.changed += 1;
            }
        }
        Ok(())
    }

    /// Services of an instance that has no data, or no row at all, and no operation that could be making or removing them.
    async fn find_orphans(
        &self,
        services: &HashMap<InstanceId, Listed>,
        known: &HashSet<InstanceId>,
        findings: &mut Findings,
    ) -> DbResult<()> {
        for (id, service) in services.iter().filter(|(id, _)| !known.contains(id)) {
            let row = instances::get(&self.db, *id).await?;
            let at_rest = row.is_none_or(|row| row.operation_id.is_none() && row.axes.phase != Phase::Ready);
            if at_rest {
                tracing::warn!(instance_id = %id, service = service.name, "a service has no row");
                findings.orphan(*id, service.name.clone(), sight(&service.observed));
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    /// Nothing had to be done.
    Seen,
    /// The status moved, or work was queued.
    Changed,
    /// An operation is at work, or the row changed meanwhile.
    Skipped,
}

fn by() -> AuditContext {
    AuditContext { door: Door::Worker, actor: NAME.to_owned(), request_id: None }
}

fn by_instance(services: Vec<Listed>) -> HashMap<InstanceId, Listed> {
    let of_instance = |service: Listed| match service.owner {
        Owner::Instance(id) => Some((id, service)),
        Owner::Template(_) => None,
    };
    services.into_iter().filter_map(of_instance).collect()
}

/// What the runtime's answer means; whether Odoo is well is for the health check.
pub(crate) const fn sight(observed: &Observed) -> Sight {
    match observed {
        Observed::Absent => Sight::Absent,
        Observed::Stopped => Sight::Stopped,
        Observed::Starting => Sight::Starting,
        Observed::Running { .. } => Sight::Up,
        Observed::Failed { .. } => Sight::Failed,
    }
}
