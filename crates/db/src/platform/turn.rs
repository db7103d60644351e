//! One runner at a time for a background loop: an advisory lock on a connection of its own, freed with it at the latest.

use crate::error::DbResult;
use crate::platform::{LockClass, PlatformDb};
use sqlx::{Connection as _, PgConnection};
use std::pin::pin;
use std::time::Duration;

/// How often the holder shows that it lives. The server ends the session of one that does not, well after it should have.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

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
        sqlx::query!("SELECT set_config('idle_session_timeout', '60s', false)").fetch_one(&mut session).await?;
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

    /// Works for as long as the turn is held. A holder that stands still, for example a stopped process, loses it.
    ///
    /// # Errors
    /// The turn is lost; the work was dropped.
    pub async fn hold<T>(&mut self, work: impl Future<Output = T>) -> DbResult<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(SIGN_OF_LIFE) => self.give_sign().await?,
            }
        }
    }

    /// A server that went without a word must not keep the work from being dropped.
    async fn give_sign(&mut self) -> DbResult<()> {
        let Ok(answered) = tokio::time::timeout(SIGN_OF_LIFE, self.session.ping()).await else {
            return Err(sqlx::Error::PoolTimedOut.into());
        };
        Ok(answered?)
    }

    /// Ends the turn in good order. The lock is freed before this returns: the server ends a closed session only some time later.
    pub async fn end(mut self) {
        let freed = sqlx::query!("SELECT pg_advisory_unlock_all()").execute(&mut self.session).await;
        if let Err(error) = freed.map(drop).and(self.session.close().await) {
            tracing::debug!(error = %error, "the session of a turn was gone already");
        }
    }
}
