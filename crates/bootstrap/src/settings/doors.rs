//! The API's two doors and how callers prove who they are (contract 9).

use super::reader::Reader;
use super::variables as v;
use secrecy::SecretString;
use std::net::SocketAddr;

/// Who is checked where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Nobody: development only.
    Off,
    /// The public door.
    Edge,
    /// Both doors.
    All,
}

/// Which origins browsers may call from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigins {
    /// Any; the caller's own is echoed.
    Any,
    /// These.
    Only(Vec<String>),
}

/// The doors.
#[derive(Clone, Debug)]
pub struct DoorSettings {
    /// Internal door.
    pub internal: SocketAddr,
    /// Public door, if there is one of its own.
    pub public: Option<SocketAddr>,
    /// Who is checked.
    pub auth_mode: AuthMode,
    /// What `X-Internal-Token` must be, if anything.
    pub internal_token: Option<SecretString>,
    /// Browsers' origins.
    pub cors: CorsOrigins,
}

impl DoorSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let internal = reader.parsed(&v::LISTEN_ADDR, ADDRESS, |text| text.parse().ok());
        let public = reader.parsed_optional(&v::PUBLIC_LISTEN_ADDR, ADDRESS, |text| text.parse().ok());
        let auth_mode = reader.parsed(&v::AUTH_MODE, "one of off, edge, all", |text| match text {
            "off" => Some(AuthMode::Off),
            "edge" => Some(AuthMode::Edge),
            "all" => Some(AuthMode::All),
            _ => None,
        });
        let before = reader.problem_count();
        let internal_token = reader.optional_secret(&v::INTERNAL_API_TOKEN);
        if auth_mode == Some(AuthMode::All) && internal_token.is_none() && reader.problem_count() == before {
            reader.problem("AUTH_MODE=all needs INTERNAL_API_TOKEN");
        }
        if auth_mode == Some(AuthMode::Off) {
            reader.warn("AUTH_MODE=off: no caller is checked, for development only");
        }
        let cors = reader.parsed(&v::CORS_ALLOWED_ORIGINS, "`*` or a comma list of origins", cors);
        if cors == Some(CorsOrigins::Any) && auth_mode != Some(AuthMode::All) {
            reader.warn(
                "CORS_ALLOWED_ORIGINS=*: the internal door demands no token, so every page in a browser that can reach it may use it; \
                 name the origins of the front end",
            );
        }
        Some(Self { internal: internal?, public: public?, auth_mode: auth_mode?, internal_token, cors: cors? })
    }
}

const ADDRESS: &str = "an address and port such as 0.0.0.0:8003";

fn cors(text: &str) -> Option<CorsOrigins> {
    if text == "*" {
        return Some(CorsOrigins::Any);
    }
    let origins = super::comma_list(text);
    let well_formed = |origin: &String| url::Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == *origin);
    (!origins.is_empty() && origins.iter().all(well_formed)).then_some(CorsOrigins::Only(origins))
}
