//! Names: what customers may call things, and what we call things where customers can see them (contract 13, 15.4).
//!
//! Owns the rules for a single name. Leaves to others: whether a name is taken, and quoting (`db::odoo`).

/// A text that has passed its rule; its `parse` is the only way to make one.
macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str { &self.0 }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.0) }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self { name.0 }
        }
    };
}

mod addon;
mod email;
mod env;
mod host;
mod label;
mod physical;
mod title;

#[cfg(test)]
mod tests;

pub use addon::AddonName;
pub use email::AdminEmail;
pub use env::EnvName;
pub use host::{HostLabel, ReservedHosts};
pub use label::DatabaseLabel;
pub use physical::{InstanceNames, Mark, NotAMark, NotAPhysicalName, PhysicalName};
pub use title::{InstanceName, storable};
