//! postgres1: where it is and who we are there.

use super::odoo_server::ssl_mode;
use super::reader::Reader;
use super::variables as v;
use domain::endpoint::Endpoint;
use secrecy::SecretString;

/// The platform server with the runtime role.
#[derive(Clone, Debug)]
pub struct PlatformSettings {
    /// Address and login.
    pub endpoint: Endpoint,
    /// Most connections of the pool.
    pub max_connections: u32,
}

impl PlatformSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let address = Address::read(reader);
        reader.warn_of_two_spellings(&v::PLATFORM_POSTGRES_USER);
        let user = reader.text(&v::PLATFORM_POSTGRES_USER);
        let password = reader.secret(&v::PLATFORM_POSTGRES_PASSWORD);
        let max_connections = reader.number(&v::PLATFORM_POSTGRES_MAX_CONNECTIONS, 1..=1000);
        Some(Self { endpoint: address?.login(user?, password?), max_connections: max_connections? })
    }
}

/// The platform server with the role that owns the schema; read by the `migrate` command only.
#[derive(Clone, Debug)]
pub struct MigrationSettings {
    /// Address and login of the owner.
    pub owner: Endpoint,
    /// Role that the services run as; it is granted what it needs.
    pub runtime_role: String,
}

impl MigrationSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let address = Address::read(reader);
        reader.warn_of_two_spellings(&v::PLATFORM_POSTGRES_USER);
        let runtime_role = reader.text(&v::PLATFORM_POSTGRES_USER);
        let user = reader.text(&v::PLATFORM_MIGRATION_USER);
        let password = reader.secret(&v::PLATFORM_MIGRATION_PASSWORD);
        if user.is_some() && user == runtime_role {
            reader.problem("PLATFORM_MIGRATION_USER must be another role than PLATFORM_POSTGRES_USER");
        }
        Some(Self { owner: address?.login(user?, password?), runtime_role: runtime_role? })
    }
}

/// An end point without its login.
struct Address {
    host: String,
    port: u16,
    database: String,
    ssl_mode: domain::endpoint::SslMode,
}

impl Address {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let host = reader.text(&v::PLATFORM_POSTGRES_HOST);
        let port = reader.number(&v::PLATFORM_POSTGRES_PORT, 1..=u16::MAX);
        let database = reader.text(&v::PLATFORM_POSTGRES_DB);
        let ssl_mode = ssl_mode(reader, &v::PLATFORM_POSTGRES_SSLMODE);
        Some(Self { host: host?, port: port?, database: database?, ssl_mode: ssl_mode? })
    }

    fn login(self, user: String, password: SecretString) -> Endpoint {
        Endpoint { host: self.host, port: self.port, database: self.database, user, password, ssl_mode: self.ssl_mode }
    }
}
