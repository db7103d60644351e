//! What a step is given: its operation, earlier outputs, the services, the lease's token.

use crate::engine::{Services, StepError};
use db::platform::PlatformTx;
use db::platform::operations::Operation;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

/// The context of one run of one operation.
pub struct Cx {
    operation: Operation,
    token: i64,
    services: Services,
    cancel: CancellationToken,
}

impl Cx {
    /// The operation, as claimed.
    pub const fn operation(&self) -> &Operation {
        &self.operation
    }
    /// The fencing token of this run; grows over the life of the scope.
    pub const fn token(&self) -> i64 {
        self.token
    }
    /// Connections and sources.
    pub const fn services(&self) -> &Services {
        &self.services
    }
    /// Trips when the operation is to give up, the lease is lost, or the process stops. Every wait watches it.
    pub const fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }
    /// The parameters.
    ///
    /// # Errors
    /// Permanent, if they do not have this form.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, StepError> {
        todo!()
    }
    /// The recorded output of an earlier step.
    ///
    /// # Errors
    /// Permanent, if there is none of this form.
    pub fn output<T: DeserializeOwned>(&self, _step: &str) -> Result<T, StepError> {
        todo!()
    }
    /// The same, `None` if that step recorded nothing: for undo after a step that was started only.
    ///
    /// # Errors
    /// Permanent, if it has another form.
    pub fn recorded<T: DeserializeOwned>(&self, _step: &str) -> Result<Option<T>, StepError> {
        todo!()
    }
    /// Whether our journal had this step as started before the present run: what is found may be ours (engine 9, rule 4).
    pub fn started_before(&self, _step: &str) -> bool {
        todo!()
    }
    /// A transaction on postgres1 that holds our operation's row with our token.
    ///
    /// # Errors
    /// Lease lost, if somebody else has the operation.
    pub async fn fenced_tx(&self) -> Result<PlatformTx, StepError> {
        todo!()
    }
    /// Reads our token again on postgres1: what the fence on postgres2 asks before each DDL (engine 11).
    ///
    /// # Errors
    /// Lease lost, if somebody else has the operation.
    pub async fn confirm_token(&self) -> Result<(), StepError> {
        todo!()
    }
}
