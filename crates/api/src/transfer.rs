//! The API's side of the directory in which it and the workers hand each other archives (`domain::backup::transfer` has the names).
//!
//! Owns: handing out a file, in parts if asked, and taking one in as it comes. Leaves to others: whose an archive is (the routes), what
//! is in one, and when it goes (the worker).
//! A directory that is not there, or is another deployment's, is an error and never reads as one without files.

use crate::problem::Problem;
use crate::state::AppState;
use axum::body::Body;
use axum::http::header::{ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG};
use axum::http::header::{HeaderMap, HeaderName, IF_RANGE, RANGE};
use axum::http::{Response, StatusCode};
use db::platform::settings;
use domain::backup::transfer::{Archive, ROOT};
use sha2::{Digest as _, Sha256};
use std::fmt::Display;
use std::io::{self, SeekFrom};
use std::path::PathBuf;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;
use utoipa::ToSchema;

const CHUNK: usize = 256 * 1024;
/// How a file in a zip archive begins (APPNOTE 4.3.7).
const ZIP: [u8; 4] = *b"PK\x03\x04";

fn away(cause: impl Display) -> Problem {
    Problem::unavailable("Archives cannot be handed over at the moment").because(cause)
}

/// The directory, after a look whether it is the one of this deployment.
///
/// # Errors
/// 503 when it is not there, or another one.
pub(crate) async fn directory(state: &AppState) -> Result<PathBuf, Problem> {
    let known = settings::backups_root(state.db()).await?;
    let root = state.policy().transfer.path.clone();
    let here = fs::read_to_string(root.join(ROOT)).await;
    let here = here.map_err(|error| away(format!("{}: {error}", root.display())))?;
    if known.is_none_or(|known| known.id != here.trim()) {
        return Err(away(format!("{} is not the directory that the workers have", root.display())));
    }
    Ok(root)
}

/// An archive as the description has it.
#[derive(Debug, ToSchema)]
#[schema(as = Archive, value_type = String, format = Binary)]
#[expect(dead_code, reason = "for the description: archives are never held in memory")]
pub(crate) struct ArchiveBytes(Vec<u8>);

/// An archive that can be handed out.
pub(crate) struct Outgoing {
    file: File,
    bytes: u64,
    tag: String,
}

impl Outgoing {
    /// Opens an archive; `None` if there is none of this length.
    ///
    /// # Errors
    /// 503 when the directory is not there.
    pub(crate) async fn open(state: &AppState, archive: Archive, bytes: u64) -> Result<Option<Self>, Problem> {
        let path = archive.path(&directory(state).await?);
        let file = match File::open(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| away(format!("{}: {error}", path.display())))?,
        };
        let length = file.metadata().await.map_err(away)?.len();
        let tag = format!("\"{}\"", archive.whole().trim_end_matches(".zip"));
        Ok((length == bytes).then_some(Self { file, bytes, tag }))
    }

    /// The answer: all of it, or the part that is asked for (RFC 9110, 14).
    ///
    /// # Errors
    /// 416 for a part that it does not have.
    pub(crate) async fn answer(mut self, asked: &HeaderMap, name: &str) -> Result<Response<Body>, Problem> {
        let text = |name: HeaderName| asked.get(name).and_then(|value| value.to_str().ok());
        let answer = Response::builder().header(ETAG, &self.tag).header(ACCEPT_RANGES, "bytes");
        // A part of another archive would be of no use: then all of it is sent. Its date says nothing, so none is taken for it.
        let is_same = text(IF_RANGE).is_none_or(|tag| tag == self.tag);
        let range = text(RANGE).filter(|_| is_same).map_or(Part::All, |range| Part::of(range, self.bytes));
        let (status, first, length) = match range {
            Part::All => (StatusCode::OK, 0, self.bytes),
            Part::Bytes { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
            Part::Beyond => return Err(Problem::no_such_part(self.bytes)),
        };
        let mut answer = answer
            .status(status)
            .header(CONTENT_TYPE, "application/zip")
            .header(CONTENT_LENGTH, length)
            .header(CONTENT_DISPOSITION, format!("attachment; filename=\"{}.zip\"", file_name(name)));
        if status == StatusCode::PARTIAL_CONTENT {
            answer = answer.header(CONTENT_RANGE, format!("bytes {first}-{}/{}", first + length - 1, self.bytes));
            self.file.seek(SeekFrom::Start(first)).await.map_err(away)?;
        }
        let content = Body::from_stream(ReaderStream::with_capacity(self.file.take(length), CHUNK));
        answer.body(content).map_err(Problem::fault)
    }
}

/// Which part of a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    All,
    Bytes { first: u64, last: u64 },
    Beyond,
}

impl Part {
    /// Several parts, other units and what is malformed are ignored, as a server may (RFC 9110, 14.2).
    fn of(range: &str, length: u64) -> Self {
        let Some((first, last)) = range.strip_prefix("bytes=").and_then(|part| part.trim().split_once('-')) else {
            return Self::All;
        };
        let number =
            |text: &str| (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<u64>().ok());
        let (first, last) = match (number(first), number(last)) {
            (Some(Some(first)), Some(Some(last))) if first <= last => (first, last.min(length.saturating_sub(1))),
            (Some(Some(first)), None) if last.is_empty() => (first, length.saturating_sub(1)),
            (None, Some(Some(suffix))) if first.is_empty() => (length.saturating_sub(suffix), length.saturating_sub(1)),
            _ => return Self::All,
        };
        if first < length && first <= last { Self::Bytes { first, last } } else { Self::Beyond }
    }
}

/// A name that needs no quoting anywhere.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = name.chars().take(100).map(plain).collect();
    if name.trim_matches(['.', '_']).is_empty() { "backup".to_owned() } else { name }
}

/// An archive that comes in. Dropped before it was handed over, nothing of it is left.
pub(crate) struct Incoming {
    archive: Archive,
    root: PathBuf,
    file: File,
    /// Where it lies now.
    lies: PathBuf,
    head: Vec<u8>,
    sum: Sha256,
    bytes: u64,
    most: u64,
    is_handed_over: bool,
}

impl Incoming {
    /// Begins to take an archive in.
    ///
    /// # Errors
    /// 503 when the directory is not there.
    pub(crate) async fn begin(state: &AppState, archive: Archive) -> Result<Self, Problem> {
        let root = directory(state).await?;
        let lies = archive.directory(&root).join(archive.unfinished());
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&lies).await.map_err(away)?;
        let most = state.policy().transfer.largest;
        Ok(Self { archive, root, file, lies, head: Vec::new(), sum: Sha256::new(), bytes: 0, most, is_handed_over: false })
    }

    /// Writes what has come.
    ///
    /// # Errors
    /// 413 for more than is allowed, 503 when it cannot be written.
    pub(crate) async fn write(&mut self, piece: &[u8]) -> Result<(), Problem> {
        self.bytes += piece.len() as u64;
        if self.bytes > self.most {
            return Err(too_large(self.most));
        }
        let missing = ZIP.len() - self.head.len();
        self.head.extend(piece.iter().take(missing));
        self.sum.update(piece);
        self.file.write_all(piece).await.map_err(away)
    }

    /// All has come: it is on disk under its name afterwards. Answers its length and its SHA-256.
    ///
    /// # Errors
    /// 422 for what is no zip archive, 503 when it cannot be written.
    pub(crate) async fn end(&mut self) -> Result<(u64, String), Problem> {
        if self.head != ZIP {
            return Err(Problem::invalid_field("body", "file", "is not a zip archive", "value_error"));
        }
        self.file.flush().await.map_err(away)?;
        self.file.sync_all().await.map_err(away)?;
        let whole = self.archive.path(&self.root);
        fs::rename(&self.lies, &whole).await.map_err(away)?;
        self.lies = whole;
        let directory = File::open(self.archive.directory(&self.root)).await.map_err(away)?;
        directory.sync_all().await.map_err(away)?;
        let sum = self.sum.clone().finalize();
        Ok((self.bytes, sum.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Somebody reads it from now on, and removes it.
    pub(crate) const fn hand_over(&mut self) {
        self.is_handed_over = true;
    }

    /// Nobody does.
    pub(crate) const fn take_back(&mut self) {
        self.is_handed_over = false;
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.is_handed_over {
            return;
        }
        // A worker would find it as well, an hour later.
        if let Err(error) = std::fs::remove_file(&self.lies) {
            tracing::warn!(path = %self.lies.display(), %error, "an archive that nobody needs cannot be removed");
        }
    }
}

/// 413 for an archive.
pub(crate) fn too_large(most: u64) -> Problem {
    Problem::too_large(format!("The archive is larger than {} MiB", most / (1024 * 1024)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_the_rules_say() {
        let bytes = |first, last| Part::Bytes { first, last };
        for (range, part) in [
            ("bytes=0-0", bytes(0, 0)),
            ("bytes=2-5", bytes(2, 5)),
            ("bytes=7-", bytes(7, 9)),
            ("bytes=-3", bytes(7, 9)),
            ("bytes=-30", bytes(0, 9)),
            ("bytes=5-99999999999", bytes(5, 9)),
            ("bytes=10-", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            ("bytes=5-2", Part::All),
            ("bytes=0-1,3-4", Part::All),
            ("bytes=-", Part::All),
            ("bytes=99999999999999999999999-", Part::All),
            ("lines=1-2", Part::All),
            ("bytes=a-b", Part::All),
            ("", Part::All),
        ] {
            assert_eq!(Part::of(range, 10), part, "{range}");
        }
        assert_eq!(Part::of("bytes=0-", 0), Part::Beyond);
    }

    #[test]
    fn file_names_are_harmless() {
        for (name, file) in [
            ("shop_20261126_031500", "shop_20261126_031500"),
            ("before \"the\" move\r\n; é/..\\", "before__the__move_____.._"),
            ("", "backup"),
            ("...", "backup"),
        ] {
            let made = file_name(name);
            assert!(made.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{made}");
            if name.is_ascii() {
                assert_eq!(made, file, "{name}");
            }
        }
    }
}
