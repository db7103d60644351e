//! Computes the administrator's password hash beside the other steps. It takes about half a second of processor time and
//! depends on recorded values only, so it starts as soon as they are drawn and is ready when the clone is.

use domain::ids::OperationId;
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// A hash nobody asked for after this time belongs to an operation that went on elsewhere.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// The computations under way in this process. Losing one costs only its time.
#[derive(Debug, Default)]
pub struct Hashes {
    running: Mutex<HashMap<OperationId, (Instant, JoinHandle<String>)>>,
}

impl Hashes {
    /// Starts the computation for an operation.
    pub(super) fn start(&self, operation: OperationId, password: SecretString, salt: db::odoo::Salt) {
        let task = tokio::task::spawn_blocking(move || db::odoo::odoo_hash(&password, salt));
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, (since, _)| since.elapsed() < FORGOTTEN);
        running.insert(operation, (Instant::now(), task));
    }

    /// The hash that was started for this operation, else computed now.
    pub(super) async fn finish(&self, operation: OperationId, password: SecretString, salt: db::odoo::Salt) -> String {
        let started = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&operation);
        if let Some((_, task)) = started
            && let Ok(hash) = task.await
        {
            return hash;
        }
        compute(password, salt).await
    }
}

/// The hash, off the async threads.
pub(super) async fn compute(password: SecretString, salt: db::odoo::Salt) -> String {
    let again = password.clone();
    match tokio::task::spawn_blocking(move || db::odoo::odoo_hash(&password, salt)).await {
        Ok(hash) => hash,
        // Only a runtime that is shutting down refuses the thread; then this task is about to end as well.
        Err(_) => db::odoo::odoo_hash(&again, salt),
    }
}
