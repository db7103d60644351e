//! The two doors (contract 9): by which one a request came, and whether it may pass the internal one. The other is
//! [`crate::public_door`].

use crate::problem::Problem;
use axum::http::HeaderMap;
use bootstrap::settings::AuthMode;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// Which of the two listeners took the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// LISTEN_ADDR.
    Internal,
    /// PUBLIC_LISTEN_ADDR.
    Public,
}

/// The path as the router knows it: without the public prefix and without a trailing slash.
#[derive(Debug, PartialEq, Eq)]
pub struct PlainPath<'a> {
    /// The path to route.
    pub path: &'a str,
    /// Whether the public prefix was in front of it.
    pub prefixed: bool,
}

/// Reads a request path.
pub fn plain_path(path: &str) -> PlainPath<'_> {
    let (path, prefixed) = match path.strip_prefix("/instance") {
        Some("") => ("/", true),
        Some(rest) if rest.starts_with('/') => (rest, true),
        _ => (path, false),
    };
    let path = path.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(path);
    PlainPath { path, prefixed }
}

/// Whether the request came in by the public door. Traefik always sets the forwarded headers and a caller cannot take
/// them away, so labels that still point at the internal port are safe.
pub fn is_public(listener: Listener, headers: &HeaderMap, prefixed: bool) -> bool {
    listener == Listener::Public
        || prefixed
        || headers.contains_key("x-forwarded-host")
        || headers.contains_key("x-forwarded-prefix")
}

/// The header with the internal token.
pub(crate) const TOKEN_HEADER: &str = "X-Internal-Token";

/// Who may call what on the internal door.
#[derive(Clone, Debug)]
pub struct InternalDoor {
    /// AUTH_MODE.
    pub mode: AuthMode,
    /// INTERNAL_API_TOKEN.
    pub token: Option<SecretString>,
}

impl InternalDoor {
    /// Lets a request pass or says why not.
    ///
    /// # Errors
    /// 403 when the path demands the internal token and the request does not carry it.
    pub fn admit(&self, path: &str, headers: &HeaderMap) -> Result<(), Problem> {
        if !self.demands_token(path) || self.carries_token(headers) {
            return Ok(());
        }
        Err(Problem::forbidden("This call needs a valid X-Internal-Token"))
    }

    /// Whether the path demands the internal token.
    pub(crate) fn demands_token(&self, path: &str) -> bool {
        match self.mode {
            AuthMode::Off => false,
            AuthMode::Edge => self.token.is_some() && (is_under(path, "/admin") || is_under(path, "/api/v1/monitoring")),
            // The webhook carries a secret of its own, in its path.
            AuthMode::All => !matches!(path, "/livez" | "/health") && !is_under(path, "/webhooks/killbill"),
        }
    }

    fn carries_token(&self, headers: &HeaderMap) -> bool {
        let (Some(expected), Some(given)) = (&self.token, headers.get(TOKEN_HEADER)) else { return false };
        same_secret(expected.expose_secret().as_bytes(), given.as_bytes())
    }
}

fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Compares digests, every byte of them: neither length nor content shows in the time it takes.
pub(crate) fn same_secret(left: &[u8], right: &[u8]) -> bool {
    let (left, right) = (Sha256::digest(left), Sha256::digest(right));
    left.iter().zip(right.iter()).fold(0_u8, |difference, (a, b)| difference | (a ^ b)) == 0
}
