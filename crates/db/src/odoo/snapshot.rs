//! A tenant database as it was at one moment, for hours if need be: what a dump, the list of its files and the counts beside it
//! have in common.
//!
//! A tenant owns what is read here and may put a view, a type, a policy or an index of its own in its place, and with them code that
//! runs in our session: the planner carries out functions in the predicate of an index (`eval_const_expressions`). So the session is the
//! tenant's from its login on, with no more rights than that code has anyway. Only plain tables are read, in columns of plain types.

use super::connection::LONG_LIMIT;
use super::error::{OdooError, OdooResult};
use super::quote::ident_text;
use super::server::OdooServer;
use domain::names::PhysicalName;
use futures::stream::{self, Stream, TryStreamExt as _};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use std::collections::BTreeSet;

/// Rows of the list of files that are held in memory at a time.
const BATCH: usize = 5_000;

/// The session waits for a dump in the middle of its transaction: nothing of the server may end it meanwhile, whatever its tenant
/// set for its database. Values are read in one form, whatever it set for that.
const PATIENT: [(&str, &str); 8] = [
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("lock_timeout", "20s"),
    ("row_security", "off"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("tcp_keepalives_idle", "30"),
    ("client_connection_check_interval", "1s"),
];

/// What Odoo writes: the first two digits of a SHA-1, and the SHA-1. A tenant can write anything.
const USABLE: &str = r#"length(store_fname) = 43 AND store_fname COLLATE "C" ~ '^[0-9a-f]{2}/[0-9a-f]{40}$'
                     AND left(store_fname, 2) COLLATE "C" = substr(store_fname, 4, 2)"#;

/// A read-only session inside a tenant database that sees one moment. Dropped, it is closed, and nobody can take its snapshot any
/// more.
#[derive(Debug)]
pub struct Snapshot {
    server: OdooServer,
    database: PhysicalName,
    conn: PgConnection,
}

/// A file of the filestore that an attachment names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// SHA-1 of its content in 40 hexadecimal digits. It lies at `<first two>/<sha1>`.
    pub sha1: String,
    /// Its length in bytes as Odoo recorded it; `None` where it recorded none.
    pub size: Option<u64>,
}

impl OdooServer {
    /// Logs in to a tenant database as its owner, and takes a snapshot. The moment is now.
    ///
    /// # Errors
    /// As [`Self::instance_connection`]; [`OdooError::Refused`] for a wrong password and a role that may not log in.
    pub async fn snapshot(&self, database: &PhysicalName, owner: &PhysicalName, password: &SecretString) -> OdooResult<Snapshot> {
        let options = self.options().application_name("ois").database(database.as_str()).options(PATIENT);
        let conn = self.enter(options.username(owner.as_str()).password(password.expose_secret())).await?;
        let mut snapshot = Snapshot { server: self.clone(), database: database.clone(), conn };
        let (server, conn) = snapshot.parts();
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1";
        server.answer_inside(conn.execute(sqlx::raw_sql(begin))).await?;
        Ok(snapshot)
    }
}

impl Snapshot {
    /// The database.
    pub const fn database(&self) -> &PhysicalName {
        &self.database
    }

    /// The name under which `pg_dump --snapshot` and other sessions see the same, for as long as this session lives.
    ///
    /// # Errors
    /// Any [`OdooError`].
    pub async fn export(&mut self) -> OdooResult<String> {
        let (server, conn) = self.parts();
        server.answer_inside(sqlx::query_scalar("SELECT pg_export_snapshot()").fetch_one(conn)).await
    }

    /// Whether Odoo keeps its attachments in the database: then an empty filestore is right.
    ///
    /// # Errors
    /// [`OdooError::Unfit`] where the table is not what Odoo makes.
    pub async fn is_in_database(&mut self) -> OdooResult<bool> {
        Ok(self.parameter("ir_attachment.location").await?.as_deref() == Some("db"))
    }

    /// Every file that an attachment names, once, in the order of the names' bytes; in batches, so in little memory. Ends at once
    /// where there is no table of attachments. Names that no file of Odoo's can have are left out, see
    /// [`Self::unusable_attachments`].
    pub fn attachments(&mut self) -> impl Stream<Item = OdooResult<StoredFile>> + Send + '_ {
        let batches = stream::try_unfold((self, false), |(snapshot, is_open)| async move {
            if !is_open && !snapshot.open_list().await? {
                return Ok(None);
            }
            let batch = snapshot.next_batch().await?;
            Ok((!batch.is_empty()).then_some((batch, (snapshot, true))))
        });
        batches.map_ok(|batch| stream::iter(batch.into_iter().map(Ok))).try_flatten()
    }

    /// How many attachments name a file that Odoo itself could not find: a tenant wrote something else there. They are no reason
    /// to have no backup, and nothing is read for them.
    ///
    /// # Errors
    /// Any [`OdooError`].
    pub async fn unusable_attachments(&mut self) -> OdooResult<u64> {
        if !self.has_attachments().await? {
            return Ok(0);
        }
        let count = format!("SELECT count(*) FROM public.ir_attachment WHERE store_fname <> '' AND NOT ({USABLE})");
        self.count(count).await
    }

    async fn has_attachments(&mut self) -> OdooResult<bool> {
        self.holds("ir_attachment", &["store_fname", "file_size"]).await
    }

    async fn open_list(&mut self) -> OdooResult<bool> {
        if !self.has_attachments().await? {
            return Ok(false);
        }
        let declare = format!(
            r#"CLOSE ALL; DECLARE files NO SCROLL CURSOR FOR
               SELECT right(store_fname, 40), max(file_size)::bigint FROM public.ir_attachment WHERE {USABLE}
                GROUP BY store_fname ORDER BY store_fname COLLATE "C""#
        );
        let (server, conn) = self.parts();
        server.answer_inside(conn.execute(sqlx::raw_sql(AssertSqlSafe(declare)))).await?;
        Ok(true)
    }

    async fn next_batch(&mut self) -> OdooResult<Vec<StoredFile>> {
        let fetch = format!("FETCH {BATCH} FROM files");
        let (server, conn) = self.parts();
        let rows = sqlx::query_as(AssertSqlSafe(fetch)).fetch_all(conn);
        let rows: Vec<(String, Option<i64>)> = server.answer_inside_in(LONG_LIMIT, rows).await?;
        let file =
            |(sha1, size): (String, Option<i64>)| StoredFile { sha1, size: size.and_then(|size| u64::try_from(size).ok()) };
        Ok(rows.into_iter().map(file).collect())
    }

    /// The value of one of Odoo's system parameters.
    pub(super) async fn parameter(&mut self, key: &str) -> OdooResult<Option<String>> {
        if !self.holds("ir_config_parameter", &["key", "value"]).await? {
            return Ok(None);
        }
        let (server, conn) = self.parts();
        let value = sqlx::query_scalar("SELECT left(value, 1000) FROM public.ir_config_parameter WHERE key = $1");
        Ok(server.answer_inside(value.bind(key).fetch_optional(conn)).await?.flatten())
    }

    /// A count that may take long. Only for text that [`super::quote`] has had its hands on.
    pub(super) async fn count(&mut self, sql: String) -> OdooResult<u64> {
        let (server, conn) = self.parts();
        let count = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(conn);
        let count: i64 = server.answer_inside_in(LONG_LIMIT, count).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Whether schema `public` has a table of this name, with these columns. From then on nobody can put anything else in its
    /// place while this session lives.
    ///
    /// # Errors
    /// [`OdooError::Unfit`] for anything but a plain table, and where a column is missing or of a type of the tenant's own.
    pub(super) async fn holds(&mut self, table: &str, columns: &[&str]) -> OdooResult<bool> {
        let name = format!("public.{}", ident_text(table));
        let (server, conn) = self.parts();
        let exists = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(&name);
        if !server.answer_inside(exists.fetch_one(&mut *conn)).await? {
            return Ok(false);
        }
        let lock = format!("LOCK TABLE ONLY {name} IN ACCESS SHARE MODE");
        server.answer_inside(conn.execute(sqlx::raw_sql(AssertSqlSafe(lock)))).await?;
        let plain = sqlx::query_scalar(
            "SELECT a.attname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
              WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity AND NOT a.attisdropped
                AND a.atttypid IN ('text'::regtype, 'varchar'::regtype, 'int4'::regtype, 'int8'::regtype, 'bool'::regtype)",
        );
        let plain: BTreeSet<String> = server.answer_inside(plain.bind(&name).fetch_all(conn)).await?.into_iter().collect();
        if !plain.is_empty() && columns.iter().all(|column| plain.contains(*column)) {
            return Ok(true);
        }
        Err(OdooError::Unfit { what: format!("table {table}"), faults: vec!["it is not the one that Odoo makes".to_owned()] })
    }

    pub(super) const fn parts(&mut self) -> (&OdooServer, &mut PgConnection) {
        (&self.server, &mut self.conn)
    }
}
