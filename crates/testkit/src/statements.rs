//! Reads a server's log: which application, role and database sent which statement.

/// One entry of a server's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was written, as `2026-01-02 03:04:05.678` in the server's `log_timezone`. Such texts compare as times do.
    pub time: String,
    /// Process id of the backend.
    pub pid: u32,
    /// `application_name`; empty for the server's own processes.
    pub application: String,
    /// Role; empty for the server's own processes.
    pub user: String,
    /// Database; empty for the server's own processes.
    pub database: String,
    /// Level and text, several lines joined by newline.
    pub text: String,
}

impl Entry {
    /// The SQL, if this entry is a logged statement (simple or extended protocol).
    pub fn statement(&self) -> Option<&str> {
        let text = self.text.strip_prefix("LOG:  ")?;
        let (kind, sql) = text.split_once(": ")?;
        (kind == "statement" || kind.starts_with("execute ")).then_some(sql)
    }
}

/// The entries of a log written with the prefix that `Server` sets.
pub fn entries(log: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in log.lines() {
        match (head(line), entries.last_mut()) {
            (Some(entry), _) => entries.push(entry),
            (None, Some(last)) => {
                last.text.push('\n');
                last.text.push_str(line.strip_prefix('\t').unwrap_or(line));
            }
            (None, None) => {}
        }
    }
    entries
}

fn head(line: &str) -> Option<Entry> {
    let mut fields = line.splitn(6, '|');
    let (time, pid) = (fields.next()?, fields.next()?.parse().ok()?);
    let mut word = || fields.next().map(str::to_owned);
    let (application, user, database, text) = (word()?, word()?, word()?, word()?);
    let (time, _zone) = time.rsplit_once(' ')?;
    let time = time.to_owned();
    time.starts_with(|c: char| c.is_ascii_digit()).then_some(Entry { time, pid, application, user, database, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_read_with_their_sender() {
        let log = "2026-01-02 03:04:05.678 UTC|17|api|instance_service|instance|LOG:  execute sqlx_s_1: SELECT 1\n\tFROM t\n\
                   2026-01-02 03:04:05.678 UTC|18||||LOG:  checkpoint starting: time\n";
        let entries = entries(log);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].statement(), Some("SELECT 1\nFROM t"));
        assert_eq!((entries[0].application.as_str(), entries[0].user.as_str()), ("api", "instance_service"));
        assert_eq!(entries[0].time, "2026-01-02 03:04:05.678");
        assert_eq!(entries[1].statement(), None);
    }
}
