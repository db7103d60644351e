//! Fault points in a build that has none.

use crate::engine::faults::Point;
use crate::engine::keeper::Lease;
use crate::engine::{Cx, StepError};

/// Nothing can be armed.
#[derive(Clone, Debug, Default)]
pub struct Faults(());

impl Faults {
    #[allow(clippy::unused_async, reason = "the same signature as with the feature")]
    pub(crate) async fn reach(&self, _point: Point, _cx: &Cx, _lease: &Lease) -> Result<(), StepError> {
        Ok(())
    }

    pub(crate) async fn during<T>(
        &self,
        _point: Point,
        _cx: &Cx,
        _lease: &Lease,
        effect: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, StepError> {
        effect.await
    }

    #[allow(clippy::unused_async, reason = "the same signature as with the feature")]
    pub(crate) async fn renewing(&self) {}
}
