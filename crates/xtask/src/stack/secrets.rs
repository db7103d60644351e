//! Passwords and keys of the local stack: random, made once, each in a file that only its owner can read.

use super::Stack;
use anyhow::{Context, Result};
use base64::Engine as _;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

/// What is secret here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secret {
    Postgres1Superuser,
    Postgres2Superuser,
    PlatformOwner,
    PlatformService,
    OdooAdmin,
    SecretsKey,
}

impl Secret {
    const fn name(self) -> &'static str {
        match self {
            Self::Postgres1Superuser => "postgres1-superuser",
            Self::Postgres2Superuser => "postgres2-superuser",
            Self::PlatformOwner => "platform-owner",
            Self::PlatformService => "platform-service",
            Self::OdooAdmin => "odoo-admin",
            Self::SecretsKey => "secrets-key",
        }
    }
}

impl Stack {
    /// The file that holds a secret; made if it is missing.
    pub(super) fn secret_file(&self, secret: Secret) -> Result<PathBuf> {
        let directory = self.at("secrets");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let file = directory.join(secret.name());
        if !file.exists() {
            let text = match secret {
                Secret::SecretsKey => base64::engine::general_purpose::STANDARD.encode(testkit::random::key()?),
                _ => testkit::random::password()?,
            };
            let new = file.with_extension("new");
            let mut out = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
            out.write_all(text.as_bytes())?;
            std::fs::rename(&new, &file).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(file)
    }

    /// The secret itself.
    pub(super) fn secret(&self, secret: Secret) -> Result<String> {
        let file = self.secret_file(secret)?;
        std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }
}
