//! Whether a plain dump was written to its end. One that broke off where a statement ends would load as if it were all.

/// How `pg_dump` ends a plain dump; newer ones write `\unrestrict` after it (PostgreSQL, `pg_backup_archiver.c`).
pub(crate) const LAST: &str = "-- PostgreSQL database dump complete";
/// The last line is looked for in so many bytes.
const TAIL: usize = 4096;

/// Remembers the end of a dump that is read.
#[derive(Debug, Default)]
pub struct DumpEnd(Vec<u8>);

impl DumpEnd {
    /// What comes next.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        self.0.drain(..self.0.len().saturating_sub(TAIL));
    }

    /// Whether what has come is a dump with its last line.
    pub fn is_there(&self) -> bool {
        String::from_utf8_lossy(&self.0).lines().any(|line| line.starts_with(LAST))
    }
}
