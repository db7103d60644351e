//! The order for a new instance, and a change of one: from what the JSON body holds to a validated request (contract 4.2, 4.3).
//!
//! Owns every check that needs nothing but the request. Leaves to others: JSON itself and wrong JSON types (`api`),
//! whether subscription, label and host are free (`db::platform::acceptance`).

mod amendment;
mod faults;
mod field;
mod read;

#[cfg(test)]
mod tests;

pub use amendment::{Amendment, parse_amendment};
pub use read::parse;

use crate::ids::{CustomerId, SubscriptionId};
use crate::instance::{BillingStatus, DbType, InstanceType};
use crate::names::{AddonName, AdminEmail, DatabaseLabel, EnvName, HostLabel, InstanceName, ReservedHosts};
use crate::problem::Refusal;
use crate::size::{ByteSize, CpuLimit};
use crate::version::OdooVersion;
use secrecy::SecretString;
use std::collections::BTreeMap;

/// The fields of the body after JSON's own type checks; absent and null are both `None`.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields of contract 4.2 by their names")]
pub struct RawOrder {
    pub name: Option<String>,
    pub odoo_version: Option<RawVersion>,
    pub instance_type: Option<String>,
    pub description: Option<String>,
    pub cpu_limit: Option<f64>,
    pub memory_limit: Option<String>,
    pub storage_limit: Option<String>,
    pub admin_email: Option<String>,
    pub admin_password: Option<SecretString>,
    pub database_name: Option<String>,
    pub subdomain: Option<String>,
    pub demo_data: Option<bool>,
    pub custom_addons: Option<Vec<String>>,
    pub disabled_modules: Option<Vec<String>>,
    pub environment_vars: Option<BTreeMap<String, String>>,
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    pub customer_id: Option<String>,
    pub subscription_id: Option<String>,
    pub billing_status: Option<String>,
    pub db_type: Option<String>,
}

/// A version as clients write it.
#[derive(Clone, Debug, PartialEq)]
pub enum RawVersion {
    /// `"17"`, `"17.0"`, `"v17"`.
    Text(String),
    /// `17`, `17.0`.
    Number(f64),
}

/// What an order is measured by, from the settings.
#[derive(Clone, Debug)]
pub struct OrderRules {
    /// Versions that may be ordered.
    pub supported_versions: Vec<OdooVersion>,
    /// The version of an order that names none.
    pub default_version: OdooVersion,
    /// Host labels that no instance gets.
    pub reserved_hosts: ReservedHosts,
}

/// A request for a new instance that has passed every check of its own. The admin password is not in it: it was
/// checked and dropped, since the password is always generated.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields of contract 4.2 by their names")]
pub struct NewInstance {
    pub customer_id: CustomerId,
    pub subscription_id: SubscriptionId,
    pub name: InstanceName,
    pub odoo_version: OdooVersion,
    pub instance_type: InstanceType,
    pub description: Option<String>,
    pub cpu_limit: CpuLimit,
    pub memory_limit: ByteSize,
    pub storage_limit: ByteSize,
    pub admin_email: AdminEmail,
    pub database_name: DatabaseLabel,
    pub subdomain: Option<HostLabel>,
    pub demo_data: bool,
    pub custom_addons: Vec<AddonName>,
    pub disabled_modules: Vec<AddonName>,
    pub environment_vars: BTreeMap<EnvName, String>,
    pub metadata: serde_json::Map<String, serde_json::Value>,
    pub billing_status: BillingStatus,
    pub db_type: DbType,
}

/// An order of the right form whose subscription is known. The house rules (400) wait until it is sure that this
/// subscription has no live instance yet: a replay is answered with that one, whatever the other fields say.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Who orders.
    pub customer_id: CustomerId,
    /// What pays for it.
    pub subscription_id: SubscriptionId,
    admitted: Result<Box<NewInstance>, Refusal>,
}

impl Order {
    /// The request, or the first house rule it breaks. To be asked after the look for a replay.
    pub fn admit(self) -> Result<NewInstance, Refusal> {
        self.admitted.map(|new| *new)
    }
}
