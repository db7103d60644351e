//! What a tenant sees of the server, looked at again and again with its own login.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::Child;
use std::thread::JoinHandle;
use stories::Login;
use testkit::Cluster;

/// Everything with a name or a text that any role may read, wherever it is. Kind and text, one line each.
const VISIBLE: &str = "
    SELECT DISTINCT 'seen ' || kind || ' ' || text FROM (
              SELECT 'database' AS kind, datname::text AS text FROM pg_database
    UNION ALL SELECT 'role', rolname::text FROM pg_roles
    UNION ALL SELECT 'comment', description FROM pg_shdescription
    UNION ALL SELECT 'application', application_name FROM pg_stat_activity WHERE application_name <> ''
    UNION ALL SELECT 'role', usename::text FROM pg_stat_activity WHERE usename IS NOT NULL
    UNION ALL SELECT 'setting', unnest(setconfig) FROM pg_db_role_setting
    UNION ALL SELECT 'setting', unnest(rolconfig) FROM pg_roles
    UNION ALL SELECT 'grant', datname || ' ' || array_to_string(datacl, ' ') FROM pg_database
    UNION ALL SELECT 'query', query FROM pg_stat_activity WHERE usename <> current_user AND query <> ''
    UNION ALL SELECT 'tablespace', spcname::text FROM pg_tablespace
    ) v";

/// A tenant that looks.
pub(crate) struct Sight {
    client: Child,
    reading: JoinHandle<Result<String>>,
}

impl Sight {
    /// Begins to look, every few milliseconds.
    pub(crate) fn begin(login: &Login, server: &Cluster, database: &str) -> Result<Self> {
        let mut client = login.client(server, database).spawn().context("cannot run psql")?;
        let mut output = client.stdout.take().context("no output")?;
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut output, &mut text)?;
            Ok(text)
        });
        let mut input = client.stdin.take().context("no input")?;
        writeln!(input, "{} \\watch 0.002", VISIBLE.replace('\n', " "))?;
        Ok(Self { client, reading })
    }

    /// Ends; answers everything that was seen.
    pub(crate) fn end(mut self) -> Result<Seen> {
        ensure!(self.client.try_wait()?.is_none(), "the tenant's session ended before");
        self.client.kill()?;
        self.client.wait()?;
        let text = self.reading.join().map_err(|_panic| anyhow::anyhow!("reading panicked"))??;
        let pair = |line: &str| {
            let (kind, text) = line.strip_prefix("seen ")?.split_once(' ')?;
            Some((kind.to_owned(), text.to_owned()))
        };
        Ok(Seen(text.lines().filter_map(pair).collect()))
    }
}

/// Kinds and texts.
#[derive(Debug)]
pub(crate) struct Seen(BTreeSet<(String, String)>);

impl Seen {
    /// The texts of one kind.
    pub(crate) fn of(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(found, _)| found == kind).map(|(_, text)| text.as_str())
    }

    /// Every text is one that each server has, or random.
    pub(crate) fn is_opaque(&self) -> Result<()> {
        for (kind, text) in &self.0 {
            let opaque = match kind.as_str() {
                "database" => ["postgres", "template0", "template1", "ois"].contains(&text.as_str()) || is_physical(text),
                "role" => is_fixed_role(text) || is_physical(text),
                "comment" => is_hex16(text) || is_of_postgres(text),
                "application" => is_application(text),
                "setting" => text
                    .split_once('=')
                    .is_some_and(|(name, value)| name.ends_with("_timeout") && value.bytes().all(|byte| byte.is_ascii_digit())),
                "query" => text == "<insufficient privilege>",
                "grant" => text.split([' ', '=', '/', ',']).all(is_grant_word),
                "tablespace" => text.starts_with("pg_"),
                _ => false,
            };
            ensure!(opaque, "a tenant sees {kind} {text:?}");
        }
        Ok(())
    }

    /// None of the texts, ids without their dashes included, is part of anything that was seen.
    pub(crate) fn has_none_of(&self, known: &[String]) -> Result<()> {
        for (kind, text) in &self.0 {
            let (text, plain) = (text.to_lowercase(), text.to_lowercase().replace('-', ""));
            for known in known {
                let bare = known.to_lowercase().replace('-', "");
                let found = text.contains(&known.to_lowercase()) || plain.contains(&bare);
                ensure!(!found, "a tenant sees {known:?} in {kind} {text:?}");
                // A name made of a piece of an id would pass the patterns.
                let piece = known.len() == 36 && bare.get(..8).is_some_and(|piece| plain.contains(piece));
                ensure!(!piece, "a tenant sees a piece of id {known} in {kind} {text:?}");
            }
        }
        Ok(())
    }
}

fn is_hex16(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn is_physical(name: &str) -> bool {
    name.strip_prefix("odoo_").is_some_and(is_hex16)
}

fn is_fixed_role(name: &str) -> bool {
    ["postgres", "odoo_admin", "odoo_tenants"].contains(&name) || name.starts_with("pg_")
}

/// What `initdb` writes.
fn is_of_postgres(comment: &str) -> bool {
    ["default administrative connection database", "default template for new databases", "unmodifiable empty database"]
        .contains(&comment)
}

/// The worker, holding a fence or not, and `psql`: the test's own and the fake runtime's.
fn is_application(name: &str) -> bool {
    let fence = |rest: &str| {
        rest.split_once(':').is_some_and(|(mark, token)| is_hex16(mark) && token.bytes().all(|byte| byte.is_ascii_digit()))
    };
    ["ois", "ois backup", "psql"].contains(&name) || name.strip_prefix("ois:").is_some_and(fence)
}

/// Roles, databases, and the letters of rights.
fn is_grant_word(word: &str) -> bool {
    let rights = word.bytes().all(|byte| b"CTc*".contains(&byte));
    rights || is_physical(word) || is_fixed_role(word) || ["template0", "template1", "ois"].contains(&word)
}
