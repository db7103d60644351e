//! A stream as objects of bounded size, each with its checksum, and back.

use crate::buffers::Buffer;
use crate::digest::{Summing, sha256};
use crate::error::{BackupError, BackupResult, blocking};
use crate::manifest::{Part, Piece};
use crate::reader::is_damage;
use crate::store::{BackupStore, Key, PIECE};
use async_compression::Level;
use async_compression::tokio::bufread::{ZstdDecoder, ZstdEncoder};
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt, BufReader};
use tokio_util::io::StreamReader;

/// How many pieces are on their way at once.
const AT_ONCE: usize = 2;
/// zstd's own default: about a third of the time of level 6 for a few percent more bytes.
const LEVEL: i32 = 3;
const BUFFER: usize = 256 * 1024;

fn piece(prefix: &Key, number: usize) -> Key {
    prefix.child(&format!("{number:06}"))
}

/// Stores everything that `content` yields below `prefix`, and reads each piece back. Pieces are stored while the next is made.
pub(crate) async fn write(
    store: &Arc<dyn BackupStore>,
    prefix: &Key,
    content: impl AsyncRead + Unpin + Send,
) -> BackupResult<Part> {
    let (mut whole, mut bytes) = (Summing::sha256(), 0);
    let made = stream::try_unfold((content, 0), async |(mut content, number)| {
        let next = fill(&mut content).await.map_err(|e| BackupError::out_of(e, "read what is to be stored"))?;
        // Something empty is one empty piece: that it is empty is known, too.
        let is_piece = number == 0 || !next.is_empty();
        Ok(is_piece.then_some(((number, next), (content, number + 1))))
    });
    let pieces = made
        .inspect_ok(|(_, next)| {
            whole.add(next);
            bytes += next.len() as u64;
        })
        .map_ok(|(number, next)| put(store.clone(), piece(prefix, number), next))
        .try_buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(Part { bytes, sha256: whole.hex(), pieces })
}

async fn fill(content: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let (mut piece, mut filled) = (Buffer::of(PIECE), 0);
    while filled < PIECE {
        let read = content.read(&mut piece[filled..]).await?;
        if read == 0 {
            break;
        }
        filled += read;
    }
    Ok(piece.filled(filled))
}

async fn put(store: Arc<dyn BackupStore>, key: Key, content: Bytes) -> BackupResult<Piece> {
    let summed = content.clone();
    let piece = blocking(move || Ok(Piece { bytes: summed.len() as u64, sha256: sha256(&summed) })).await?;
    store.put_checked(&key, content).await?;
    Ok(piece)
}

/// An object that must be as it was stored.
async fn get_checked(store: &Arc<dyn BackupStore>, key: &Key, piece: &Piece) -> BackupResult<Bytes> {
    match get_once(store, key, piece).await {
        Err(error) if is_damage(&error) => get_once(store, key, piece).await,
        other => other,
    }
}

async fn get_once(store: &Arc<dyn BackupStore>, key: &Key, piece: &Piece) -> BackupResult<Bytes> {
    let bytes = match store.get(key).await {
        Err(BackupError::Missing(what)) => return Err(BackupError::damaged(what, "it is missing")),
        other => other?,
    };
    if bytes.len() as u64 != piece.bytes || sha256(&bytes) != piece.sha256 {
        return Err(BackupError::damaged(key.as_str(), "it is not what was stored"));
    }
    Ok(bytes)
}

/// The pieces of a part, in order, each compared before it is handed on; errors are ours, inside of the stream's.
pub(crate) fn read(
    store: Arc<dyn BackupStore>,
    prefix: Key,
    part: &Part,
) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    let wanted = part.pieces.clone().into_iter().enumerate();
    let get = move |(number, wanted): (usize, Piece)| {
        let (store, key) = (store.clone(), piece(&prefix, number));
        async move { get_checked(&store, &key, &wanted).await.map_err(BackupError::into_io) }
    };
    stream::iter(wanted).map(get).buffered(AT_ONCE)
}

/// The same as a reader.
pub(crate) fn reader(store: Arc<dyn BackupStore>, prefix: Key, part: &Part) -> impl AsyncBufRead + Send + Unpin + use<> {
    StreamReader::new(Box::pin(read(store, prefix, part)))
}

/// What was stored as a zstd stream, decompressed.
pub(crate) fn decompressed(store: Arc<dyn BackupStore>, prefix: Key, part: &Part) -> impl AsyncRead + Send + Unpin + use<> {
    ZstdDecoder::new(reader(store, prefix, part))
}

/// What a reader yields, as a zstd stream (RFC 8878).
pub(crate) fn compressed(content: impl AsyncRead + Unpin + Send) -> impl AsyncRead + Unpin + Send {
    ZstdEncoder::with_quality(BufReader::with_capacity(BUFFER, content), Level::Precise(LEVEL))
}

/// Compares all pieces, and the sum of the whole.
pub(crate) async fn check(store: &Arc<dyn BackupStore>, prefix: &Key, part: &Part) -> BackupResult<()> {
    let mut pieces = Box::pin(read(store.clone(), prefix.clone(), part));
    let (mut sum, mut bytes) = (Summing::sha256(), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|e| BackupError::out_of(e, "read the backup"))?;
        sum.add(&piece);
        bytes += piece.len() as u64;
    }
    if bytes != part.bytes || sum.hex() != part.sha256 {
        return Err(BackupError::damaged(prefix.as_str(), "the pieces are not those of the whole"));
    }
    Ok(())
}
