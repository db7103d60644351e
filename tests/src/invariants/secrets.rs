//! I7: no password in any log, row or catalogue. They are learned where a customer or Odoo reads them: the mail, the
//! configuration file. Who has learned nothing has shown nothing, so that is a violation, too.

use super::Found;
use super::world::World;
use crate::Stack;
use anyhow::{Context, Result};
use regex::Regex;
use std::collections::BTreeSet;
use std::path::Path;

/// Shorter texts would be found by chance.
const SHORTEST: usize = 8;

/// What is kept for long, and what a tenant can read.
const ROWS: &str = "
    SELECT t::text FROM instance_service.operations t UNION ALL SELECT t::text FROM instance_service.operation_steps t
    UNION ALL SELECT t::text FROM instance_service.operation_events t UNION ALL SELECT t::text FROM instance_service.audit_log t
    UNION ALL SELECT t::text FROM instance_service.outbox t UNION ALL SELECT t::text FROM public.instances t";

/// Services of provisionings that succeeded: of all, and of those whose instance is still there.
const PROVISIONED: &str = "
    SELECT s.output ->> 'service' FROM instance_service.operation_steps s JOIN instance_service.operations o ON o.id = s.operation_id
     WHERE o.kind = 'provision' AND o.state = 'succeeded' AND s.step = 'place' AND s.phase = 'apply'";
const PRESENT: &str = "SELECT service_name FROM public.instances WHERE phase = 'ready' AND status = 'running'";

/// Every password seen so far.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    known: BTreeSet<String>,
    /// The services whose configuration was read.
    services: BTreeSet<String>,
    /// Nothing that was provisioned may be unknown, also when it is gone by now.
    of_all: bool,
}

impl Secrets {
    /// For whoever learns of every instance before it is deleted.
    pub fn of_all() -> Self {
        Self { of_all: true, ..Self::default() }
    }

    /// Adds what can be read now. An instance's database password can be learned only while the instance is there.
    ///
    /// # Errors
    /// When a mail or a file cannot be read.
    pub fn learn(&mut self, stack: &Stack) -> Result<()> {
        for mail in stack.services.mails()? {
            self.known.extend(mail["template_variables"]["admin_password"].as_str().map(str::to_owned));
        }
        let root = stack.instances_path();
        for entry in std::fs::read_dir(&root).with_context(|| root.display().to_string())? {
            let entry = entry?;
            let found = of_configuration(&entry.path().join("conf/odoo.conf"))?;
            if !found.is_empty() {
                self.services.insert(entry.file_name().to_string_lossy().replace('_', "-"));
            }
            self.known.extend(found);
        }
        Ok(())
    }

    pub(super) fn check(&self, stack: &Stack, world: &World, found: &mut Found) -> Result<()> {
        let provisioned = stack.platform_sql(if self.of_all { PROVISIONED } else { PRESENT })?;
        for service in provisioned.lines().filter(|service| !self.services.contains(*service)) {
            found.add("I7", format!("no password of {service} was learned, so nothing was looked for"));
        }
        let places = [
            ("the log of postgres1", stack.pair.postgres1.log()?),
            ("the log of postgres2", stack.pair.postgres2.log()?),
            ("a log of ours", stack.logs()?),
            ("a row of postgres1", stack.platform_sql(ROWS)?),
            ("the catalogue of postgres2", format!("{:?}", world.catalogue)),
        ];
        // All at once: there are hundreds of them in a long run, and the logs grow.
        let long = self.known.iter().filter(|secret| secret.len() >= SHORTEST);
        let any = Regex::new(&long.map(|secret| regex::escape(secret)).collect::<Vec<_>>().join("|"))?;
        for (place, text) in places {
            found.unless(any.as_str().is_empty() || !any.is_match(&text), "I7", format!("a password is in {place}"));
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
