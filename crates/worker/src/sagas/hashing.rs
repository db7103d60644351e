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

#[derive(Debug)]
struct Computation {
    since: Instant,
    /// Drawn anew with each password, so it tells what is hashed.
    salt: db::odoo::Salt,
    task: JoinHandle<String>,
}

/// The computations under way in this process. Losing one costs only its time.
#[derive(Debug, Default)]
pub struct Hashes {
    running: Mutex<HashMap<OperationId, Computation>>,
}

impl Hashes {
    /// Starts the computation for an operation.
    pub(super) fn start(&self, operation: OperationId, password: SecretString, salt: db::odoo::Salt) {
        let task = tokio::task::spawn_blocking(move || db::odoo::odoo_hash(&password, salt));
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, other| other.since.elapsed() < FORGOTTEN);
        running.insert(operation, Computation { since: Instant::now(), salt, task });
    }

    /// The hash that was started for this operation with this salt, else computed now. Another worker may have drawn anew.
    pub(super) async fn finish(&self, operation: OperationId, password: SecretString, salt: db::odoo::Salt) -> String {
        let started = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&operation);
        if let Some(started) = started.filter(|started| started.salt == salt)
            && let Ok(hash) = started.task.await
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that was overtaken has a computation under way for a password that its successor has replaced.
    #[tokio::test]
    async fn a_hash_of_another_password_is_not_taken() {
        let (hashes, operation) = (Hashes::default(), OperationId::from_uuid(uuid::Uuid::nil()));
        let (old, new) = (SecretString::from("old"), SecretString::from("new"));
        hashes.start(operation, old, [1; 16]);
        let hash = hashes.finish(operation, new.clone(), [2; 16]).await;
        assert_eq!(hash, compute(new, [2; 16]).await);
    }
}
