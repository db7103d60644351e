//! I5: a tenant who has nothing to do with what is disturbed, and who notices nothing.

use super::Violation;
use crate::{Place, Stack};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::Duration;
use testkit::Snapshot;

/// What the tenant wrote, and what tells its session and its database from any others.
const NOTE: &str = "CREATE TABLE notes (note text); INSERT INTO notes VALUES ('mine'); ";
const LOOK: &str = "SELECT json_build_array(pg_backend_pid(), (SELECT oid FROM pg_database WHERE datname = current_database()),
                           (SELECT array_agg(note) FROM notes), (SELECT count(*) FROM res_users));";

const ATTACHMENTS: &str =
    "SELECT coalesce(json_agg(DISTINCT store_fname), '[]') FROM ir_attachment WHERE store_fname IS NOT NULL;";

/// An instance with an open session of its tenant, who looks again and again at what is theirs.
pub struct Bystander {
    place: Place,
    session: Session,
    seen: String,
    files: BTreeMap<PathBuf, Vec<u8>>,
    processes: Vec<String>,
}

impl Bystander {
    /// Provisions the instance, logs in as its tenant and writes a row.
    ///
    /// # Errors
    /// When it cannot.
    pub fn settle(stack: &Stack, patience: Duration) -> Result<Self> {
        let (id, operation) = stack.provision(&stack.order("bystander")?)?;
        stack.await_success(&operation, patience)?;
        let place = stack.place(&id)?;
        let mut session = Session::open(stack, &place)?;
        let seen = session.ask(&format!("{NOTE}{LOOK}"))?.context("the bystander's session ended at once")?;
        let files = files(&place)?;
        ensure!(!files.is_empty(), "the bystander has no files");
        let processes = processes(&place)?;
        Ok(Self { place, session, seen, files, processes })
    }

    /// What the tenant notices.
    ///
    /// # Errors
    /// When something cannot be looked at; a violation is no error.
    pub fn check(&mut self, stack: &Stack) -> Result<Vec<Violation>> {
        let mut noticed = Vec::new();
        match self.session.ask(LOOK)? {
            None => noticed.push("its session on postgres2 was cut".to_owned()),
            Some(now) if now != self.seen => noticed.push(format!("it saw {} and now sees {now}", self.seen)),
            Some(_) => {}
        }
        noticed.extend(self.lost()?);
        if processes(&self.place)? != self.processes {
            noticed.push("its Odoo is another process".to_owned());
        }
        if let Some(fake) = &stack.fake {
            let counts = fake.counts(&self.place.service)?;
            if (counts.starts, counts.stops, counts.removes) != (1, 0, 0) {
                noticed.push(format!("its service did not simply go on: {counts:?}"));
            }
        }
        let violation = |what| Violation { invariant: "I5", what: format!("bystander {}: {what}", self.place.database) };
        Ok(noticed.into_iter().map(violation).collect())
    }
}

impl Bystander {
    /// Files that are others than they were, and attachments that have none. Its own Odoo goes on adding files, and removing those
    /// that no attachment names any more.
    fn lost(&mut self) -> Result<Vec<String>> {
        let Some(named) = self.session.ask(ATTACHMENTS)? else { return Ok(Vec::new()) };
        let named: Vec<String> = serde_json::from_str(&named)?;
        let now = files(&self.place)?;
        let store = self.place.directory.join("data/filestore").join(&self.place.database);
        let mut lost: Vec<String> =
            named.iter().filter(|name| !store.join(name).is_file()).map(|name| format!("its file {name} is gone")).collect();
        for (path, before) in &self.files {
            let is_other = now.get(path).is_some_and(|content| content != before);
            let is_gone = !now.contains_key(path) && !path.starts_with(&store);
            if is_other || is_gone {
                lost.push(format!("its file {} is another", path.display()));
            }
        }
        Ok(lost)
    }
}

/// A client that stays connected.
struct Session {
    client: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn open(stack: &Stack, place: &Place) -> Result<Self> {
        let mut client = place.login()?.client(&stack.pair.postgres2, &place.database).spawn()?;
        let input = client.stdin.take().context("a client has an input")?;
        let output = BufReader::new(client.stdout.take().context("a client has an output")?);
        Ok(Self { client, input, output })
    }

    /// One row of one column; `None` when the server has ended the session.
    fn ask(&mut self, sql: &str) -> Result<Option<String>> {
        let line = format!("{}\n", sql.split_whitespace().collect::<Vec<_>>().join(" "));
        let sent = self.input.write_all(line.as_bytes()).and_then(|()| self.input.flush());
        let mut answer = String::new();
        if sent.is_err() || self.output.read_line(&mut answer)? == 0 {
            return Ok(None);
        }
        Ok(Some(answer.trim_end().to_owned()))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended already; there is nothing else to do about it here.
        self.client.kill().ok();
        self.client.wait().ok();
    }
}

/// The processes that serve an instance: none where the runtime is the fake one.
fn processes(place: &Place) -> Result<Vec<String>> {
    let seen = Snapshot::default().with_processes(&place.directory.display().to_string())?;
    Ok(seen.lines("process").map(str::to_owned).collect())
}

/// What a tenant would miss: configuration and filestore. Odoo itself goes on writing logs and sessions.
fn files(place: &Place) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = below(&place.directory.join("conf"))?;
    found.extend(below(&place.directory.join("data/filestore"))?);
    Ok(found)
}

fn below(directory: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(below(&path)?);
        } else {
            found.insert(path.clone(), std::fs::read(&path)?);
        }
    }
    Ok(found)
}
