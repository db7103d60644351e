//! Host labels: the first part of an instance's address (contract 13.2).

use super::DatabaseLabel;
use crate::problem::Fault;
use crate::sources::Entropy;
use std::collections::BTreeSet;

text_name! {
    /// 3 to 50 ASCII letters, digits, `-` in lower case, no `-` at either end, not starting with `xn--`, not reserved.
    HostLabel
}

/// Labels that no instance gets: those of the platform itself, and what the operator adds.
#[derive(Clone, Debug, Default)]
pub struct ReservedHosts {
    added: BTreeSet<String>,
}

const RESERVED: &[&str] = &[
    "www",
    "api",
    "app",
    "auth",
    "billing",
    "mail",
    "admin",
    "user",
    "users",
    "instance",
    "instances",
    "notification",
    "notifications",
    "account",
    "accounts",
    "login",
    "portal",
    "dashboard",
    "support",
    "help",
    "docs",
    "status",
    "blog",
    "static",
    "assets",
    "cdn",
    "smtp",
    "imap",
    "pop",
    "pop3",
    "webmail",
    "mx",
    "ns",
    "ns1",
    "ns2",
    "dns",
    "ftp",
    "sftp",
    "ssh",
    "vpn",
    "git",
    "registry",
    "traefik",
    "killbill",
    "kaui",
    "grafana",
    "prometheus",
    "redis",
    "rabbitmq",
    "postgres",
    "postgres1",
    "postgres2",
    "db",
    "database",
    "ws",
    "websocket",
    "autoconfig",
    "autodiscover",
    "mta-sts",
    "postmaster",
    "hostmaster",
    "webmaster",
    "abuse",
    "root",
    "system",
    "master",
    "public",
    "internal",
    "localhost",
    "test",
    "temp",
];

impl ReservedHosts {
    /// The built-in list and these.
    pub fn with(added: impl IntoIterator<Item = String>) -> Self {
        Self { added: added.into_iter().map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect() }
    }

    /// Whether `label`, in lower case, is reserved.
    pub fn contains(&self, label: &str) -> bool {
        RESERVED.contains(&label) || self.added.contains(label)
    }
}

impl HostLabel {
    /// The fewest characters.
    pub const MIN_CHARS: usize = 3;
    /// The most characters.
    pub const MAX_CHARS: usize = 50;
    const SUFFIX_BYTES: usize = 3;

    /// Checks an ordered label: form (422), then reserved (400); lower-cases it.
    pub fn parse(text: &str, reserved: &ReservedHosts) -> Result<Self, Fault> {
        let label = text.to_ascii_lowercase();
        check_form(&label)?;
        if reserved.contains(&label) {
            return Err(Fault::Rule(format!("Subdomain '{label}' is reserved")));
        }
        Ok(Self(label))
    }

    /// Makes a label of a database name: adjusted rather than refused, since a refused order leaves a paying customer
    /// without an instance.
    pub fn from_database_label(label: &DatabaseLabel, reserved: &ReservedHosts, entropy: &dyn Entropy) -> Self {
        let made = Self(adjusted(label.as_str()));
        let fits = made.0.len() >= Self::MIN_CHARS && !reserved.contains(&made.0);
        if fits { made } else { made.varied(entropy) }
    }

    /// The same label with `-` and random hex digits added: for one that is taken or reserved.
    pub fn varied(&self, entropy: &dyn Entropy) -> Self {
        let mut bytes = [0_u8; Self::SUFFIX_BYTES];
        entropy.fill(&mut bytes);
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let kept: String = self.0.chars().take(Self::MAX_CHARS - 1 - digits.len()).collect();
        Self(format!("{}-{digits}", kept.trim_end_matches('-')))
    }
}

/// `_` to `-`, no `-` at the ends, no `xn--` in front.
fn adjusted(label: &str) -> String {
    let label = label.replace('_', "-");
    let label = match label.strip_prefix("xn--") {
        Some(rest) => format!("xn-{}", rest.trim_start_matches('-')),
        None => label,
    };
    label.trim_matches('-').to_owned()
}

fn check_form(label: &str) -> Result<(), Fault> {
    let chars = label.chars().count();
    if chars < HostLabel::MIN_CHARS {
        return Err(Fault::form("string_too_short", "must have at least 3 characters"));
    }
    if chars > HostLabel::MAX_CHARS {
        return Err(Fault::form("string_too_long", "must have at most 50 characters"));
    }
    if !label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(Fault::form("value_error", "must consist of the letters a to z, digits and '-'"));
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(Fault::form("value_error", "must not start or end with '-'"));
    }
    if label.starts_with("xn--") {
        return Err(Fault::form("value_error", "must not start with 'xn--'"));
    }
    Ok(())
}
