//! postgres2: the Odoo servers, and everything that is done on them.
//!
//! Owns: the registry of servers ([`OdooServers`]), the lane of each, the kinds of connection, the fence around all changes
//! ([`Fence`]), roles, databases, templates, the content of a tenant database, copies beside it and their exchange, and the
//! probe of a server.
//! Leaves to others: when anything of this is to happen, and where names and passwords come from (`worker`); everything
//! on postgres1 (`platform`).
//!
//! * [`OdooServer::admin_connection`] reads the catalogues, in the maintenance database. It cannot change anything.
//! * [`OdooServer::instance_connection`] reads inside one tenant database.
//! * [`OdooServer::snapshot`] reads inside one tenant database what belongs to one moment.
//! * [`OdooServer::fence`] is the only way to change anything: the methods that do exist on [`Fence`], and on [`Inside`] and
//!   [`TenantSession`], which it opens into one database; and a `Fence` exists only after the owner's token was read again on
//!   postgres1 under the lock.
//!
//! No connection is pooled or opened anew behind the caller's back; a dropped value is a closed connection.
//!
//! The two families of connections cannot be mixed up. A platform repository takes no connection of an Odoo server:
//!
//! ```compile_fail,E0308
//! fn wrong(connection: db::odoo::AdminConnection) -> db::platform::PlatformTx {
//!     connection
//! }
//! ```
//!
//! and what belongs on an Odoo server does not run on the platform:
//!
//! ```compile_fail,E0308
//! async fn wrong(platform: &mut db::platform::PlatformTx) {
//!     let report = db::odoo::AdminConnection::probe(platform).await;
//! }
//! ```
//!
//! whereas the right ones do:
//!
//! ```no_run
//! async fn right(server: &db::odoo::OdooServer) -> db::odoo::OdooResult<String> {
//!     let mut connection = server.admin_connection().await?;
//!     Ok(db::odoo::AdminConnection::probe(&mut connection).await?.version)
//! }
//! ```

mod beside;
mod connection;
mod content;
mod databases;
mod digest;
mod error;
mod fence;
mod figures;
mod inventory;
mod lane;
mod neutralise;
mod password;
mod personal;
mod probe;
mod quote;
mod repair;
mod reset;
mod roles;
mod server;
mod snapshot;
mod switch;
mod templates;
mod tenant;

pub use beside::{beside, is_beside};
pub use connection::{AdminConnection, Inside, InstanceConnection};
pub use content::ModuleStates;
pub use databases::{DatabaseFacts, DatabaseState, Recorded};
pub use digest::DataDigest;
pub use error::{OdooError, OdooResult, Verdict};
pub use fence::{Fence, UnconfirmedFence};
pub use figures::{Extent, KEY_TABLES};
pub use inventory::{DatabaseEntry, Inventory};
pub use password::{Salt, ScramVerifier, odoo_hash};
pub use personal::Personal;
pub use probe::ServerReport;
pub use reset::Reset;
pub use roles::{RoleFacts, RoleState, TenantLimits};
pub use server::{Identity, OdooServer, OdooServers, ServerAddress};
pub use snapshot::{Snapshot, StoredFile};
pub use switch::{Switch, SwitchState};
pub use tenant::TenantSession;
