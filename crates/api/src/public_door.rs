//! The public door (contract 9): who comes in, what is open there, and how often.
//!
//! Owns: the list of open calls, the look at a session and its short memory, the limit on look-ups of host names.
//! Leaves to others: what counts as coming by this door (`doors`), and whose an instance is (`caller`, in each handler).
//!
//! A new route is closed here until it has a line in [`OPEN`].

use crate::caller::Customer;
use crate::problem::Problem;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method};
use chrono::{DateTime, TimeDelta, Utc};
use clients::{Session, SessionStore};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Calls that need no session.
const FREE: &[(&str, &str)] = &[("GET", "/"), ("GET", "/health")];

/// Calls that are open to customers; `{}` stands for one part of a path.
pub const OPEN: &[(&str, &str)] = &[
    ("GET", "/api/v1/instances"),
    ("GET", "/api/v1/instances/{}"),
    ("GET", "/api/v1/instances/{}/status"),
    ("GET", "/api/v1/instances/{}/logs"),
    ("GET", "/api/v1/instances/{}/backups"),
    ("POST", "/api/v1/instances/{}/actions"),
    ("GET", "/api/v1/instances/{}/backup-schedule"),
    ("PUT", "/api/v1/instances/{}/backup-schedule"),
    ("GET", "/api/v1/instances/check-subdomain"),
    ("GET", "/api/v1/instances/check-subdomain/{}"),
    ("GET", "/api/v1/operations"),
    ("GET", "/api/v1/operations/{}"),
    ("GET", "/api/v1/operations/{}/events"),
    ("POST", "/api/v1/operations/{}/cancel"),
    ("GET", "/api/v1/backups/{}"),
    ("GET", "/api/v1/backups/{}/export"),
];

/// Fixed words that stand where an id may stand, and are closed.
const CLOSED: &str = "/api/v1/instances/by-subscription/";

/// How long a session that was seen counts without another look. One that is ended meanwhile counts no longer than this.
const MEMORY: TimeDelta = TimeDelta::seconds(5);
/// Most sessions and windows that are remembered.
const MOST: usize = 10_000;
/// Longest token that is looked up.
const LONGEST_TOKEN: usize = 512;
/// Look-ups of host names in one session and window.
const CHECKS: u32 = 30;
const WINDOW: TimeDelta = TimeDelta::seconds(60);

/// The public door.
pub struct PublicDoor {
    sessions: Arc<dyn SessionStore>,
    seen: Mutex<HashMap<[u8; 32], Seen>>,
    checks: Mutex<HashMap<[u8; 32], Window>>,
}

struct Seen {
    session: Session,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
}

struct Window {
    ends: DateTime<Utc>,
    count: u32,
}

/// Who was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Anybody: the call needs no session.
    Anybody,
    /// A customer.
    Customer(Customer),
}

impl PublicDoor {
    /// A door that asks this store.
    pub fn new(sessions: Arc<dyn SessionStore>) -> Self {
        Self { sessions, seen: Mutex::default(), checks: Mutex::default() }
    }

    /// Lets a request in or says why not: first whether there is a session, then whether the call is open.
    ///
    /// # Errors
    /// 401 without a session that counts, 403 for a call that is closed here, 503 when the store cannot be asked.
    pub async fn admit(&self, method: &Method, path: &str, headers: &HeaderMap, now: DateTime<Utc>) -> Result<Admitted, Problem> {
        if is_listed(FREE, method, path) {
            return Ok(Admitted::Anybody);
        }
        let token = bearer(headers).ok_or_else(Problem::not_signed_in)?;
        let session = Sha256::digest(token.expose_secret()).into();
        let found = self.session(&token, session, now).await?.ok_or_else(Problem::not_signed_in)?;
        if path.starts_with(CLOSED) || !is_listed(OPEN, method, path) {
            return Err(Problem::forbidden("This call is not available here"));
        }
        Ok(Admitted::Customer(Customer { id: found.customer, session }))
    }

    async fn session(&self, token: &SecretString, digest: [u8; 32], now: DateTime<Utc>) -> Result<Option<Session>, Problem> {
        if let Some(session) = self.remembered(&digest, now) {
            return Ok(Some(session));
        }
        let unavailable = |error| Problem::unavailable("Sessions cannot be looked up at the moment").because(error);
        let found = self.sessions.session(token, now).await.map_err(unavailable)?;
        if let Some(session) = found {
            let until = session.expires_at.map_or(now + MEMORY, |end| end.min(now + MEMORY));
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            make_room(&mut seen, |entry| entry.until > now);
            seen.insert(digest, Seen { session, since: now, until });
        }
        Ok(found)
    }

    fn remembered(&self, digest: &[u8; 32], now: DateTime<Utc>) -> Option<Session> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was put back must not make it last.
        seen.get(digest).filter(|entry| entry.since <= now && now < entry.until).map(|entry| entry.session)
    }

    /// Counts one look-up of a host name.
    ///
    /// # Errors
    /// 429 with the seconds until the session may look again.
    pub fn count_check(&self, customer: &Customer, now: DateTime<Utc>) -> Result<(), Problem> {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut checks, |window| window.ends > now);
        let window = checks.entry(customer.session).or_insert(Window { ends: now + WINDOW, count: 0 });
        if window.ends <= now {
            *window = Window { ends: now + WINDOW, count: 0 };
        }
        window.count += 1;
        if window.count <= CHECKS {
            return Ok(());
        }
        let left = u32::try_from((window.ends - now).num_seconds()).unwrap_or(0).max(1);
        Err(Problem::too_many("Too many look-ups; please try again in a moment", left))
    }
}

/// Forgets what is over; when everything is still needed, all of it: it is only a memory.
fn make_room<V>(entries: &mut HashMap<[u8; 32], V>, is_needed: impl Fn(&V) -> bool) {
    if entries.len() >= MOST {
        entries.retain(|_, entry| is_needed(entry));
    }
    if entries.len() >= MOST {
        entries.clear();
    }
}

/// The one bearer token of a request, if it looks like one.
fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let is_token = (1..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case("bearer") && is_token).then(|| token.to_owned().into())
}

fn is_listed(list: &[(&str, &str)], method: &Method, path: &str) -> bool {
    // Whoever may GET may ask for the headers alone.
    let method = if method == Method::HEAD { Method::GET.as_str() } else { method.as_str() };
    list.iter().any(|(known, pattern)| *known == method && matches(pattern, path))
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut expected, mut parts) = (pattern.split('/'), path.split('/'));
    loop {
        match (expected.next(), parts.next()) {
            (None, None) => return true,
            (Some("{}"), Some(part)) if !part.is_empty() => {}
            (Some(word), Some(part)) if word == part => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn one_token_of_the_right_form_is_taken() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            bearer(&headers).map(|token| token.expose_secret().to_owned())
        };
        assert_eq!(of(&["Bearer abc"]), Some("abc".to_owned()));
        assert_eq!(of(&["bEARER abc"]), Some("abc".to_owned()));
        let long = format!("Bearer {}", "x".repeat(513));
        for refused in [
            &[][..],
            &["Bearer a", "Bearer a"],
            &["Bearer "],
            &["Bearer  a"],
            &["Basic abc"],
            &["Bearer a b"],
            &["abc"],
            &[&long],
        ] {
            assert_eq!(of(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn a_path_is_open_as_a_whole_only() {
        let open = |method: Method, path: &str| is_listed(OPEN, &method, path);
        assert!(open(Method::GET, "/api/v1/instances/7/status") && open(Method::HEAD, "/api/v1/instances"));
        for (method, path) in [
            (Method::POST, "/api/v1/instances"),
            (Method::GET, "/api/v1/instances/7/status/more"),
            (Method::GET, "/api/v1/instances//status"),
            (Method::DELETE, "/api/v1/instances/7"),
            (Method::GET, "/admin/instance-stats"),
            (Method::GET, "/metrics"),
        ] {
            assert!(!open(method.clone(), path), "{method} {path}");
        }
    }
}
