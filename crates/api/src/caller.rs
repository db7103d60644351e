//! Who calls, as the doors found out, and what is theirs.

use crate::problem::Problem;
use crate::state::AppState;
use db::platform::audit::Door;
use db::platform::instances::{self, Instance};
use db::platform::operation_view::OperationView;
use domain::ids::{CustomerId, InstanceId};

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// One of our own services, or an operator: whoever is behind the internal door.
    Internal,
    /// A customer who has logged in.
    Customer(Customer),
}

/// A customer, in one of their sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Customer {
    /// Who.
    pub id: CustomerId,
    /// What tells their sessions apart; the token cannot be found out from it.
    pub session: [u8; 32],
}

/// The internal door knows no callers: those behind it are our own services.
const INTERNAL: &str = "internal";

impl Caller {
    /// By which door.
    pub const fn door(&self) -> Door {
        match self {
            Self::Internal => Door::Internal,
            Self::Customer(_) => Door::Public,
        }
    }

    /// As audit trail and idempotency keys name them.
    pub fn actor(&self) -> String {
        match self {
            Self::Internal => INTERNAL.to_owned(),
            Self::Customer(customer) => customer.id.to_string(),
        }
    }

    /// The customer, if it is one.
    pub const fn customer(&self) -> Option<&Customer> {
        match self {
            Self::Internal => None,
            Self::Customer(customer) => Some(customer),
        }
    }

    /// Whether what belongs to this customer is the caller's to see.
    pub fn may_see(&self, owner: CustomerId) -> bool {
        self.customer().is_none_or(|customer| customer.id == owner)
    }

    /// The instance, if it is there and the caller's to see.
    ///
    /// # Errors
    /// 404, the same for one that is not there and for another's.
    pub fn own(&self, found: Option<Instance>) -> Result<Instance, Problem> {
        found.filter(|instance| self.may_see(instance.customer_id)).ok_or_else(Problem::no_instance)
    }

    /// Whether an operation is the caller's to see: a customer sees those that change an instance of theirs.
    ///
    /// # Errors
    /// When postgres1 cannot be asked.
    pub async fn may_see_operation(&self, state: &AppState, view: &OperationView) -> Result<bool, Problem> {
        let Some(customer) = self.customer() else { return Ok(true) };
        let Some(instance) = view.instance_id.filter(|_| view.kind.is_shown_to_customers()) else { return Ok(false) };
        let instance = instances::get(state.db(), InstanceId::from_uuid(instance)).await?;
        Ok(instance.is_some_and(|instance| instance.customer_id == customer.id))
    }
}
