//! Names of the customer's environment variables, and those that belong to the service (contract 15.4).

use crate::problem::Fault;

text_name! {
    /// The name of an environment variable: `[A-Z_][A-Z0-9_]*`, and not one that the service sets itself.
    EnvName
}

/// Names that are refused as they are. Contract 15.4 names those that an image reads; the others make a program load code, write
/// files or reveal keys: the C library, a shell, a TLS library, and Node, which Odoo runs for right-to-left style sheets.
const TAKEN: &[&str] = &[
    "HOST",
    "PORT",
    "USER",
    "PATH",
    "HOME",
    "ENV",
    "IFS",
    "SHELLOPTS",
    "GCONV_PATH",
    "LOCPATH",
    "NLSPATH",
    "GLIBC_TUNABLES",
    "SSLKEYLOGFILE",
    "NODE_OPTIONS",
    "NODE_PATH",
];

/// Beginnings that are refused with whatever follows. From 19 on every option of Odoo can be set by a variable `ODOO_<OPTION>`,
/// which beats the configuration file: listening address, database filter, master password, the path of a log file.
const TAKEN_PREFIXES: &[&str] = &[
    "PASSWORD", "DB_", "PG", "POSTGRES", "ODOO_", "OPENERP_", "LISTEN_", "BITNAMI_", "LD_", "PYTHON", "OPENSSL_", "BASH_",
    "PERL5", "TRAEFIK_",
];

impl EnvName {
    /// Checks the form first (422), then whether the name is taken (400).
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let begins_well = text.starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
        if !begins_well || !text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
            return Err(Fault::form(
                "value_error",
                "must be named with the letters A to Z, digits and '_', not starting with a digit",
            ));
        }
        if TAKEN.contains(&text) || TAKEN_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            return Err(Fault::Rule(format!("Environment variable '{text}' is reserved")));
        }
        Ok(Self(text.to_owned()))
    }
}
