//! What a row was before an operation was accepted: kept in the operation's parameters, for the case that it is cancelled before it
//! has begun.

use domain::instance::{Axes, DesiredState, Status};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    status: Status,
    desired: DesiredState,
}

impl Before {
    /// What is taken back leads to no suspension that was lifted and to no other operation that gave up: there it is down.
    pub(super) const fn of(axes: &Axes) -> Self {
        match axes.status {
            Status::Paused | Status::Terminated | Status::Starting | Status::Restarting | Status::Stopping => {
                Self { status: Status::Stopped, desired: DesiredState::Stopped }
            }
            status => Self { status, desired: axes.desired },
        }
    }

    /// Keeps it among the parameters of an operation.
    pub(super) fn keep_in(self, params: &mut Value) {
        params["before"] = json!(self);
    }

    pub(super) fn read(params: &Value) -> Option<Self> {
        serde_json::from_value(params.get("before")?.clone()).ok()
    }

    /// The axes as they were; everything else stays.
    pub(super) const fn restored(self, axes: &Axes) -> Axes {
        Axes { status: self.status, desired: self.desired, ..*axes }
    }
}
