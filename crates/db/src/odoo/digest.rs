//! What is in all tables of a database, short enough to compare: proof that a copy, a restore or a way back lost nothing.

use super::connection::{LONG_LIMIT, within};
use super::error::OdooResult;
use super::quote::ident_text;
use super::snapshot::Snapshot;
use sqlx::AssertSqlSafe;
use std::collections::{BTreeMap, BTreeSet};

/// Per table, as `schema.table`: its rows, and a sum over them in which their order does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataDigest(BTreeMap<String, (i64, String)>);

impl DataDigest {
    /// The tables that are not the same in both.
    pub fn differences(&self, other: &Self) -> BTreeSet<String> {
        let tables = self.0.keys().chain(other.0.keys());
        tables.filter(|table| self.0.get(*table) != other.0.get(*table)).cloned().collect()
    }

    /// Number of tables.
    pub fn tables(&self) -> usize {
        self.0.len()
    }

    /// Rows of all tables together.
    pub fn rows(&self) -> i64 {
        self.0.values().map(|(rows, _)| rows).sum()
    }
}

impl Snapshot {
    /// Reads all tables but those of extensions. It costs a full read of the database.
    ///
    /// # Errors
    /// Any [`super::OdooError`].
    pub async fn data_digest(&mut self) -> OdooResult<DataDigest> {
        let (server, conn) = self.parts();
        let tables = sqlx::query_as(
            r"SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
                 AND NOT EXISTS (SELECT FROM pg_depend d
                                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')",
        );
        let tables: Vec<(String, String)> = server.answer(tables.fetch_all(&mut *conn)).await?;
        let mut digest = DataDigest::default();
        for (schema, table) in tables {
            // ROW(...) has no cast but the server's own: a tenant could have made one for the table's own type.
            let sum = format!(
                "SELECT count(*), coalesce(sum(hashtextextended(ROW(t.*)::text COLLATE \"C\", 0)::numeric), 0)::text FROM ONLY {}.{} t",
                ident_text(&schema),
                ident_text(&table)
            );
            let sum = sqlx::query_as(AssertSqlSafe(sum)).fetch_one(&mut *conn);
            digest.0.insert(format!("{schema}.{table}"), within(server, LONG_LIMIT, sum).await?);
        }
        Ok(digest)
    }
}
