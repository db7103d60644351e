//! Time and randomness as parameters, so that everything that depends on them can be tested.

use chrono::{DateTime, Utc};

/// Where the current time comes from. Decisions between processes use the database's clock instead.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> DateTime<Utc>;
}

/// Where random bytes come from; in production the operating system.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with unpredictable values.
    fn fill(&self, bytes: &mut [u8]);
}

/// A random (version 4) UUID from `entropy`.
pub fn random_uuid(entropy: &dyn Entropy) -> uuid::Uuid {
    let mut bytes = [0_u8; 16];
    entropy.fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
