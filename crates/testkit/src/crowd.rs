//! A postgres1 as full as a large deployment's, and the plans of the statements that run on it.

use crate::pair::PLATFORM_DATABASE;
use crate::server::Server;
use crate::statements::Entry;
use anyhow::Result;

/// Fills a migrated postgres1 with so many instances, their operations and what else grows with them; the statistics are fresh.
/// The text `instance n` hashed with md5 is the id of the nth instance; `customer 0` owns 500 of them, `customer 1` to `customer 200` own 20.
///
/// # Errors
/// With the server's message.
pub fn fill(server: &Server, rows: u32) -> Result<()> {
    server.psql_with(PLATFORM_DATABASE, &[("rows", &rows.to_string())], include_str!("crowd.sql")).map(drop)
}

/// Settings of a server that logs the plan of every statement.
pub fn plan_settings() -> Vec<(String, String)> {
    let settings = [("session_preload_libraries", "auto_explain"), ("auto_explain.log_min_duration", "0")];
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// How the server carried out one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The statement.
    pub sql: String,
    /// Its plan, as EXPLAIN shows it.
    pub nodes: String,
}

impl Plan {
    /// The plan in a log entry, if it holds one.
    pub fn of(entry: &Entry) -> Option<Self> {
        let (head, rest) = entry.text.split_once("Query Text: ")?;
        if !head.contains("plan:") {
            return None;
        }
        // The plan begins with the first line that tells a cost.
        let cost = rest.find("  (cost=")?;
        let begin = rest[..cost].rfind('\n')?;
        Some(Self { sql: rest[..begin].to_owned(), nodes: rest[begin + 1..].to_owned() })
    }

    /// The tables that it reads from end to end.
    pub fn scanned(&self) -> Vec<&str> {
        self.nodes.lines().filter_map(|line| line.split_once("Seq Scan on ")?.1.split_whitespace().next()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statements::entries;

    #[test]
    fn a_plan_is_read_with_its_statement() {
        let log = "2026-01-02 03:04:05.678 UTC|17|api|s|d|LOG:  duration: 0.1 ms  plan:\n\tQuery Text: SELECT id\n\t  FROM t\n\tLimit  (cost=0.00..1.00 rows=1 width=4)\n\t  ->  Parallel Seq Scan on t x  (cost=0.00..1.00 rows=1 width=4)\n";
        let plan = Plan::of(&entries(log)[0]).unwrap();
        assert_eq!(plan.sql, "SELECT id\n  FROM t");
        assert_eq!(plan.scanned(), ["t"]);
    }
}
