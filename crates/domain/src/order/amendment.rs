//! A change of what was ordered (contract 4.3): the fields of an order that may change, by the same rules.

use super::faults::Faults;
use super::{RawOrder, field};
use crate::instance::{DbType, InstanceType};
use crate::names::{AddonName, AdminEmail, EnvName, InstanceName};
use crate::problem::Refusal;
use crate::size::{ByteSize, CpuLimit};
use std::collections::BTreeMap;

/// What is `None` stays as it is; lists and objects are replaced as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the fields of contract 4.2 by their names")]
pub struct Amendment {
    pub name: Option<InstanceName>,
    pub description: Option<String>,
    pub instance_type: Option<InstanceType>,
    pub cpu_limit: Option<CpuLimit>,
    pub memory_limit: Option<ByteSize>,
    pub storage_limit: Option<ByteSize>,
    pub admin_email: Option<AdminEmail>,
    pub demo_data: Option<bool>,
    pub custom_addons: Option<Vec<AddonName>>,
    pub disabled_modules: Option<Vec<AddonName>>,
    pub environment_vars: Option<BTreeMap<EnvName, String>>,
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    pub db_type: Option<DbType>,
}

impl Amendment {
    /// The names of the fields that it brings.
    pub fn fields(&self) -> Vec<&'static str> {
        let brought = [
            ("name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("instance_type", self.instance_type.is_some()),
            ("cpu_limit", self.cpu_limit.is_some()),
            ("memory_limit", self.memory_limit.is_some()),
            ("storage_limit", self.storage_limit.is_some()),
            ("admin_email", self.admin_email.is_some()),
            ("demo_data", self.demo_data.is_some()),
            ("custom_addons", self.custom_addons.is_some()),
            ("disabled_modules", self.disabled_modules.is_some()),
            ("environment_vars", self.environment_vars.is_some()),
            ("metadata", self.metadata.is_some()),
            ("db_type", self.db_type.is_some()),
        ];
        brought.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
    }
}

/// Reads a change; the fields of an order that cannot change are ignored.
///
/// # Errors
/// Every fault of form, else the first house rule that is broken.
pub fn parse_amendment(raw: RawOrder) -> Result<Amendment, Refusal> {
    let mut faults = Faults::default();
    let amendment = read(raw, &mut faults);
    amendment.ok_or_else(|| faults.into_refusal())
}

/// Reads every field before any is asked for, so that no fault is missed.
fn read(raw: RawOrder, faults: &mut Faults) -> Option<Amendment> {
    let name = faults.optional("name", raw.name.as_deref(), InstanceName::parse);
    let description = faults.optional("description", raw.description, field::description);
    let instance_type = faults.optional("instance_type", raw.instance_type.as_deref(), field::word);
    let cpu = faults.optional("cpu_limit", raw.cpu_limit, CpuLimit::from_f64);
    let memory = faults.optional("memory_limit", raw.memory_limit.as_deref(), |text| field::size("Memory", text));
    let storage = faults.optional("storage_limit", raw.storage_limit.as_deref(), |text| field::size("Storage", text));
    let email = faults.optional("admin_email", raw.admin_email.as_deref(), AdminEmail::parse);
    let addons = faults.optional("custom_addons", raw.custom_addons.as_deref(), field::addons);
    let modules = faults.optional("disabled_modules", raw.disabled_modules.as_deref(), field::addons);
    let environment = faults.optional("environment_vars", raw.environment_vars, field::environment);
    let metadata = faults.optional("metadata", raw.metadata, field::metadata);
    let db_type = faults.optional("db_type", raw.db_type.as_deref(), field::word);
    Some(Amendment {
        name: name?,
        description: description?,
        instance_type: instance_type?,
        cpu_limit: cpu?,
        memory_limit: memory?,
        storage_limit: storage?,
        admin_email: email?,
        demo_data: raw.demo_data,
        custom_addons: addons?,
        disabled_modules: modules?,
        environment_vars: environment?,
        metadata: metadata?,
        db_type: db_type?,
    })
}
