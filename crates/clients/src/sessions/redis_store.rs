//! Sessions in Redis: key `session:<token>`, a JSON object.

use super::{Session, SessionStore, Stored};
use crate::error::{ClientError, ClientResult};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, IntoConnectionInfo as _, RedisConnectionInfo, RedisError};
use secrecy::{ExposeSecret as _, SecretString};
use std::time::Duration;

const NAME: &str = "session store";
/// Longest wait for a connection, and for an answer. One second each: a page is waiting.
const TIMEOUT: Duration = Duration::from_secs(1);

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

/// Sessions in Redis. It connects when it is first asked, and again whenever the connection is lost.
#[derive(Clone)]
pub struct RedisSessions(ConnectionManager);

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
        // Asked again, it tries again; nobody waits for a row of tries.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let client = Client::open(info).map_err(unavailable)?;
        Ok(Self(ConnectionManager::new_lazy_with_config(client, config).map_err(unavailable)?))
    }
}

#[async_trait]
impl SessionStore for RedisSessions {
    async fn session(&self, token: &SecretString, now: DateTime<Utc>) -> ClientResult<Option<Session>> {
        let mut connection = self.0.clone();
        let mut get = redis::cmd("GET");
        get.arg(format!("session:{}", token.expose_secret()));
        let stored: Option<String> = get.query_async(&mut connection).await.map_err(unavailable)?;
        // What is no session there is none.
        let stored = stored.and_then(|text| serde_json::from_str::<Stored>(&text).ok());
        Ok(stored.and_then(|stored| stored.counts(now, false)))
    }
}

/// Its kind alone: the text may quote what was asked for.
fn unavailable(error: RedisError) -> ClientError {
    ClientError::Unavailable { service: NAME, cause: format!("{:?}", error.kind()) }
}
