//! How to reach a PostgreSQL server: plain data, so that settings and connections need not know each other.

use secrecy::SecretString;

/// TLS policy of a connection, in libpq's words (PostgreSQL docs, 34.19.1 "Client Verification of Server Certificates").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// Plain first.
    Allow,
    /// TLS if the server offers it.
    Prefer,
    /// TLS or nothing.
    Require,
    /// TLS with a certificate from a known authority.
    VerifyCa,
    /// The same, for this very host name.
    VerifyFull,
}

impl SslMode {
    /// As libpq spells it (PostgreSQL docs, 34.1.2 "sslmode").
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// Address and login of one PostgreSQL server.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database to connect to.
    pub database: String,
    /// Login role.
    pub user: String,
    /// Its password.
    pub password: SecretString,
    /// TLS policy.
    pub ssl_mode: SslMode,
}
