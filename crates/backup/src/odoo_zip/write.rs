//! Writing an archive while it is read: its maker runs on a thread of its own, and nothing of it is kept.

use super::{DUMP, FILESTORE, MANIFEST, OdooManifest};
use crate::digest::Summing;
use crate::error::{BackupError, BackupResult, blocking};
use crate::reader::{Backup, Verified};
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Datelike, Timelike, Utc};
use futures::TryStreamExt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, StreamWriter, ZipWriter};

/// How many pieces wait on either side of the maker.
const AHEAD: usize = 4;
const CHUNK: usize = 64 * 1024;
/// From here on an entry has the longer form (APPNOTE 4.3.9.2); what is compressed badly becomes a little longer.
const LARGE: u64 = 0xf000_0000;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the archive.
    pub bytes: u64,
    /// SHA-256 of the archive, in hexadecimal digits.
    pub sha256: String,
    /// Bytes of the plain dump.
    pub dump_bytes: u64,
    /// What of the filestore.
    pub files: Verified,
}

/// Writes a backup as an archive of Odoo's. `plain_dump` is that of its dump ([`crate::tools::ClientTools::to_plain`]); the files come from
/// the pool and are compared while they are read. An archive without its end, which no reader takes for one, is all that is left of
/// a call that failed or was dropped.
///
/// # Errors
/// [`BackupError::Damaged`]; those of the store, of the dump, and of who reads the archive.
pub async fn write(
    backup: &Backup,
    mut plain_dump: impl AsyncRead + Unpin + Send,
    manifest: &OdooManifest,
    mut into: impl AsyncWrite + Unpin + Send,
) -> BackupResult<Written> {
    let (orders, taken) = mpsc::channel(AHEAD);
    let (made, mut pieces) = mpsc::channel::<Bytes>(AHEAD);
    let at = backup.manifest().facts.taken_at;
    let maker = blocking(move || make(taken, made, at));
    let order = order(backup, &mut plain_dump, manifest, Orders(orders));
    let pass_on = async {
        let (mut bytes, mut sum) = (0, Summing::sha256());
        while let Some(piece) = pieces.recv().await {
            bytes += piece.len() as u64;
            sum.add(&piece);
            into.write_all(&piece).await.map_err(|e| BackupError::out_of(e, "write the archive"))?;
        }
        Ok((bytes, sum.hex()))
    };
    let (ordered, (), (bytes, sha256)) = tokio::try_join!(order, maker, pass_on)?;
    let Some((dump_bytes, files)) = ordered else { return Err(ended()) };
    into.shutdown().await.map_err(|e| BackupError::out_of(e, "write the archive"))?;
    Ok(Written { bytes, sha256, dump_bytes, files })
}

fn ended() -> BackupError {
    BackupError::local("make the archive", io::Error::from(io::ErrorKind::BrokenPipe))
}

/// What the maker is told.
enum Order {
    Entry { name: String, is_large: bool },
    Content(Bytes),
    End,
}

struct Orders(mpsc::Sender<Order>);

impl Orders {
    /// Whether the maker still listens; if not, it says itself why.
    async fn give(&self, order: Order) -> bool {
        self.0.send(order).await.is_ok()
    }
}

/// Orders all entries; `None` if the maker went away.
async fn order(
    backup: &Backup,
    plain_dump: &mut (impl AsyncRead + Unpin),
    manifest: &OdooManifest,
    orders: Orders,
) -> BackupResult<Option<(u64, Verified)>> {
    // As in Odoo's archives the dump comes first.
    let mut dump_bytes = 0;
    let mut is_heard = orders.give(Order::Entry { name: DUMP.to_owned(), is_large: true }).await;
    while is_heard {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        if plain_dump.read_buf(&mut chunk).await.map_err(|e| BackupError::out_of(e, "read the dump"))? == 0 {
            break;
        }
        dump_bytes += chunk.len() as u64;
        is_heard = orders.give(Order::Content(chunk.freeze())).await;
    }
    if dump_bytes == 0 && is_heard {
        return Err(BackupError::Refused("a dump without anything in it".to_owned()));
    }
    is_heard = is_heard
        && orders.give(Order::Entry { name: MANIFEST.to_owned(), is_large: false }).await
        && orders.give(Order::Content(manifest.to_bytes()?.into())).await;

    let mut list = backup.list();
    let mut kept = crate::pool::Kept::default();
    while is_heard && let Some(entry) = list.next().await? {
        kept.count += 1;
        kept.bytes += entry.bytes;
        let name = format!("{FILESTORE}/{}/{}", entry.name.directory(), entry.name);
        is_heard = orders.give(Order::Entry { name, is_large: entry.bytes > LARGE }).await;
        let mut pieces = std::pin::pin!(backup.content(entry));
        while is_heard && let Some(piece) = pieces.try_next().await? {
            is_heard = orders.give(Order::Content(piece)).await;
        }
    }
    if !is_heard {
        return Ok(None);
    }
    let files = backup.count(kept)?;
    Ok(orders.give(Order::End).await.then_some((dump_bytes, files)))
}

/// Makes the archive; if nobody orders its end, it has none.
fn make(mut orders: mpsc::Receiver<Order>, made: mpsc::Sender<Bytes>, at: DateTime<Utc>) -> BackupResult<()> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(date(at))
        .unix_permissions(0o600);
    let is_shut = Arc::new(AtomicBool::new(false));
    let mut archive = ZipWriter::new_stream(Outlet { made, held: Vec::new(), is_shut: is_shut.clone() });
    let mut fill = |archive: &mut ZipWriter<StreamWriter<Outlet>>| -> io::Result<bool> {
        while let Some(order) = orders.blocking_recv() {
            match order {
                Order::Entry { name, is_large } => archive.start_file(name, options.large_file(is_large))?,
                Order::Content(bytes) => archive.write_all(&bytes)?,
                Order::End => return Ok(true),
            }
        }
        Ok(false)
    };
    let filled = fill(&mut archive);
    if !matches!(filled, Ok(true)) {
        // What is dropped ends itself properly: nobody may see that.
        is_shut.store(true, Ordering::Relaxed);
        return filled.and(Err(io::ErrorKind::BrokenPipe.into())).map_err(|e| BackupError::out_of(e, "make the archive"));
    }
    let mut outlet =
        archive.finish().map_err(io::Error::from).map_err(|e| BackupError::out_of(e, "make the archive"))?.into_inner();
    outlet.flush().map_err(|e| BackupError::out_of(e, "make the archive"))
}

/// The time of an entry, which has no zone and no year before 1980 (APPNOTE 4.4.6).
fn date(at: DateTime<Utc>) -> zip::DateTime {
    let part = |number: u32| u8::try_from(number).unwrap_or_default();
    let year = u16::try_from(at.year()).unwrap_or_default();
    let date = zip::DateTime::from_date_and_time(
        year,
        part(at.month()),
        part(at.day()),
        part(at.hour()),
        part(at.minute()),
        part(at.second()),
    );
    date.unwrap_or_default()
}

/// Where the archive comes out; shut, it swallows everything.
struct Outlet {
    made: mpsc::Sender<Bytes>,
    held: Vec<u8>,
    is_shut: Arc<AtomicBool>,
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let held = Bytes::from(std::mem::take(&mut self.held));
        if held.is_empty() || self.is_shut.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.made.blocking_send(held).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
