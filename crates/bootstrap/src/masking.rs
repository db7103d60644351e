//! Takes secrets and personal data out of texts before they are shown: passwords, tokens, e-mail addresses, webhook paths.
//!
//! This is the second net. The first is that secrets live in types whose `Debug` prints nothing.

use regex::{Captures, Regex};
use std::borrow::Cow;
use std::sync::LazyLock;

/// What stands in place of a masked value.
pub const MASK: &str = "***";

/// A pattern of this file; all of them are tried by the tests.
fn pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

static URL_LOGIN: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"://[^/\s@]+@"));
static EMAIL: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"[\p{L}\p{N}._%+'-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*"));
static BEARER: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+"));
static WEBHOOK: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"(/webhooks/[a-z0-9_-]+)/[^\s?#]+"));
static ASSIGNMENT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r#"(?ix) ([a-z0-9_-]*(?:password|passwd|passphrase|secret|token|authorization|api[_-]?key|cookie)(?:["']?\s*[:=]\s*))("(?:[^"\\]|\\.)*"|'[^']*'|[^\s;&})\]"']+)"#,
    )
});

/// `text` without anything that looks like a secret or an e-mail address.
pub fn mask(text: &str) -> String {
    let text = replace(&URL_LOGIN, Cow::Borrowed(text), |_| format!("://{MASK}@"));
    let text = replace(&WEBHOOK, text, |c| format!("{}/{MASK}", group(c, 1)));
    let text = replace(&BEARER, text, |c| format!("{} {MASK}", group(c, 1)));
    let text = replace(&ASSIGNMENT, text, |c| match group(c, 2) {
        // The counter of a lease is no secret.
        _ if is_lease_token(group(c, 1)) => group(c, 0).to_owned(),
        quoted if quoted.starts_with('"') => format!("{}\"{MASK}\"", group(c, 1)),
        _ => format!("{}{MASK}", group(c, 1)),
    });
    replace(&EMAIL, text, |_| MASK.to_owned()).into_owned()
}

/// Whether a field of this name holds a secret whatever its value looks like.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "passwd", "passphrase", "secret", "authorization", "api_key", "cookie"].iter().any(|word| name.contains(word))
        || name == "token"
        || name.ends_with("_token")
        || name.ends_with("-token")
}

fn group<'c>(captures: &'c Captures<'_>, index: usize) -> &'c str {
    captures.get(index).map_or("", |found| found.as_str())
}

fn replace<'t>(regex: &LazyLock<Option<Regex>>, text: Cow<'t, str>, with: impl Fn(&Captures<'_>) -> String) -> Cow<'t, str> {
    match regex.as_ref() {
        Some(regex) if regex.is_match(&text) => Cow::Owned(regex.replace_all(&text, with).into_owned()),
        Some(_) => text,
        // Without its pattern a text cannot be judged, so nothing of it is shown.
        None => Cow::Borrowed(MASK),
    }
}

fn is_lease_token(assignment: &str) -> bool {
    assignment.trim_end_matches(|c: char| c.is_whitespace() || "\"':=".contains(c)).eq_ignore_ascii_case("lease_token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out() {
        for (text, expected) in [
            ("login postgres://u:pw@h:5432/db failed", "login postgres://***@h:5432/db failed"),
            ("mail to shop.owner+x@example.co.uk sent", "mail to *** sent"),
            ("Authorization: Bearer abcdef.123456", "Authorization: *** ***"),
            ("got Bearer abcdef.123456", "got Bearer ***"),
            ("POST /webhooks/killbill/s3cr3t?x=1", "POST /webhooks/killbill/***?x=1"),
            ("password=hunter2; user=x", "password=***; user=x"),
            ("password=12345678", "password=***"),
            ("token: 987654", "token: ***"),
            ("lease_token_secret=7", "lease_token_secret=***"),
            ("password=ab,cd", "password=***"),
            ("sent Bearer abc", "sent Bearer ***"),
            ("mail to owner@localhost", "mail to ***"),
            (r#"{"admin_password":"a\"b","name":"n"}"#, r#"{"admin_password":"***","name":"n"}"#),
            ("ODOO_POSTGRES_ADMIN_PASSWORD = abc", "ODOO_POSTGRES_ADMIN_PASSWORD = ***"),
            ("x-internal-token: abc", "x-internal-token: ***"),
            ("api-key='a b c'", "api-key=***"),
        ] {
            assert_eq!(mask(text), expected, "{text}");
        }
    }

    #[test]
    fn ordinary_texts_stay() {
        for text in [
            "lease_token=7 step=clone",
            "database odoo_0123456789abcdef created",
            "http://localhost:8003/livez",
            "a @ b",
            "19:05",
        ] {
            assert_eq!(mask(text), text);
        }
    }

    #[test]
    fn names_of_secrets_are_known() {
        for name in ["password", "db_password", "X-Internal-Token", "client_secret", "token", "Cookie"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["tokens_refused", "instance_id", "step"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
