//! What a step may use: handed to every saga by the engine, built once at start-up.

use db::platform::PlatformDb;
use domain::sources::Entropy;
use std::sync::Arc;

/// Connections and sources that steps work with.
#[derive(Clone)]
pub struct Services {
    /// postgres1.
    pub db: PlatformDb,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}
