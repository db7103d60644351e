//! postgres2: the Odoo server that is registered as `default`. Read by the worker only.

use super::reader::Reader;
use super::variables::{self as v, Variable};
use domain::endpoint::{Endpoint, SslMode};

/// The default Odoo server.
#[derive(Clone, Debug)]
pub struct OdooServerSettings {
    /// Address and login of the admin role, on the maintenance database.
    pub admin: Endpoint,
    /// Host of the same server as Odoo reaches it.
    pub tenant_host: String,
    /// Port of the same server as Odoo reaches it.
    pub tenant_port: u16,
    /// Whether both servers may be one and the same.
    pub allow_shared: bool,
    /// Whether the admin may be a superuser.
    pub allow_superuser: bool,
}

impl OdooServerSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let host = reader.text(&v::ODOO_POSTGRES_HOST);
        let port = reader.number(&v::ODOO_POSTGRES_PORT, 1..=u16::MAX);
        let database = reader.text(&v::ODOO_POSTGRES_DEFAULT_DB);
        let user = reader.text(&v::ODOO_POSTGRES_ADMIN_USER);
        let password = reader.secret(&v::ODOO_POSTGRES_ADMIN_PASSWORD);
        let ssl_mode = ssl_mode(reader, &v::ODOO_POSTGRES_SSLMODE);
        let tenant_host = reader.text_or(&v::ODOO_TENANT_POSTGRES_HOST, host.as_deref());
        let tenant_port = tenant_port(reader, port);
        let allow_shared = reader.switch(&v::ALLOW_SHARED_POSTGRES);
        let allow_superuser = reader.switch(&v::ALLOW_SUPERUSER_ODOO_ADMIN);
        let admin =
            Endpoint { host: host?, port: port?, database: database?, user: user?, password: password?, ssl_mode: ssl_mode? };
        Some(Self {
            admin,
            tenant_host: tenant_host?,
            tenant_port: tenant_port?,
            allow_shared: allow_shared?,
            allow_superuser: allow_superuser?,
        })
    }
}

fn tenant_port(reader: &mut Reader<'_>, admin_port: Option<u16>) -> Option<u16> {
    let port = |text: &str| text.parse().ok().filter(|port| *port > 0);
    match reader.parsed_optional(&v::ODOO_TENANT_POSTGRES_PORT, "a whole number from 1 to 65535", port)? {
        Some(port) => Some(port),
        None => admin_port,
    }
}

pub(super) fn ssl_mode(reader: &mut Reader<'_>, variable: &Variable) -> Option<SslMode> {
    reader.parsed(variable, "one of disable, allow, prefer, require, verify-ca, verify-full", |text| match text {
        "disable" => Some(SslMode::Disable),
        "allow" => Some(SslMode::Allow),
        "prefer" => Some(SslMode::Prefer),
        "require" => Some(SslMode::Require),
        "verify-ca" => Some(SslMode::VerifyCa),
        "verify-full" => Some(SslMode::VerifyFull),
        _ => None,
    })
}
