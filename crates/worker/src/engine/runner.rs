//! The engine of one process: what a wake-up leads to (engine 2, 7 and 9).
//!
//! Owns: claiming, admission, the tasks of running operations, draining at a stop.
//! Leaves to others: walking a claimed operation (`walk`), bringing wake-ups (`transport`), finding lost ones (`sweeper`).

use crate::engine::faults::Faults;
use crate::engine::keeper::Keeper;
use crate::engine::saga::{Admission, Saga};
use crate::engine::settings::EngineSettings;
use crate::engine::transport::{Handler, Transport, TransportError};
use crate::engine::walk::{self, END, Run, hook};
use crate::engine::{Registry, Services, StepError, sweeper};
use async_trait::async_trait;
use db::platform::PlatformTx;
use db::platform::claims::{self, Claim, Claimant, Claimed};
use db::platform::operations::Operation;
use db::platform::record;
use db::{DbError, DbResult};
use domain::ids::OperationId;
use domain::operation::Direction;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// The durable engine of one process. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) settings: EngineSettings,
    pub(crate) services: Services,
    pub(crate) registry: Registry,
    pub(crate) faults: Faults,
    pub(crate) keeper: Keeper,
    pub(crate) claimant: Claimant,
    pub(crate) shutdown: CancellationToken,
    runs: TaskTracker,
}

/// What a claim led to.
enum Taken {
    /// Nothing to do here.
    Nothing,
    /// Ours, and it may run, or not any more.
    Ours(Box<Run>, Admission),
    /// Ours, but the guards could not be checked; the claim was rolled back.
    Unchecked(StepError),
}

impl Engine {
    /// An engine that runs these sagas until `shutdown` trips.
    ///
    /// # Errors
    /// If the lease keeper's thread cannot be started.
    pub fn new(
        settings: EngineSettings,
        services: Services,
        registry: Registry,
        faults: Faults,
        shutdown: CancellationToken,
    ) -> io::Result<Self> {
        let keeper = Keeper::start(&services.db, &settings, faults.clone())?;
        let claimant = Claimant {
            owner: settings.owner.clone(),
            ttl: settings.lease,
            known: registry.iter().map(Saga::known).collect(),
            share: settings.share,
        };
        let runs = TaskTracker::new();
        Ok(Self { shared: Arc::new(Shared { settings, services, registry, faults, keeper, claimant, shutdown, runs }) })
    }

    /// Runs until the shutdown token trips and steps in flight have ended, or the transport gives up.
    ///
    /// # Errors
    /// [`TransportError`]: the process should end, and be started anew.
    pub async fn run(&self, transport: impl Transport) -> Result<(), TransportError> {
        let shared = &self.shared;
        let loops = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(sweeper::run(self.clone())));
        let stop = shared.shutdown.clone();
        let stopped = tokio::spawn(async move {
            stop.cancelled().await;
            Instant::now()
        });
        let ended = transport.run(Arc::new(self.clone()), shared.shutdown.clone()).await;
        shared.shutdown.cancel();
        drop(loops);
        shared.runs.close();
        // The transport has waited as well: one time limit for both.
        let waited = stopped.await.map_or(Duration::ZERO, |stopped| stopped.elapsed());
        let left = shared.settings.drain.saturating_sub(waited);
        if tokio::time::timeout(left, shared.runs.wait()).await.is_err() {
            tracing::warn!(left = shared.runs.len(), "steps in flight did not end in time; their leases will run out");
        }
        ended
    }

    /// Looks at one operation and, if it is ours to run, walks it as far as it goes now.
    async fn look_at(&self, id: OperationId) -> DbResult<()> {
        match self.take_in_time(id, true).await? {
            Taken::Nothing => {}
            Taken::Ours(run, Admission::Go | Admission::Within(_)) => run.walk().await,
            Taken::Ours(run, Admission::Refused(why)) => run.refuse(why).await,
            Taken::Unchecked(error) => {
                if let Taken::Ours(run, _) = self.take_in_time(id, false).await? {
                    run.unchecked(error).await;
                }
            }
        }
        Ok(())
    }

    /// A claim that takes longer than a lease lasts is of no use, and whoever waits for it has a slot that others need.
    async fn take_in_time(&self, id: OperationId, check: bool) -> DbResult<Taken> {
        let taken = tokio::time::timeout(self.shared.settings.lease, self.take(id, check)).await;
        taken.unwrap_or_else(|_| {
            tracing::warn!(operation = %id, "a claim took too long; the sweeper comes back to it");
            Ok(Taken::Nothing)
        })
    }

    async fn take(&self, id: OperationId, check: bool) -> DbResult<Taken> {
        let mut tx = self.shared.services.db.begin().await?;
        let mut claim = match claims::claim(&mut tx, id, &self.shared.claimant).await {
            Ok(Claimed::Ours(claim)) => claim,
            Ok(Claimed::Quarantined(operation)) => return self.quarantined(tx, &operation).await,
            // Another operation of the scope became active at the same moment.
            Ok(Claimed::NotOurs) | Err(DbError::Constraint { .. }) => return Ok(Taken::Nothing),
            Err(error) => return Err(error),
        };
        let Some(saga) = self.shared.registry.get(claim.operation.kind, claim.operation.def_version).cloned() else {
            return Ok(Taken::Nothing);
        };
        let fresh = claim.journal.iter().all(|entry| entry.step == END.name) && claim.operation.direction == Direction::Forward;
        let mut admission = Admission::Go;
        if check && fresh {
            match hook(saga.ends().admit(&claim.operation, &mut tx)).await {
                Ok(Admission::Within(limit)) => claims::allow(&mut tx, &mut claim, limit).await?,
                Ok(answer) => admission = answer,
                Err(error) => return Ok(Taken::Unchecked(error)),
            }
        }
        if check && admission == Admission::Go {
            begin(&mut tx, &saga, &mut claim).await?;
        }
        // Without an answer it stays unknown whose claim this is: the next one may have got the same token. If it is ours after all,
        // its lease runs out and it is taken over.
        tx.commit().await?;
        count_claim(&claim);
        let kept = self.shared.keeper.keep(&claim.operation.scope, claim.fence.token, claim.taken_at);
        Ok(Taken::Ours(Box::new(Run::new(self.shared.clone(), saga, kept, *claim)), admission))
    }

    async fn quarantined(&self, tx: PlatformTx, operation: &Operation) -> DbResult<Taken> {
        tx.commit().await?;
        alert(operation, "an operation that silenced five workers in a row is set aside");
        Ok(Taken::Nothing)
    }
}

/// Records the start of the first step with the claim itself, where nothing stands against it.
async fn begin(tx: &mut PlatformTx, saga: &Saga, claim: &mut Claim) -> DbResult<()> {
    if let Some(write) = walk::first_start(saga, claim) {
        let recorded = record::write(tx, &claim.fence, &write, &[]).await?;
        (claim.operation, claim.journal, claim.fence) = (recorded.operation, recorded.journal, recorded.fence);
    }
    Ok(())
}

fn count_claim(claim: &Claim) {
    let kind = claim.operation.kind.as_str();
    metrics::counter!("engine_claims_total", "kind" => kind).increment(1);
    if claim.taken_over {
        tracing::warn!(operation = %claim.operation.id, kind, token = claim.fence.token, "taken over from a worker that went silent");
        metrics::counter!("engine_takeovers_total", "kind" => kind).increment(1);
    }
}

/// Somebody has to look at this operation.
pub(crate) fn alert(operation: &Operation, why: &str) {
    metrics::counter!("engine_needs_attention_total", "kind" => operation.kind.as_str()).increment(1);
    let cause = operation.error.as_ref().map_or("", |fault| fault.cause.as_str());
    tracing::error!(operation = %operation.id, kind = %operation.kind, step = operation.current_step, cause, "{why}");
}

#[async_trait]
impl Handler for Engine {
    /// Everything written to `operations` is a success here, whatever became of the operation; only postgres1 out of reach
    /// is an error.
    async fn handle(&self, id: OperationId) -> DbResult<()> {
        if self.shared.shutdown.is_cancelled() {
            return Ok(());
        }
        // In a task of its own: a dying worker of the transport drops its futures in the middle of whatever they do.
        let engine = self.clone();
        let span = tracing::info_span!("operation", operation = %id);
        let body = self.shared.runs.spawn(async move { engine.look_at(id).await }.instrument(span));
        match body.await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(operation = %id, %error, "the runner itself failed; the lease will run out");
                Ok(())
            }
        }
    }
}
