//! What should run: the words in which the rest of the house speaks to a runtime, whatever engine is behind it.

use domain::ids::{InstanceId, OperationId, TemplateId};
use domain::names::{EnvName, PhysicalName};
use domain::size::{ByteSize, CpuLimit};
use domain::version::OdooVersion;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Whose service or directory it is. It is the mark that everything at the runtime carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "lowercase")]
pub enum Owner {
    /// A customer's instance.
    Instance(InstanceId),
    /// A template while it is being built, and its files for as long as it is used.
    Template(TemplateId),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(id) => write!(f, "instance {id}"),
            Self::Template(id) => write!(f, "template {id}"),
        }
    }
}

/// Who asks. Tokens grow over the life of an instance or template: what a later one has touched is closed to earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The operation that asks; part of the mark.
    pub operation: OperationId,
    /// The fencing token of its run.
    pub token: i64,
}

/// A service by its physical name, and whose it must be. A call for a service of another owner fails as `Foreign`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Physical name, e.g. `odoo-0123456789abcdef`.
    pub name: String,
    /// Whose it is.
    pub owner: Owner,
}

/// Where one Odoo version is installed: a launcher's path, or an image reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Image(String);

impl Image {
    /// An image that [`crate::InstanceRuntime::resolve_image`] named earlier and a row has kept.
    pub fn new(reference: impl Into<String>) -> Self {
        Self(reference.into())
    }

    /// The reference as stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The tenant's database as Odoo reaches it: always postgres2, always the tenant's own role.
#[derive(Clone, Debug)]
pub struct TenantDatabase {
    /// Host as seen from Odoo.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Physical database name.
    pub name: PhysicalName,
    /// The tenant's role.
    pub user: PhysicalName,
    /// Its password.
    pub password: SecretString,
    /// The role's CONNECTION LIMIT; Odoo's own pool stays below it.
    pub connection_limit: u16,
}

/// What the plan allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Processor share.
    pub cpu: CpuLimit,
    /// Memory.
    pub memory: ByteSize,
}

/// One Odoo that should run. Everything in it comes from the instance's row and the secrets beside it.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Name and owner.
    pub service: Service,
    /// Who asks; never a reason to restart.
    pub turn: Turn,
    /// Odoo's major version; some options differ.
    pub version: OdooVersion,
    /// The installation or image to run.
    pub image: Image,
    /// The instance's data directory: a direct child of the runtime's root.
    pub directory: PathBuf,
    /// Its database.
    pub database: TenantDatabase,
    /// HTTP port on the host, for runtimes that need one.
    pub port: Option<u16>,
    /// Limits of the plan.
    pub limits: Limits,
    /// Where customers reach it, e.g. `http://shop.example.org`.
    pub base_url: String,
    /// Whether a proxy that sets `X-Forwarded-Host` stands in front.
    pub behind_proxy: bool,
    /// Whether demonstration data was ordered.
    pub demo: bool,
    /// The customer's own variables; they never replace one of the service's (contract 15.4).
    pub environment: BTreeMap<EnvName, String>,
}

/// One bounded run of Odoo on a workload's database.
#[derive(Clone, Debug)]
pub struct OneOff {
    /// Database, directory, image and mark; nothing of it is left running.
    pub workload: Workload,
    /// What to do.
    pub task: Task,
    /// After this time the run is ended by force.
    pub limit: Duration,
    /// The files it works on.
    pub files: Files,
}

/// Which files of a data directory a run works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Files {
    /// The live ones: the service must be down.
    Live,
    /// Those that are staged beside them ([`crate::directory::DataDirectories::stage`]) and were handed over. Whether the
    /// service is up makes no difference.
    Staged {
        /// Their number.
        number: u32,
        /// The database whose filestore lies there: the one that shall have these files in the end. If the run works on another,
        /// it finds the filestore under that one's name as well.
        filestore: PhysicalName,
    },
}

/// What a [`OneOff`] does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// A full initialisation of an empty database: module `base`, and demonstration data if the workload says so.
    Initialise,
    /// Installs these modules.
    Install(Vec<String>),
    /// Updates these modules; `all` is every installed one.
    Update(Vec<String>),
    /// Prints what would make the database harmless, as one script, and changes nothing ([`crate::OneOffEnd::output`]).
    Neutralise,
}
