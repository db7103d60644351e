//! Where the public door looks up login sessions.

use super::reader::Reader;
use super::variables as v;
use secrecy::SecretString;
use url::Url;

/// Who knows the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionSource {
    /// Keys in Redis.
    Redis,
    /// The user service.
    UserService,
}

/// Login sessions.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// Who knows them.
    pub source: SessionSource,
    /// The user service, where it knows them.
    pub user_service: Url,
    /// Redis host.
    pub redis_host: String,
    /// Redis port.
    pub redis_port: u16,
    /// Redis database number.
    pub redis_database: u16,
    /// Redis password, if it wants one.
    pub redis_password: Option<SecretString>,
}

impl SessionSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let source = reader.parsed(&v::AUTH_SESSION_SOURCE, "one of redis, user_service", |text| match text {
            "redis" => Some(SessionSource::Redis),
            "user_service" => Some(SessionSource::UserService),
            _ => None,
        });
        let user_service = reader.base_url(&v::USER_SERVICE_URL, None);
        let redis_host = reader.text(&v::REDIS_HOST);
        let redis_port = reader.number(&v::REDIS_PORT, 1..=u16::MAX);
        let redis_database = reader.number(&v::REDIS_DB, 0..=u16::MAX);
        let redis_password = reader.optional_secret(&v::REDIS_PASSWORD);
        Some(Self {
            source: source?,
            user_service: user_service?,
            redis_host: redis_host?,
            redis_port: redis_port?,
            redis_database: redis_database?,
            redis_password,
        })
    }
}
