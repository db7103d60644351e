//! What a step is given: its operation, earlier outputs, the services, the lease's token.

use crate::engine::walk::Run;
use crate::engine::{Services, StepError, Verdict};
use db::platform::PlatformTx;
use db::platform::claims::Fence;
use db::platform::journal::{JournalStep, Phase};
use db::platform::operations::Operation;
use db::platform::record;
use domain::operation::StepStatus;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Why a run stops before its step is done.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    /// The lease is lost.
    pub(crate) lost: CancellationToken,
    /// The process stops.
    pub(crate) shutdown: CancellationToken,
    /// Any of these, or, while it is obeyed, a request to cancel.
    pub(crate) any: CancellationToken,
}

/// The context of one run of one step.
#[derive(Clone)]
pub struct Cx {
    pub(crate) operation: Operation,
    pub(crate) fence: Fence,
    pub(crate) journal: Vec<JournalStep>,
    pub(crate) started_before: Vec<String>,
    pub(crate) services: Services,
    pub(crate) signals: Signals,
}

impl Cx {
    /// The context of a run as it stands.
    pub(crate) fn of(run: &Run) -> Self {
        let any = CancellationToken::new();
        let signals = Signals { lost: run.lease.lost.clone(), shutdown: run.shared.shutdown.clone(), any };
        Self {
            operation: run.operation.clone(),
            fence: run.fence,
            journal: run.journal.clone(),
            started_before: Vec::new(),
            services: run.shared.services.clone(),
            signals,
        }
    }

    /// The operation, as last written.
    pub const fn operation(&self) -> &Operation {
        &self.operation
    }

    /// The fencing token of this run; grows over the life of the scope.
    pub const fn token(&self) -> i64 {
        self.fence.token
    }

    /// Connections and sources.
    pub const fn services(&self) -> &Services {
        &self.services
    }

    /// Trips when the operation is to give up, the lease is lost, or the process stops. Every wait watches it and then
    /// ends with [`Cx::interruption`].
    pub const fn cancelled(&self) -> &CancellationToken {
        &self.signals.any
    }

    /// The error with which a step ends that was told to stop.
    pub fn interruption(&self) -> StepError {
        let (verdict, code) = if self.signals.lost.is_cancelled() {
            (Verdict::LeaseLost, "lease_lost")
        } else if self.signals.shutdown.is_cancelled() {
            (Verdict::Shutdown, "shutdown")
        } else {
            (Verdict::Cancelled, "cancelled")
        };
        StepError::new(verdict, code, "The operation was interrupted.", "the step was told to stop")
    }

    /// Waits inside a step, unless it is told to stop meanwhile.
    ///
    /// # Errors
    /// [`Cx::interruption`].
    pub async fn pause(&self, time: Duration) -> Result<(), StepError> {
        tokio::select! {
            biased;
            () = self.signals.any.cancelled() => Err(self.interruption()),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }

    /// The parameters.
    ///
    /// # Errors
    /// Permanent, if they do not have this form.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, StepError> {
        read(&self.operation.params, "the parameters")
    }

    /// The recorded output of an earlier step.
    ///
    /// # Errors
    /// Permanent, if there is none of this form.
    pub fn output<T: DeserializeOwned>(&self, step: &str) -> Result<T, StepError> {
        self.recorded(step)?.ok_or_else(|| unreadable(format!("step {step} recorded nothing")))
    }

    /// The same, `None` if that step recorded nothing: for undo after a step that was started only.
    ///
    /// # Errors
    /// Permanent, if it has another form.
    pub fn recorded<T: DeserializeOwned>(&self, step: &str) -> Result<Option<T>, StepError> {
        let entry = self.journal.iter().find(|entry| entry.step == step && entry.phase == Phase::Apply);
        match entry.filter(|entry| entry.status == StepStatus::Done).and_then(|entry| entry.output.as_ref()) {
            Some(output) => read(output, step).map(Some),
            None => Ok(None),
        }
    }

    /// Whether our journal had this step as started before the present try: what is found may be ours (engine 9, rule 4).
    pub fn started_before(&self, step: &str) -> bool {
        self.started_before.iter().any(|name| name == step)
    }

    /// A transaction on postgres1 that holds the instance's row, if there is one, and our operation's row with our token.
    ///
    /// # Errors
    /// Lease lost, if somebody else has the operation.
    pub async fn fenced_tx(&self) -> Result<PlatformTx, StepError> {
        let mut tx = self.services.db.begin().await?;
        record::lock(&mut tx, &self.fence, &self.operation).await?;
        Ok(tx)
    }

    /// Reads our token again on postgres1: what the fence on postgres2 asks before each change (engine 11).
    ///
    /// # Errors
    /// Lease lost, if somebody else has the operation.
    pub async fn confirm_token(&self) -> Result<(), StepError> {
        Ok(record::confirm(&self.services.db, &self.fence).await?)
    }
}

fn read<T: DeserializeOwned>(value: &Value, what: &str) -> Result<T, StepError> {
    T::deserialize(value).map_err(|error| unreadable(format!("{what}: {error}")))
}

fn unreadable(cause: String) -> StepError {
    StepError::permanent("unreadable_input", "Internal error.", cause)
}
