//! Tenant databases: cloning, closing, dropping, and whose a database is.

use super::beside::is_beside;
use super::connection::AdminConnection;
use super::error::{OdooError, OdooResult};
use super::fence::Fence;
use super::quote::{ident, literal};
use super::roles::RoleState;
use crate::mutation::{Mutation, is_on};
use domain::names::{Mark, PhysicalName};
use std::time::{Duration, Instant};

/// `datconnlimit` of a database whose drop was interrupted: it can only be dropped (engine 12).
const INVALID: i32 = -2;

/// How often a closing is tried again that a session of the tenant held up.
const CLOSING_TRIES: u32 = 3;
/// How long closing waits for sessions to end.
const SESSIONS_GRACE: Duration = Duration::from_secs(5);
/// A login that passed its checks just before they changed shows as a session a moment later: the database counts as left
/// when it was seen empty twice, so far apart.
const LATE_LOGIN: Duration = Duration::from_millis(50);

/// How long a drop waits for sessions that are not ours to end.
const OTHERS_GRACE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// What the catalogue says of a database.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct DatabaseFacts {
    /// Its OID; a database of the same name made later has another.
    #[sqlx(try_from = "i64")]
    pub oid: u32,
    /// Name of the role that owns it.
    pub owner: String,
    /// Sessions may be opened.
    pub allows_connections: bool,
    /// `datconnlimit`; -2 marks an interrupted drop.
    pub connection_limit: i32,
    /// Marked as a template.
    pub is_template: bool,
    /// Its comment is the mark of whoever asks. A tenant may change the comment of its database, so the text itself is never
    /// fetched, and its absence proves nothing.
    pub labelled: bool,
}

impl DatabaseFacts {
    /// What an interrupted drop leaves: neither connecting nor cloning works.
    pub const fn is_invalid(&self) -> bool {
        self.connection_limit == INVALID
    }

    fn is_as(&self, recorded: Recorded<'_>) -> bool {
        recorded.oid == Some(self.oid) && self.owner == recorded.owner.as_str()
    }
}

/// A database, seen from the owner of a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseState {
    /// There is none.
    Absent,
    /// Ours and whole.
    Ours(DatabaseFacts),
    /// Ours, but made or dropped only half: not labelled and opened yet, or an interrupted drop.
    Half(DatabaseFacts),
    /// Somebody else's.
    Foreign(DatabaseFacts),
}

/// What the platform row recorded of a database.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// Its OID, if the step that made it got as far as recording it.
    pub oid: Option<u32>,
    /// The role that owns it.
    pub owner: &'a PhysicalName,
}

impl AdminConnection {
    /// What the catalogue says of this database; `None` if there is none.
    ///
    /// # Errors
    /// Any [`OdooError`]: a server that cannot be asked says nothing.
    pub async fn database(&mut self, name: &PhysicalName, mark: &Mark) -> OdooResult<Option<DatabaseFacts>> {
        let (server, conn) = self.parts();
        let facts = sqlx::query_as(
            "SELECT oid::bigint AS oid, pg_get_userbyid(datdba)::text AS owner, datallowconn AS allows_connections,
                    datconnlimit AS connection_limit, datistemplate AS is_template,
                    shobj_description(oid, 'pg_database') IS NOT DISTINCT FROM $2 AS labelled
               FROM pg_database WHERE datname = $1",
        );
        server.answer(facts.bind(name.as_str()).bind(mark.as_str()).fetch_optional(conn)).await
    }

    /// The database as `mark`'s owner sees it. Once its OID is recorded, OID and owner tell, with the mark of the owner's
    /// role, which no tenant can change. Before that, its label does; and without one it is ours only while still closed and
    /// owned by such a role: that is what a clone leaves which was interrupted before its label.
    ///
    /// # Errors
    /// As [`Self::database`].
    pub async fn database_state(
        &mut self,
        name: &PhysicalName,
        recorded: Recorded<'_>,
        mark: &Mark,
    ) -> OdooResult<DatabaseState> {
        let Some(facts) = self.database(name, mark).await? else { return Ok(DatabaseState::Absent) };
        let known = facts.is_as(recorded);
        let unlabelled = !facts.labelled && !facts.allows_connections && facts.owner == recorded.owner.as_str();
        let ours =
            facts.labelled || ((known || unlabelled) && matches!(self.role(recorded.owner, mark).await?, RoleState::Ours(_)));
        Ok(match facts {
            facts if !ours => DatabaseState::Foreign(facts),
            facts if facts.is_invalid() || !(facts.labelled || known) => DatabaseState::Half(facts),
            facts => DatabaseState::Ours(facts),
        })
    }

    /// What `DROP DATABASE ... WITH (FORCE)` would fail on, by name.
    pub(super) async fn drop_blockers(&mut self, name: &PhysicalName) -> OdooResult<Vec<String>> {
        let (server, conn) = self.parts();
        let blockers = sqlx::query_scalar(
            "SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts WHERE database = $1
             UNION ALL SELECT 'replication slot ' || slot_name FROM pg_replication_slots WHERE database = $1
             UNION ALL SELECT 'subscription ' || s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = $1",
        );
        server.answer(blockers.bind(name.as_str()).fetch_all(conn)).await
    }

    /// Ends all sessions in the database, and those of its role elsewhere (Odoo keeps one in the maintenance database).
    /// Sessions of roles beyond ours, a superuser's for one, are not ours to end.
    async fn end_sessions(&mut self, name: &PhysicalName, role: &PhysicalName) -> OdooResult<()> {
        let start = Instant::now();
        let mut empty = false;
        loop {
            let left = self.signal_sessions(name, role).await?;
            if left == 0 && empty {
                return Ok(());
            }
            if start.elapsed() > SESSIONS_GRACE {
                return Err(OdooError::Busy { holder: format!("{left} sessions in database {name} that do not end") });
            }
            empty = left == 0;
            tokio::time::sleep(LATE_LOGIN).await;
        }
    }

    /// Tells all of them to end, and waits for none. Returns how many there are.
    async fn signal_sessions(&mut self, name: &PhysicalName, role: &PhysicalName) -> OdooResult<i64> {
        let (server, conn) = self.parts();
        let sessions = sqlx::query_scalar(
            "SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a
              WHERE (a.datname = $1 OR a.usename = $2 OR $3) AND a.pid <> pg_backend_pid() AND pg_has_role(a.usesysid, 'USAGE')",
        );
        let sessions = sessions.bind(name.as_str()).bind(role.as_str()).bind(is_on(Mutation::CutEverybody));
        server.answer(sessions.fetch_one(conn)).await
    }

    /// Drops it and ends the sessions in it. FORCE is refused (42501) while the server vacuums the database by itself, since only a
    /// superuser may end that; the plain statement ends a vacuum, and nothing else (PostgreSQL source, `TerminateOtherDBBackends`
    /// and `CountOtherDBBackends`).
    async fn drop_now(&mut self, name: &PhysicalName) -> OdooResult<()> {
        let plain = format!("DROP DATABASE IF EXISTS {}", ident(name));
        match self.run_on_files(format!("{plain} WITH (FORCE)")).await {
            Err(OdooError::Refused { .. }) => match self.run_on_files(plain).await {
                // 55006: somebody has come in meanwhile.
                Err(error) if error.sqlstate().as_deref() == Some("55006") => Err(OdooError::Busy { holder: error.to_string() }),
                other => other,
            },
            other => other,
        }
    }

    /// Waits a moment for sessions that are not ours to end, such as an operator's, and on which a drop would fail.
    async fn wait_for_others(&mut self, name: &PhysicalName) -> OdooResult<()> {
        let start = Instant::now();
        loop {
            let (server, conn) = self.parts();
            let others = "SELECT usename::text FROM pg_stat_activity WHERE datname = $1 AND NOT pg_has_role(usesysid, 'USAGE')";
            let others: Vec<String> = server.answer(sqlx::query_scalar(others).bind(name.as_str()).fetch_all(conn)).await?;
            if others.is_empty() {
                return Ok(());
            }
            if start.elapsed() > OTHERS_GRACE {
                return Err(OdooError::Busy { holder: format!("sessions of {} in database {name}", others.join(", ")) });
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Fence {
    /// Clones `template` for `owner`, closed; revokes everything from PUBLIC, labels it and only then opens it. Takes up
    /// what an interrupted attempt of ours left. Returns the OID.
    ///
    /// # Errors
    /// [`OdooError::Foreign`] for somebody else's database of that name; [`OdooError::TemplateUnusable`].
    pub async fn clone_database(
        &mut self,
        name: &PhysicalName,
        template: &PhysicalName,
        owner: &PhysicalName,
    ) -> OdooResult<u32> {
        let create = format!(
            "CREATE DATABASE {} TEMPLATE {} OWNER {} ALLOW_CONNECTIONS false",
            ident(name),
            ident(template),
            ident(owner)
        );
        self.make_database(name, owner, create).await.map_err(|error| about_template(error, template))
    }

    /// The same from `template0`, empty: UTF8 with collation C, as Odoo makes its own.
    ///
    /// # Errors
    /// [`OdooError::Foreign`] for somebody else's database of that name.
    pub async fn create_empty_database(&mut self, name: &PhysicalName, owner: &PhysicalName) -> OdooResult<u32> {
        let create = format!(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' OWNER {} ALLOW_CONNECTIONS false",
            ident(name),
            ident(owner)
        );
        self.make_database(name, owner, create).await
    }

    async fn make_database(&mut self, name: &PhysicalName, owner: &PhysicalName, create: String) -> OdooResult<u32> {
        match self.state(name, Recorded { oid: None, owner }).await? {
            DatabaseState::Ours(facts) => return Ok(facts.oid),
            DatabaseState::Half(facts) if !facts.is_invalid() => return self.label_and_open(name).await,
            DatabaseState::Half(_) => self.catalogue().drop_now(name).await?,
            DatabaseState::Foreign(_) => return Err(foreign(name)),
            DatabaseState::Absent => {}
        }
        let place = self.take_place().await?;
        match self.catalogue().run_on_files(create).await {
            // 23505 on the catalogue's index or 42P04: somebody was quicker, and nobody but us holds this fence.
            Err(error) if error.is_duplicate() => return Err(foreign(name)),
            other => other?,
        }
        self.free_place(place).await?;
        self.label_and_open(name).await
    }

    /// One transaction. A clone does not inherit the template's revokes.
    pub(super) async fn label_and_open(&mut self, name: &PhysicalName) -> OdooResult<u32> {
        let revoke = if is_on(Mutation::SkipRevoke) {
            String::new()
        } else {
            format!("REVOKE ALL ON DATABASE {} FROM PUBLIC; ", ident(name))
        };
        let statements = format!(
            "{revoke}COMMENT ON DATABASE {name} IS {mark}; ALTER DATABASE {name} ALLOW_CONNECTIONS true",
            name = ident(name),
            mark = literal(self.mark().as_str())
        );
        self.catalogue().run(statements).await?;
        match self.facts(name).await? {
            Some(facts) => Ok(facts.oid),
            None => Err(OdooError::Missing { what: format!("database {name}") }),
        }
    }

    /// Closes all access for good, in the order that leaves no gap: the role may not log in, whatever the database looks
    /// like; the database takes no connections; the sessions are ended (engine 12). What is absent is closed.
    ///
    /// # Errors
    /// [`OdooError::Mismatch`] when role or database is not ours.
    pub async fn close_database(&mut self, name: &PhysicalName, recorded: Recorded<'_>) -> OdooResult<()> {
        let mut tries = 0;
        loop {
            match self.forbid_login(recorded.owner).await {
                // 55P03: a session of the tenant's holds the role, and may do so for ever.
                Err(error) if tries < CLOSING_TRIES && error.sqlstate().as_deref() == Some("55P03") => {
                    self.catalogue().signal_sessions(name, recorded.owner).await?;
                    tries += 1;
                }
                other => break other?,
            }
        }
        self.shut_database(name, recorded).await
    }

    /// The same but for the role, which may still log in elsewhere: a copy of the database can be made, and Odoo can work on
    /// that. The tenant owns the database and could open it again.
    ///
    /// # Errors
    /// [`OdooError::Mismatch`] when the database is not ours.
    pub async fn shut_database(&mut self, name: &PhysicalName, recorded: Recorded<'_>) -> OdooResult<()> {
        match self.state(name, recorded).await? {
            DatabaseState::Foreign(facts) => return Err(self.not_ours(name, &facts)),
            DatabaseState::Ours(facts) if facts.allows_connections => {
                let shut = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", ident(name));
                let mut tries = 0;
                loop {
                    match self.catalogue().run(shut.clone()).await {
                        Err(error) if tries < CLOSING_TRIES && error.sqlstate().as_deref() == Some("55P03") => {
                            self.catalogue().signal_sessions(name, recorded.owner).await?;
                            tries += 1;
                        }
                        other => break other?,
                    }
                }
            }
            DatabaseState::Absent | DatabaseState::Ours(_) | DatabaseState::Half(_) => {}
        }
        self.catalogue().end_sessions(name, recorded.owner).await
    }

    /// Opens what [`Self::close_database`] closed: the database takes connections and its role may log in. Both must be there as
    /// recorded; nothing is made.
    ///
    /// # Errors
    /// [`OdooError::Missing`] when role or database is absent or only half there; [`OdooError::Mismatch`] when one is not ours.
    pub async fn open_database(&mut self, name: &PhysicalName, recorded: Recorded<'_>) -> OdooResult<()> {
        self.let_in(name, recorded).await?;
        self.allow_login(recorded.owner).await
    }

    /// The same but for the role: if that may not log in, only we get in, for a last backup.
    ///
    /// # Errors
    /// As [`Self::open_database`].
    pub async fn let_in(&mut self, name: &PhysicalName, recorded: Recorded<'_>) -> OdooResult<()> {
        self.verify_database(name, recorded).await?;
        let facts = match self.state(name, recorded).await? {
            DatabaseState::Ours(facts) => facts,
            DatabaseState::Foreign(facts) => return Err(self.not_ours(name, &facts)),
            DatabaseState::Absent | DatabaseState::Half(_) => {
                return Err(OdooError::Missing { what: format!("database {name}") });
            }
        };
        if !facts.allows_connections {
            self.catalogue().run(format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", ident(name))).await?;
        }
        Ok(())
    }

    /// The databases of this instance beside `live`: they are its tenant's, which can make none by itself, and have a name that is
    /// made from the live one's.
    pub async fn databases_beside(&mut self, live: &PhysicalName, owner: &PhysicalName) -> OdooResult<Vec<PhysicalName>> {
        let (server, conn) = self.catalogue().parts();
        let rows = sqlx::query_scalar::<_, String>(
            "SELECT d.datname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE r.rolname = $1 ORDER BY 1",
        );
        let names = server.answer(rows.bind(owner.as_str()).fetch_all(conn)).await?.into_iter();
        Ok(names.filter(|name| is_beside(live, name)).filter_map(|name| PhysicalName::new(name).ok()).collect())
    }

    /// Drops a database beside `live`, whether or not it carries our mark still: its owner can take that away. Absent is done.
    ///
    /// # Errors
    /// [`OdooError::Mismatch`] for one that is not the tenant's, has another kind of name, or serves; else as [`Self::drop_database`].
    pub async fn drop_beside(
        &mut self,
        live: &PhysicalName,
        serves: Option<u32>,
        name: &PhysicalName,
        owner: &PhysicalName,
    ) -> OdooResult<()> {
        let Some(facts) = self.facts(name).await? else { return Ok(()) };
        if !is_beside(live, name.as_str()) || facts.owner != owner.as_str() || Some(facts.oid) == serves {
            return Err(self.not_ours(name, &facts));
        }
        if !facts.labelled && !facts.is_invalid() {
            let label = format!("COMMENT ON DATABASE {} IS {}", ident(name), literal(self.mark().as_str()));
            self.catalogue().run(label).await?;
        }
        self.drop_database(name, Recorded { oid: Some(facts.oid), owner }).await
    }

    /// Drops the database after comparing it with what was recorded, whoever is connected. Absent is done.
    ///
    /// # Errors
    /// [`OdooError::Mismatch`] when OID, owner or mark differ; [`OdooError::Blocked`] with what stands in the way, by name.
    pub async fn drop_database(&mut self, name: &PhysicalName, recorded: Recorded<'_>) -> OdooResult<()> {
        self.verify_database(name, recorded).await?;
        let Some(facts) = self.facts(name).await? else { return Ok(()) };
        let holders = self.catalogue().drop_blockers(name).await?;
        if !holders.is_empty() {
            return Err(OdooError::Blocked { what: format!("database {name}"), holders });
        }
        if facts.is_template && !facts.is_invalid() {
            self.catalogue().run(format!("ALTER DATABASE {} IS_TEMPLATE false", ident(name))).await?;
        }
        self.catalogue().wait_for_others(name).await?;
        self.catalogue().drop_now(name).await
    }

    /// Compares the database with what the row recorded. Absent passes: there is nothing to protect.
    ///
    /// # Errors
    /// [`OdooError::Mismatch`].
    pub async fn verify_database(&mut self, name: &PhysicalName, recorded: Recorded<'_>) -> OdooResult<()> {
        let facts = match self.state(name, recorded).await? {
            DatabaseState::Absent => return Ok(()),
            DatabaseState::Foreign(facts) => return Err(self.not_ours(name, &facts)),
            DatabaseState::Ours(facts) | DatabaseState::Half(facts) => facts,
        };
        if recorded.oid.is_some_and(|oid| oid != facts.oid) || facts.owner != recorded.owner.as_str() {
            let oid = recorded.oid.map_or_else(|| "any".to_owned(), |oid| oid.to_string());
            return Err(mismatch(name, &format!("OID {oid} of {}", recorded.owner), &facts));
        }
        Ok(())
    }

    pub(super) async fn facts(&mut self, name: &PhysicalName) -> OdooResult<Option<DatabaseFacts>> {
        let mark = self.mark().clone();
        self.catalogue().database(name, &mark).await
    }

    pub(super) async fn state(&mut self, name: &PhysicalName, recorded: Recorded<'_>) -> OdooResult<DatabaseState> {
        let mark = self.mark().clone();
        self.catalogue().database_state(name, recorded, &mark).await
    }

    pub(super) fn not_ours(&self, name: &PhysicalName, facts: &DatabaseFacts) -> OdooError {
        mismatch(name, &format!("mark {}", self.mark()), facts)
    }
}

pub(super) fn foreign(name: &PhysicalName) -> OdooError {
    OdooError::Foreign { what: format!("database {name}") }
}

fn mismatch(name: &PhysicalName, expected: &str, facts: &DatabaseFacts) -> OdooError {
    OdooError::Mismatch {
        what: format!("database {name}"),
        expected: expected.to_owned(),
        found: format!(
            "OID {} of {}, {}",
            facts.oid,
            facts.owner,
            if facts.labelled { "with our label" } else { "without our label" }
        ),
    }
}

/// 3D000: no such template; 55000: it is invalid.
fn about_template(error: OdooError, template: &PhysicalName) -> OdooError {
    match error.sqlstate().as_deref() {
        Some("3D000" | "55000") => OdooError::TemplateUnusable { template: template.to_string(), cause: error.to_string() },
        _ => error,
    }
}
