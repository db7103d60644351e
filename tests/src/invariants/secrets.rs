//! I7: no password in any log. They are learned where a customer or Odoo reads them: the mail, the configuration file.

use super::Found;
use crate::Stack;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// Shorter texts would be found by chance.
const SHORTEST: usize = 8;

/// Every password seen so far.
#[derive(Clone, Debug, Default)]
pub struct Secrets(BTreeSet<String>);

impl Secrets {
    /// Adds what can be read now. An instance's database password can be learned only while the instance is there.
    ///
    /// # Errors
    /// When a mail or a file cannot be read.
    pub fn learn(&mut self, stack: &Stack) -> Result<()> {
        for mail in stack.services.mails()? {
            self.0.extend(mail["template_variables"]["admin_password"].as_str().map(str::to_owned));
        }
        let root = stack.instances_path();
        for entry in std::fs::read_dir(&root).with_context(|| root.display().to_string())? {
            self.0.extend(of_configuration(&entry?.path().join("conf/odoo.conf"))?);
        }
        Ok(())
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn check(&self, stack: &Stack, found: &mut Found) -> Result<()> {
        let logs = [
            ("the log of postgres1", stack.pair.postgres1.log()?),
            ("the log of postgres2", stack.pair.postgres2.log()?),
            ("a log of ours", stack.logs()?),
        ];
        for secret in self.0.iter().filter(|secret| secret.len() >= SHORTEST) {
            for (place, text) in &logs {
                found.unless(!text.contains(secret.as_str()), "I7", format!("a password is in {place}"));
            }
        }
        Ok(())
    }
}

fn of_configuration(file: &Path) -> Result<Vec<String>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        // A directory without a configuration, or one that is being removed.
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error).with_context(|| file.display().to_string()),
    };
    let secret = |line: &str| {
        let (name, value) = line.split_once('=')?;
        matches!(name.trim(), "db_password" | "admin_passwd").then(|| value.trim().to_owned())
    };
    Ok(text.lines().filter_map(secret).collect())
}
