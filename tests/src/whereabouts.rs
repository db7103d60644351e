//! The secrets of a deployment, learned where they belong, and searched for where they must not be.

use crate::{Answer, Seen, Stack};
use anyhow::{Context, Result, ensure};
use secrecy::ExposeSecret;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Everything that the API answered.
#[derive(Default)]
pub struct Answers(Vec<String>);

impl Answers {
    /// One more answer.
    pub fn keep(&mut self, answer: Answer) {
        self.0.push(answer.body.to_string());
    }

    /// All that can be read of an instance and an operation, whatever the answers are.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn ask(&mut self, stack: &Stack, instance: &str, operation: &str) -> Result<()> {
        let at = format!("/api/v1/instances/{instance}");
        let customer = stack.instance(instance)?["customer_id"].as_str().unwrap_or_default().to_owned();
        let paths = [
            at.clone(),
            format!("{at}/status"),
            format!("{at}/logs"),
            format!("/api/v1/operations?instance_id={instance}"),
            format!("/api/v1/instances/?customer_id={customer}"),
            format!("/api/v1/operations/{operation}"),
            "/health/database".to_owned(),
        ];
        for path in paths {
            self.keep(stack.get(&path)?);
        }
        Ok(())
    }
}

/// Secrets by what they are.
#[derive(Debug, Default)]
pub struct Secrets(BTreeMap<String, BTreeSet<String>>);

/// What a full run must have learned.
const KINDS: [&str; 6] =
    ["tenant password", "master password's hash", "administrator's password", "odoo_admin", "instance_service", "sealing key"];

impl Secrets {
    fn add(&mut self, kind: &str, secret: String) {
        self.0.entry(kind.to_owned()).or_default().insert(secret);
    }

    /// Reads configuration files, those of a template under construction included, and mails.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn learn(&mut self, stack: &Stack) -> Result<()> {
        for mail in stack.services.mails()? {
            if let Some(password) = mail["template_variables"]["admin_password"].as_str() {
                self.add("administrator's password", password.to_owned());
            }
        }
        let root = stack.instances_path();
        for entry in std::fs::read_dir(&root).with_context(|| root.display().to_string())? {
            self.learn_configuration(&entry?.path().join("conf/odoo.conf"));
        }
        Ok(())
    }

    fn learn_configuration(&mut self, file: &Path) {
        // Not there yet, or there no more.
        let text = std::fs::read_to_string(file).unwrap_or_default();
        for (name, value) in text.lines().filter_map(|line| line.split_once(" = ")) {
            match name {
                "db_password" => self.add("tenant password", value.to_owned()),
                "admin_passwd" => self.add("master password's hash", value.to_owned()),
                _ => {}
            }
        }
    }

    /// The passwords of our own processes, as the worker was given them.
    ///
    /// # Errors
    /// When there is no worker to ask.
    pub fn learn_settings(&mut self, stack: &Stack) -> Result<()> {
        self.add("odoo_admin", stack.pair.odoo_admin().password.expose_secret().to_owned());
        self.add("instance_service", stack.pair.platform().password.expose_secret().to_owned());
        self.add("instance_owner", stack.pair.platform_owner().password.expose_secret().to_owned());
        let worker = stack.workers.first().and_then(|worker| worker.process.pid()).context("no worker")?;
        let environment = std::fs::read(format!("/proc/{}/environ", worker.as_raw_nonzero()))?;
        let environment = String::from_utf8_lossy(&environment).into_owned();
        let key = environment.split('\0').find_map(|variable| variable.strip_prefix("INSTANCE_SECRETS_KEY="));
        self.add("sealing key", key.context("the worker has no key")?.to_owned());
        Ok(())
    }

    /// Whether a customer was told a password.
    pub fn has_mailed(&self) -> bool {
        self.0.contains_key("administrator's password")
    }

    /// A full run has learned one of each kind.
    ///
    /// # Errors
    /// Naming the kind that was not.
    pub fn are_complete(&self) -> Result<()> {
        for kind in KINDS {
            let known = self.0.get(kind).is_some_and(|secrets| secrets.iter().all(|secret| secret.len() >= 10));
            ensure!(known, "no {kind} was learned, so nothing was looked for");
        }
        self.are_of_tenants(2)
    }

    /// At least so many passwords of tenants and templates were learned.
    ///
    /// # Errors
    /// When there are less.
    pub fn are_of_tenants(&self, count: usize) -> Result<()> {
        let known = self.0.get("tenant password").map_or(0, BTreeSet::len);
        ensure!(known >= count, "{known} passwords of tenants and templates are known");
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(kind, secrets)| secrets.iter().map(move |secret| (kind.as_str(), secret.as_str())))
    }

    fn are_not_in(&self, place: &str, text: &str) -> Result<()> {
        for (kind, secret) in self.all() {
            ensure!(!text.contains(secret), "{kind} is in {place}");
        }
        Ok(())
    }

    /// Neither the servers nor our processes logged one.
    ///
    /// # Errors
    /// Naming the log, or a log that is none.
    pub fn are_in_no_log(&self, stack: &Stack) -> Result<()> {
        let (platform, odoo, ours) = (stack.pair.postgres1.log()?, stack.pair.postgres2.log()?, stack.logs()?);
        ensure!(platform.contains("INSERT INTO public.instances"), "postgres1 does not log statements");
        ensure!(odoo.contains("CREATE ROLE") && odoo.contains("res_users"), "postgres2 does not log statements");
        ensure!(ours.contains("instance-worker") || ours.contains("provision"), "our processes do not log");
        self.are_not_in("the log of postgres1", &platform)?;
        self.are_not_in("the log of postgres2", &odoo)?;
        self.are_not_in("a log of our processes", &ours)
    }

    /// The API told none.
    ///
    /// # Errors
    /// When it did, or was hardly asked.
    pub fn are_in_no_answer(&self, answers: &Answers) -> Result<()> {
        ensure!(answers.0.len() > 20, "only {} answers", answers.0.len());
        answers.0.iter().try_for_each(|answer| self.are_not_in("an answer of the API", answer))
    }

    /// Neither as text nor as the bytes of a text, in any table of postgres1.
    ///
    /// # Errors
    /// Naming what is in a row.
    pub fn are_in_no_row(&self, stack: &Stack) -> Result<()> {
        let tables = stack.platform_sql(
            "SELECT string_agg(format('SELECT t::text FROM %s t', c.oid::regclass), ' UNION ALL ')
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')",
        )?;
        let rows = stack.platform_sql(&tables)?;
        ensure!(rows.lines().count() > 20, "postgres1 is empty");
        for (kind, secret) in self.all() {
            let bytes: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            ensure!(!rows.contains(secret) && !rows.contains(&bytes), "{kind} is in a row of postgres1");
        }
        Ok(())
    }

    /// No argument ever holds a secret. In environments there are only those that a process of ours was started with, and the
    /// password of the one role that a PostgreSQL client is to log in as.
    ///
    /// # Errors
    /// Naming the process.
    pub fn are_in_no_process_list(&self, stack: &Stack, processes: &BTreeSet<Seen>) -> Result<()> {
        let api = stack.api.pid().context("no API")?.as_raw_nonzero().get();
        let workers: Vec<_> =
            stack.workers.iter().filter_map(|worker| Some(worker.process.pid()?.as_raw_nonzero().get())).collect();
        ensure!(processes.iter().any(is_client), "no client of PostgreSQL was seen: the look was too slow");
        for seen in processes {
            self.are_not_in(&format!("the arguments of process {}", seen.pid), &seen.arguments)?;
            let pid = i32::try_from(seen.pid)?;
            for (kind, secret) in self.all().filter(|(_, secret)| seen.environment.contains(secret)) {
                let given = match kind {
                    "odoo_admin" | "sealing key" => workers.contains(&pid),
                    "instance_service" => workers.contains(&pid) || pid == api,
                    "tenant password" => is_client(seen) && seen.environment.contains(&format!("PGPASSWORD={secret}")),
                    _ => false,
                };
                ensure!(given, "{kind} is in the environment of process {}: {}", seen.pid, seen.arguments);
            }
        }
        Ok(())
    }
}

/// The client itself, or Debian's script of that name.
fn is_client(seen: &Seen) -> bool {
    let is_one = |program: &str| ["/psql", "/pg_dump", "/pg_restore"].iter().any(|name| program.ends_with(name));
    seen.arguments.split(' ').take(2).any(is_one)
}
