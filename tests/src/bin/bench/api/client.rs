//! A client that costs little: it writes prepared requests to open connections and reads no more of an answer than its status
//! and where it ends.

use super::kinds::Kind;
use crate::figures::Figures;
use anyhow::{Context, Result, ensure};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Requests under way at once.
pub(crate) const CONNECTIONS: usize = 16;
/// Before anything counts: connections open, statements are prepared.
const WARM_UP: Duration = Duration::from_secs(1);

/// Requests of one kind, each another one than those before.
pub(crate) struct Load<'a> {
    address: String,
    kind: &'a Kind,
    next: AtomicU64,
    runtime: tokio::runtime::Runtime,
}

impl<'a> Load<'a> {
    /// Begins with the request of this number.
    pub(crate) fn new(url: &str, kind: &'a Kind, first: u64) -> Result<Self> {
        let address = url.strip_prefix("http://").context("no address")?.to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { address, kind, next: AtomicU64::new(first), runtime })
    }

    pub(crate) fn once(&self) -> Result<()> {
        self.runtime.block_on(async {
            let mut connection = Connection::open(&self.address).await?;
            connection.call(self.kind, self.next.fetch_add(1, Ordering::Relaxed)).await
        })
    }

    pub(crate) fn warm_up(&mut self) -> Result<()> {
        self.runtime.block_on(self.as_fast_as_it_goes(WARM_UP)).map(drop)
    }

    /// Answers a second when each connection asks again as soon as it has its answer.
    pub(crate) fn full(&mut self, length: Duration) -> Result<f64> {
        let answers = self.runtime.block_on(self.as_fast_as_it_goes(length))?;
        // Counts are far below 2^52, so the conversion is exact.
        Ok(answers as f64 / length.as_secs_f64())
    }

    async fn as_fast_as_it_goes(&self, length: Duration) -> Result<u64> {
        let end = Instant::now() + length;
        let ask = async || {
            let mut connection = Connection::open(&self.address).await?;
            let mut answers = 0;
            while Instant::now() < end {
                connection.call(self.kind, self.next.fetch_add(1, Ordering::Relaxed)).await?;
                answers += 1;
            }
            anyhow::Ok(answers)
        };
        Ok(futures::future::try_join_all((0..CONNECTIONS).map(|_| ask())).await?.into_iter().sum())
    }

    /// How long each answer takes when requests come at a steady rate, whether those before are answered or not: one that had to wait
    /// for a free connection has waited.
    pub(crate) fn paced(&mut self, rate: f64, length: Duration) -> Result<Figures> {
        self.runtime.block_on(async {
            let (start, turn) = (Instant::now(), AtomicU64::new(0));
            let ask = async || {
                let mut connection = Connection::open(&self.address).await?;
                let mut took = Vec::new();
                loop {
                    let due = start + Duration::from_secs_f64(turn.fetch_add(1, Ordering::Relaxed) as f64 / rate);
                    if due > start + length {
                        return anyhow::Ok(took);
                    }
                    let early = due > Instant::now();
                    tokio::time::sleep_until(due).await;
                    // The timer's own lateness is none of the API's.
                    let begin = if early { Instant::now() } else { due };
                    connection.call(self.kind, self.next.fetch_add(1, Ordering::Relaxed)).await?;
                    took.push(begin.elapsed());
                }
            };
            let took = futures::future::try_join_all((0..CONNECTIONS).map(|_| ask())).await?;
            Ok(Figures::of(took.into_iter().flatten()))
        })
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(1 << 16) })
    }

    async fn call(&mut self, kind: &Kind, number: u64) -> Result<()> {
        let request = kind.request(number);
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        let head = loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed");
            if let Some(at) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let text = std::str::from_utf8(&self.buffer[..head])?.to_ascii_lowercase();
        let length: usize = text.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?.parse()?;
        while self.buffer.len() < head + length {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed");
        }
        let status = text.get(9..12).context("no status")?;
        ensure!(status == kind.expected, "{}: {} {}", kind.name, status, String::from_utf8_lossy(&self.buffer[head..]));
        Ok(())
    }
}
