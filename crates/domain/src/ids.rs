//! Typed identifiers: a UUID that knows what it names, so that one kind cannot be passed for another.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that is known to name this kind of thing.
            pub const fn from_uuid(value: Uuid) -> Self { Self(value) }
            /// The bare UUID, for storage and transport.
            pub const fn as_uuid(&self) -> Uuid { self.0 }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(&self.0, f) }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}({})", stringify!($name), self.0) }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> { Uuid::parse_str(text).map(Self) }
        }
    )+};
}

typed_ids! {
    /// One hosted Odoo: a row on postgres1, and, once provisioned, a database and a role on postgres2.
    InstanceId,
    /// The customer who owns instances; issued by the user service.
    CustomerId,
    /// A billing subscription; at most one live instance belongs to it.
    SubscriptionId,
    /// A durable operation; clients know it as `job_id`.
    OperationId,
    /// A registered Odoo server (one postgres2).
    ServerId,
    /// One build of a template database.
    TemplateId,
    /// One backup of an instance.
    BackupId,
}
