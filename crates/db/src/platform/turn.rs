//! One runner at a time for a background loop: an advisory lock on a connection of its own, freed with it at the latest.

use crate::error::DbResult;
use crate::platform::{LockClass, PlatformDb};
use sqlx::{Connection as _, PgConnection};

/// The turn of one loop. Dropping it ends the session and so frees the lock.
#[derive(Debug)]
pub struct Turn {
    session: PgConnection,
}

impl Turn {
    /// Takes the turn of the loop called `name`; `None` when another worker has it.
    ///
    /// The connection leaves the pool for good, so a long round keeps no other caller waiting.
    ///
    /// # Errors
    /// Database errors only.
    pub async fn try_take(db: &PlatformDb, name: &str) -> DbResult<Option<Self>> {
        let mut session = db.pool().acquire().await?.detach();
        let class = LockClass::Loop as i32;
        let held = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1, hashtext($2)) AS "held!""#, class, name)
            .fetch_one(&mut session)
            .await?;
        let turn = Self { session };
        if held {
            return Ok(Some(turn));
        }
        turn.end().await;
        Ok(None)
    }

    /// Ends the turn in good order. The lock is freed before this returns: the server ends a closed session only some time later.
    pub async fn end(mut self) {
        let freed = sqlx::query!("SELECT pg_advisory_unlock_all()").execute(&mut self.session).await;
        if let Err(error) = freed.map(drop).and(self.session.close().await) {
            tracing::debug!(error = %error, "the session of a turn was gone already");
        }
    }
}
