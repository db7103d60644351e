//! Reads that stand alone, and that callers send thousands of a second: over a connection that is kept at hand.
//!
//! A pool asks each connection whether it lives when it is given back, in a task of its own: for a read of one statement that is as much
//! work as the read. A connection that has just answered needs no such question; the next read finds out by itself, and asks again
//! over another one.

use super::PlatformDb;
use crate::error::{DbResult, was_cut};
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections of the pool that have answered.
#[derive(Clone, Debug)]
pub(super) struct Readers {
    most: usize,
    kept: Arc<Mutex<Vec<PoolConnection<Postgres>>>>,
}

impl Readers {
    /// At most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { most, kept: Arc::default() }
    }

    /// How many wait for a question.
    pub(super) fn kept(&self) -> usize {
        self.lock().len()
    }

    fn take(&self) -> Option<PoolConnection<Postgres>> {
        self.lock().pop()
    }

    fn keep(&self, connection: PoolConnection<Postgres>) {
        let mut kept = self.lock();
        if kept.len() < self.most {
            kept.push(connection);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PoolConnection<Postgres>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is being asked, if need be more than once.
pub(super) struct Asking<'a> {
    db: &'a PlatformDb,
    /// How many connections may still turn out to be cut.
    left: u32,
}

impl PlatformDb {
    /// Begins to ask for something that changes nothing; [`ask`] goes on.
    pub(super) fn asking(&self) -> Asking<'_> {
        Asking { db: self, left: self.pool.options().get_max_connections() }
    }
}

impl Asking<'_> {
    pub(super) async fn connection(&mut self) -> DbResult<PoolConnection<Postgres>> {
        match self.db.readers.take() {
            Some(connection) => Ok(connection),
            None => Ok(self.db.pool.acquire().await?),
        }
    }

    /// The answer; `None` if there was none, since the connection was cut since its last use. When the server went, that can be so for
    /// each of them.
    pub(super) fn heard<T>(&mut self, connection: PoolConnection<Postgres>, answer: sqlx::Result<T>) -> DbResult<Option<T>> {
        match answer {
            Ok(answer) => {
                self.db.readers.keep(connection);
                Ok(Some(answer))
            }
            Err(error) if self.left > 0 && was_cut(&error) => {
                self.left -= 1;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The answer to a statement that changes nothing: `ask!(db, connection => query.fetch_one(&mut *connection))`. A macro, since a function that is
/// given the question would have to promise for each of its lifetimes that it may move to another thread.
macro_rules! ask {
    ($db:expr, $connection:ident => $question:expr) => {{
        let mut asking = $db.asking();
        loop {
            let mut $connection = asking.connection().await?;
            let answer = $question.await;
            if let Some(answer) = asking.heard($connection, answer)? {
                break answer;
            }
        }
    }};
}
pub(in crate::platform) use ask;
