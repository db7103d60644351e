//! `public.instances`: one row per hosted Odoo, the truth about what it is, what it shall be, and where it is.
//!
//! Owns: the row type, reading it (also rows of the earlier service with odd values), the compare-and-set that every
//! status change goes through, placement and its undo, scrubbing.
//! Leaves to others: which change is legal (`domain::instance`), which requests lead to one (`acceptance`), operations.

mod advance;
mod lookup;
mod placement;
mod row;

pub use advance::{Change, Refused, advance, happen, observe, resources_applied};
pub use lookup::{
    ListFilter, Page, by_service, by_subscription, count, count_services, failed, get, host_taken, left_down, list,
    live_with_subscription, lock, ports, services, terminated_for, watched,
};
pub(in crate::platform) use lookup::{host_taken_on, is_terminated_for};
pub use placement::{Placement, place, scrub, set_database_oid, set_image, set_secret, unplace};

use crate::error::{DbError, DbResult};
use chrono::{DateTime, Utc};
use domain::ids::{CustomerId, InstanceId, OperationId, ServerId, SubscriptionId};
use domain::instance::{Axes, DbType, InstanceType};
use domain::size::ByteSize;
use domain::version::OdooVersion;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One instance. Whatever stands in the row, it can be read: odd values of the earlier service are normalised as
/// contract 4.1 says.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Whose it is.
    pub customer_id: CustomerId,
    /// What pays for it.
    pub subscription_id: Option<SubscriptionId>,
    /// What the customer calls it.
    pub name: String,
    /// What the customer says about it.
    pub description: Option<String>,
    /// Major version as text, `17.0` read as `17`; see [`Instance::version`].
    pub odoo_version: String,
    /// What it is for.
    pub instance_type: InstanceType,
    /// Everything that decides what may happen next.
    pub axes: Axes,
    /// Grows with every write; see [`advance`].
    pub revision: i64,
    /// `false`: a row of the earlier service whose physical names are not known yet (contract 20.1).
    pub adopted: bool,
    /// CPUs.
    pub cpu_limit: Decimal,
    /// Memory.
    pub memory_limit: ByteSize,
    /// Disk.
    pub storage_limit: ByteSize,
    /// New limits wait for the next start.
    pub resources_pending: bool,
    /// The limits that its service has meanwhile.
    pub running_limits: Option<Limits>,
    /// Login of the Odoo administrator.
    pub admin_email: String,
    /// The customer's label; names nothing physical.
    pub database_name: String,
    /// Host label, as ordered.
    pub subdomain: Option<String>,
    /// Host label in use; none while terminated.
    pub hostname: Option<String>,
    /// Host label that it had when it was terminated.
    pub released_hostname: Option<String>,
    /// With demo data.
    pub demo_data: bool,
    /// Add-ons to install.
    pub custom_addons: Vec<String>,
    /// Modules not to install.
    pub disabled_modules: Vec<String>,
    /// The customer's environment.
    pub environment_vars: BTreeMap<String, String>,
    /// The client's notes.
    pub metadata: Map<String, Value>,
    /// Tier of server that was ordered.
    pub db_type: DbType,
    /// Why it is as it is; shown to the customer.
    pub error_message: Option<String>,
    /// Where customers reach it; none before the first provisioning.
    pub external_url: Option<String>,
    /// Where the platform reaches it.
    pub internal_url: Option<String>,
    /// Why it is suspended, in the requester's words.
    pub suspension_reason: Option<String>,
    /// Since when it is suspended.
    pub suspended_since: Option<DateTime<Utc>>,
    /// When the observed state was last looked at.
    pub observed_at: Option<DateTime<Utc>>,
    /// Last time Odoo answered a health check.
    pub last_health_check: Option<DateTime<Utc>>,
    /// Last time it became running.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was recorded.
    pub created_at: DateTime<Utc>,
    /// Last write.
    pub updated_at: DateTime<Utc>,
    /// When it was removed for good.
    pub purged_at: Option<DateTime<Utc>>,
    /// Its names and places; none before provisioning, after a purge, and in rows not adopted.
    pub placement: Option<Placement>,
    /// OID of its database: what a drop or rename compares first.
    pub db_oid: Option<u32>,
    /// The sealed password of its role; see [`crate::platform::instances::secret_place`].
    pub db_secret: Option<Sealed>,
    /// The active operation, else the next in its queue.
    pub operation_id: Option<OperationId>,
    /// The status as stored, for the compare-and-set.
    stored_status: Option<String>,
}

/// What a plan allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// CPUs.
    pub cpu_limit: Decimal,
    /// Memory.
    pub memory_limit: ByteSize,
    /// Disk.
    pub storage_limit: ByteSize,
}

impl Instance {
    /// The limits that it shall have.
    pub const fn limits(&self) -> Limits {
        Limits { cpu_limit: self.cpu_limit, memory_limit: self.memory_limit, storage_limit: self.storage_limit }
    }

    /// The Odoo version, for those who act on it.
    ///
    /// # Errors
    /// [`DbError::Inconsistent`] in rows of the earlier service with a version nobody knows.
    pub fn version(&self) -> DbResult<OdooVersion> {
        OdooVersion::parse(&self.odoo_version).ok_or_else(|| DbError::Inconsistent {
            table: "instances",
            column: "odoo_version",
            row: self.id.to_string(),
            why: "not a version".to_owned(),
        })
    }

    /// As read before `accepted` was queued: an operation that was there already goes first.
    pub(in crate::platform) fn with_operation(mut self, accepted: Option<OperationId>) -> Self {
        self.operation_id = self.operation_id.or(accepted);
        self
    }

    /// The server it is placed on.
    pub fn server(&self) -> Option<ServerId> {
        self.placement.as_ref().map(|placement| placement.server)
    }
}

/// A sealed value: prints nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Takes over sealed bytes.
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// For [`crate::secrets::Keyring::open`].
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealed")
    }
}

/// The place for which an instance's database password is sealed.
pub const fn secret_place(id: InstanceId) -> crate::secrets::Aad {
    crate::secrets::Aad { table: "instances", column: "db_secret", row: id.as_uuid() }
}
