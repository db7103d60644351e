//! A plain dump in a file.

use crate::digest::Summing;
use crate::dump_end::DumpEnd;
use crate::error::{BackupError, BackupResult};
use crate::foreign_sql::Filter;
use domain::backup::legacy::Sum;
use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

const BUFFER: usize = 256 * 1024;
/// What stands at the head of a dump is looked for in so many bytes.
const HEAD: usize = 4096;
/// What it writes of the server.
const SERVER: &str = "-- Dumped from database version ";

/// What a dump is seen to be.
pub(super) struct Looked {
    pub(super) sum: Sum,
    /// It has its last line.
    pub(super) is_whole: bool,
    pub(super) postgres_version: Option<u32>,
}

/// Reads a dump as if it were loaded.
pub(super) fn look(file: File) -> BackupResult<Looked> {
    let (mut filter, mut rewritten) = (Filter::default(), Vec::new());
    let (mut head, mut end) = (Vec::new(), DumpEnd::default());
    let sum = each(file, |bytes| {
        head.extend_from_slice(&bytes[..bytes.len().min(HEAD - head.len())]);
        end.add(bytes);
        filter.push(bytes, &mut rewritten)?;
        rewritten.clear();
        Ok(())
    })?;
    filter.end()?;
    let head = String::from_utf8_lossy(&head);
    let version = head.lines().find_map(|line| line.strip_prefix(SERVER));
    let postgres_version = version.and_then(|version| version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    Ok(Looked { sum, is_whole: end.is_there(), postgres_version })
}

/// The sum of a file.
pub(super) fn sum(file: File) -> BackupResult<Sum> {
    each(file, |_| Ok(()))
}

fn each(mut file: File, mut work: impl FnMut(&[u8]) -> BackupResult<()>) -> BackupResult<Sum> {
    let (mut sum, mut bytes, mut buffer) = (Summing::sha256(), 0, vec![0; BUFFER]);
    loop {
        let read = file.read(&mut buffer).map_err(|e| BackupError::local("read a dump", e))?;
        if read == 0 {
            return Ok(Sum { bytes, sha256: sum.hex() });
        }
        bytes += read as u64;
        sum.add(&buffer[..read]);
        work(&buffer[..read])?;
    }
}

/// A dump that is compared with its sum before it ends.
pub(super) struct Compared {
    file: tokio::fs::File,
    name: String,
    expected: Sum,
    bytes: u64,
    sum: Option<Summing>,
}

impl Compared {
    pub(super) fn new(file: File, name: String, expected: Sum) -> Self {
        Self { file: tokio::fs::File::from_std(file), name, expected, bytes: 0, sum: Some(Summing::sha256()) }
    }
}

impl AsyncRead for Compared {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.file).poll_read(cx, into))?;
        let read = &into.filled()[before..];
        self.bytes += read.len() as u64;
        if !read.is_empty() {
            if let Some(sum) = &mut self.sum {
                sum.add(read);
            }
            return Poll::Ready(Ok(()));
        }
        let found = self.sum.take().map(|sum| Sum { bytes: self.bytes, sha256: sum.hex() });
        if found.is_some_and(|found| found != self.expected) {
            let changed = BackupError::damaged(self.name.as_str(), "it is not what was entered into the catalogue");
            return Poll::Ready(Err(changed.into_io()));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump_end::LAST as END;
    use std::io::{Seek, Write};
    use tokio::io::AsyncReadExt;

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn a_dump_is_known_by_its_ends() {
        let whole = format!("--\n{SERVER}16.4 (Debian)\n--\nSELECT 1;\n--\n{END}\n--\n\n\\unrestrict abc\n");
        let looked = look(file(&whole)).unwrap();
        assert_eq!((looked.is_whole, looked.postgres_version, looked.sum.bytes), (true, Some(16), whole.len() as u64));
        assert!(!look(file("SELECT 1;\n")).unwrap().is_whole);
        let long = format!("--\n{}\n{END}\n", "SELECT 1;\n".repeat(100_000));
        assert!(look(file(&long)).unwrap().is_whole);
        assert!(matches!(look(file("SELECT 1;\n\\! id\n")), Err(BackupError::Refused(_))));
        assert!(matches!(look(file("SELECT 'cut")), Err(BackupError::Refused(_))));
    }

    #[tokio::test]
    async fn another_dump_does_not_end() {
        let text = "SELECT 1;\n";
        let expected = sum(file(text)).unwrap();
        let read = async |text: &str| {
            let mut out = Vec::new();
            Compared::new(file(text), "d".to_owned(), expected.clone()).read_to_end(&mut out).await.map(|_| out)
        };
        assert_eq!(read(text).await.unwrap(), text.as_bytes());
        for other in ["SELECT 2;\n", "SELECT 1;", ""] {
            assert!(matches!(BackupError::out_of(read(other).await.unwrap_err(), ""), BackupError::Damaged { .. }), "{other}");
        }
    }
}
