//! Sessions in Redis: key `session:<token>`, a JSON object.

use super::{Session, SessionStore, Stored};
use crate::error::{ClientError, ClientResult};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo as _, RedisConnectionInfo, RedisError, RedisResult};
use secrecy::{ExposeSecret as _, SecretString};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;

const NAME: &str = "session store";
/// Longest wait for a connection, and for an answer on one.
const TIMEOUT: Duration = Duration::from_millis(900);
/// Longest wait altogether: for those who connect before us, a lost connection, a new one.
const LIMIT: Duration = Duration::from_secs(2);

/// Where Redis is.
#[derive(Clone, Debug)]
pub struct RedisAddress {
    /// Host.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Number of the database.
    pub database: u16,
    /// Its password, if it wants one.
    pub password: Option<SecretString>,
}

/// Sessions in Redis. It connects when it is first asked, and again after whatever went wrong.
///
/// Not with redis' `ConnectionManager`: that keeps a connection on which nothing is answered any more, and the error of a login
/// that was refused once, until the process ends.
pub struct RedisSessions {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl RedisSessions {
    /// The sessions at this address; nothing is connected yet.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(address: &RedisAddress) -> ClientResult<Self> {
        let mut login = RedisConnectionInfo::default().set_db(i64::from(address.database)).set_skip_set_lib_name();
        if let Some(password) = &address.password {
            login = login.set_password(password.expose_secret());
        }
        let info = (address.host.clone(), address.port).into_connection_info().map_err(unavailable)?.set_redis_settings(login);
        let client = Client::open(info).map_err(unavailable)?;
        Ok(Self { client, connection: Mutex::default() })
    }

    async fn get(&self, key: &str) -> RedisResult<Option<String>> {
        let (connection, is_new) = self.connection().await?;
        match self.get_by(connection, key).await {
            // It may have been lost while nobody asked: one more try, on a new one.
            Err(_) if !is_new => self.get_by(self.connection().await?.0, key).await,
            answer => answer,
        }
    }

    async fn get_by(&self, mut connection: MultiplexedConnection, key: &str) -> RedisResult<Option<String>> {
        let answer = redis::cmd("GET").arg(key).query_async(&mut connection).await;
        if answer.is_err() {
            self.connection.lock().await.take();
        }
        answer
    }

    /// The connection, and whether it was made just now.
    async fn connection(&self) -> RedisResult<(MultiplexedConnection, bool)> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = &*kept {
            return Ok((connection.clone(), false));
        }
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(TIMEOUT)).set_response_timeout(Some(TIMEOUT));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok((kept.insert(connection).clone(), true))
    }
}

#[async_trait]
impl SessionStore for RedisSessions {
    async fn session(&self, token: &SecretString, now: DateTime<Utc>) -> ClientResult<Option<Session>> {
        let key = format!("session:{}", token.expose_secret());
        let late = || ClientError::Unavailable { service: NAME, cause: "no answer in time".to_owned() };
        let stored = timeout(LIMIT, self.get(&key)).await.map_err(|_elapsed| late())?.map_err(unavailable)?;
        // What is no session there is none.
        let stored = stored.and_then(|text| serde_json::from_str::<Stored>(&text).ok());
        Ok(stored.and_then(|stored| stored.counts(now, false)))
    }
}

/// Its kind alone: the text may quote what was asked for.
fn unavailable(error: RedisError) -> ClientError {
    ClientError::Unavailable { service: NAME, cause: format!("{:?}", error.kind()) }
}
