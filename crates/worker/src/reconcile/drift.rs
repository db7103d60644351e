//! Rows against what stands on the Odoo servers and on disk, both ways (engine 12): databases, roles and directories that are missing,
//! not the recorded ones, or open although they shall be closed; and those that no row knows.
//!
//! Reports, and does nothing else: what is missing is for an operator, and what no row knows may be all that is left of a lost row.

use super::Round;
use db::DbResult;
use db::odoo::{Inventory, OdooError, OdooResult, OdooServer, OdooServers, is_beside};
use db::platform::PlatformDb;
use db::platform::possessions::{self, Possession};
use domain::ids::{InstanceId, ServerId};
use domain::instance::{Phase, Status};
use domain::names::PhysicalName;
use futures::future::join_all;
use runtime::directory::DataDirectories;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often (engine 12).
const PERIOD: Duration = Duration::from_secs(3600);
/// Longest look at one server.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How many single items of a kind a report lists at most.
const LISTED: usize = 100;

/// The drift sweep.
pub struct Drift {
    /// postgres1.
    pub db: PlatformDb,
    /// The Odoo servers.
    pub servers: Arc<OdooServers>,
    /// The data directories.
    pub directories: DataDirectories,
}

#[async_trait::async_trait]
impl Round for Drift {
    fn name(&self) -> &'static str {
        "drift"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn round(&self) -> anyhow::Result<Value> {
        let found = self.look().await?;
        for wrong in found.wrong.iter().take(LISTED) {
            tracing::warn!(instance_id = ?wrong.instance_id, what = wrong.what, "an instance is not as its row says");
        }
        for stray in found.strays.iter().take(LISTED) {
            tracing::warn!(kind = stray.kind, server = stray.server, name = stray.name, "no row knows this");
        }
        Ok(found.report())
    }
}

/// Something of a row that is not as the row says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// The instance; `None` for a template.
    pub instance_id: Option<InstanceId>,
    /// In words.
    pub what: &'static str,
}

/// Something that no row knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stray {
    /// `database`, `role` or `directory`.
    pub kind: &'static str,
    /// On which server; of a directory none.
    pub server: Option<String>,
    /// Its name.
    pub name: String,
}

/// What a sweep found.
#[derive(Debug, Default)]
pub struct Found {
    /// Rows whose things are not as they say.
    pub wrong: Vec<Wrong>,
    /// Things without a row.
    pub strays: Vec<Stray>,
    /// Servers that could not be asked: of them nothing is said.
    pub unreachable: Vec<String>,
}

/// What was seen outside.
#[derive(Default)]
struct Seen {
    servers: BTreeMap<ServerId, (String, Inventory)>,
    unreachable: Vec<String>,
    /// None when the root could not be read.
    directories: Option<BTreeSet<String>>,
}

impl Drift {
    /// One look.
    ///
    /// # Errors
    /// Database errors only; what else could not be read is in the findings.
    pub async fn look(&self) -> DbResult<Found> {
        // Rows around what is seen: a row that was written meanwhile says nothing, and a name that either look knows is known.
        let before = possessions::all(&self.db).await?;
        let seen = self.see().await;
        let after = possessions::all(&self.db).await?;
        Ok(compare(&before, &after, seen))
    }

    async fn see(&self) -> Seen {
        let mut seen = Seen::default();
        // All at once: one that does not answer keeps nobody waiting.
        let servers = self.servers.all();
        for (server, inventory) in servers.iter().zip(join_all(servers.iter().map(inventory)).await) {
            let name = server.address().name.clone();
            match inventory {
                Ok(inventory) => drop(seen.servers.insert(server.address().id, (name, inventory))),
                Err(error) => {
                    tracing::warn!(server = name, error = %error, "the server cannot be compared with the rows");
                    seen.unreachable.push(name);
                }
            }
        }
        match self.directories.list().await {
            Ok(directories) => seen.directories = Some(directories.iter().filter_map(|(path, _)| last_part(path)).collect()),
            Err(error) => {
                tracing::warn!(error = %error, "the instances' root cannot be compared with the rows");
                seen.unreachable.push("the instances' root".to_owned());
            }
        }
        seen
    }
}

async fn inventory(server: &OdooServer) -> OdooResult<Inventory> {
    let look = async { server.admin_connection().await?.inventory().await };
    let unanswered = || OdooError::Unreachable { server: server.address().name.clone(), cause: "no answer in time".to_owned() };
    tokio::time::timeout(TIMEOUT, look).await.unwrap_or_else(|_| Err(unanswered()))
}

fn last_part(path: &Path) -> Option<String> {
    path.file_name()?.to_str().map(str::to_owned)
}

fn compare(before: &[Possession], after: &[Possession], seen: Seen) -> Found {
    let mut found = Found { unreachable: seen.unreachable, ..Found::default() };
    let written_last: HashMap<_, _> = after.iter().map(|row| ((row.instance, &row.database), row)).collect();
    for row in before {
        let settled = written_last.get(&(row.instance, &row.database)).is_some_and(|after| *after == row);
        if row.at_rest && settled && row.phase == Some(Phase::Ready) {
            let inventory = row.server.and_then(|server| seen.servers.get(&server)).map(|(_, inventory)| inventory);
            let faults = inventory.map(|there| faults(row, there)).unwrap_or_default();
            let directory = row.directory.as_deref().and_then(|path| last_part(Path::new(path)));
            let is_lost = |name: String| seen.directories.as_ref().is_some_and(|there| !there.contains(&name));
            let lost = directory.is_some_and(is_lost).then_some("its directory is missing");
            found.wrong.extend(faults.into_iter().chain(lost).map(|what| Wrong { instance_id: row.instance, what }));
        }
    }
    let rows = || before.iter().chain(after);
    for (id, (server, there)) in &seen.servers {
        // A row whose server is not known may have its things on any.
        let here = || rows().filter(|row| row.server.is_none_or(|server| server == *id));
        let databases: BTreeSet<&str> = here().filter_map(|row| row.database.as_deref()).collect();
        let roles: BTreeSet<&str> = here().filter_map(|row| row.role.as_deref()).collect();
        let stray = |kind, name: &String| Stray { kind, server: Some(server.clone()), name: name.clone() };
        let at_work = || here().filter(|row| !row.at_rest);
        let is_made = |of: fn(&Possession) -> Option<&str>, name: &String| {
            at_work().filter_map(of).filter_map(|own| PhysicalName::new(own).ok()).any(|own| is_beside(&own, name))
        };
        let of_databases = there
            .databases
            .keys()
            .filter(|name| !databases.contains(name.as_str()) && !is_made(|row| row.database.as_deref(), name));
        found.strays.extend(of_databases.map(|name| stray("database", name)));
        let of_roles =
            there.roles.keys().filter(|name| !roles.contains(name.as_str()) && !is_made(|row| row.role.as_deref(), name));
        found.strays.extend(of_roles.map(|name| stray("role", name)));
    }
    let directories: BTreeSet<String> = rows().filter_map(|row| last_part(Path::new(row.directory.as_deref()?))).collect();
    let unknown = seen.directories.into_iter().flatten().filter(|name| !directories.contains(name));
    found.strays.extend(unknown.map(|name| Stray { kind: "directory", server: None, name }));
    found
}

/// What of a row at rest is not so on its server.
fn faults(row: &Possession, there: &Inventory) -> Vec<&'static str> {
    let mut faults = Vec::new();
    let database = row.database.as_ref().and_then(|name| there.databases.get(name));
    let role = row.role.as_ref().and_then(|name| there.roles.get(name));
    match database {
        None => faults.push("its database is missing"),
        Some(database) if row.oid.is_some_and(|oid| oid != database.oid) => {
            faults.push("another database stands in the place of its own");
        }
        Some(database) if row.status == Some(Status::Terminated) && database.open => {
            faults.push("its database is open although it is terminated");
        }
        Some(database) if row.status == Some(Status::Running) && !database.open => faults.push("its database is closed"),
        Some(_) => {}
    }
    match role {
        None => faults.push("its role is missing"),
        Some(true) if row.status == Some(Status::Terminated) => faults.push("its role may log in although it is terminated"),
        Some(false) if row.status == Some(Status::Running) => faults.push("its role may not log in"),
        Some(_) => {}
    }
    faults
}

impl Found {
    /// For the report of the loop; long lists are cut, and say how long they were.
    fn report(mut self) -> Value {
        let (wrong, strays) = (self.wrong.len(), self.strays.len());
        self.wrong.truncate(LISTED);
        self.strays.truncate(LISTED);
        json!({
            "wrong_in_all": wrong, "wrong": self.wrong, "strays_in_all": strays, "strays": self.strays,
            "unreachable": self.unreachable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use db::odoo::DatabaseEntry;
    use uuid::Uuid;

    const SERVER: u128 = 7;

    fn server() -> ServerId {
        ServerId::from_uuid(Uuid::from_u128(SERVER))
    }

    fn row(number: u128, status: Status) -> Possession {
        Possession {
            instance: Some(InstanceId::from_uuid(Uuid::from_u128(number))),
            revision: 3,
            at_rest: true,
            phase: Some(Phase::Ready),
            status: Some(status),
            server: Some(server()),
            database: Some(format!("odoo_{number}")),
            oid: Some(10),
            role: Some(format!("odoo_{number}")),
            directory: Some(format!("/srv/odoo_{number}")),
        }
    }

    fn there(entries: &[(u128, u32, bool)]) -> Seen {
        let name = |number: &u128| format!("odoo_{number}");
        let databases =
            entries.iter().map(|(number, oid, open)| (name(number), DatabaseEntry { oid: *oid, open: *open })).collect();
        let roles = entries.iter().map(|(number, _, open)| (name(number), *open)).collect();
        let inventory = Inventory { databases, roles };
        Seen {
            servers: BTreeMap::from([(server(), ("default".to_owned(), inventory))]),
            directories: Some(entries.iter().map(|(number, ..)| name(number)).collect()),
            unreachable: Vec::new(),
        }
    }

    fn wrong(rows: &[Possession], seen: Seen) -> Vec<&'static str> {
        compare(rows, rows, seen).wrong.into_iter().map(|wrong| wrong.what).collect()
    }

    #[test]
    fn what_a_row_says_is_there_or_told() {
        let running = [row(1, Status::Running)];
        assert_eq!(wrong(&running, there(&[(1, 10, true)])), Vec::<&str>::new());
        assert_eq!(wrong(&running, there(&[])), ["its database is missing", "its role is missing", "its directory is missing"]);
        assert_eq!(wrong(&running, there(&[(1, 11, true)])), ["another database stands in the place of its own"]);
        assert_eq!(wrong(&running, there(&[(1, 10, false)])), ["its database is closed", "its role may not log in"]);
        let gone = [row(1, Status::Terminated)];
        assert_eq!(wrong(&gone, there(&[(1, 10, false)])), Vec::<&str>::new());
        let open = ["its database is open although it is terminated", "its role may log in although it is terminated"];
        assert_eq!(wrong(&gone, there(&[(1, 10, true)])), open);
    }

    #[test]
    fn what_is_at_work_or_was_written_meanwhile_says_nothing() {
        let rows = [row(1, Status::Running)];
        let at_work = [Possession { at_rest: false, ..rows[0].clone() }];
        assert!(compare(&at_work, &at_work, there(&[])).wrong.is_empty());
        let written = [Possession { revision: 4, ..rows[0].clone() }];
        assert!(compare(&rows, &written, there(&[])).wrong.is_empty());
        assert!(compare(&rows, &[], there(&[])).wrong.is_empty(), "it is gone since");
        let unseen = Seen { servers: BTreeMap::new(), unreachable: vec!["default".into()], ..there(&[(1, 10, true)]) };
        let found = compare(&rows, &rows, unseen);
        assert_eq!((found.wrong, found.strays, found.unreachable.len()), (vec![], vec![], 1), "unreachable is not absent");
    }

    #[test]
    fn what_no_row_knows_is_told_and_what_either_look_knows_is_not() {
        let rows = [row(1, Status::Running)];
        let found = compare(&rows, &rows, there(&[(1, 10, true), (2, 20, true)]));
        let kinds: Vec<(&str, &str)> = found.strays.iter().map(|stray| (stray.kind, stray.name.as_str())).collect();
        assert_eq!(kinds, [("database", "odoo_2"), ("role", "odoo_2"), ("directory", "odoo_2")]);
        let new = [row(1, Status::Running), row(2, Status::Starting)];
        assert!(compare(&rows, &new, there(&[(1, 10, true), (2, 20, true)])).strays.is_empty(), "made meanwhile");
        assert!(compare(&new, &rows, there(&[(1, 10, true), (2, 20, true)])).strays.is_empty(), "removed meanwhile");
        let elsewhere = [Possession { server: Some(ServerId::from_uuid(Uuid::from_u128(8))), ..row(1, Status::Running) }];
        assert_eq!(
            compare(&elsewhere, &elsewhere, there(&[(1, 10, true)])).strays.len(),
            2,
            "its name on another server is not its"
        );
        let unadopted = [Possession { server: None, phase: None, ..row(1, Status::Running) }];
        assert!(compare(&unadopted, &unadopted, there(&[(1, 10, true)])).strays.is_empty());
    }
}
