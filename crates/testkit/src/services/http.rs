//! A very small HTTP/1.1 server on std alone: one thread per connection, one request per connection. Enough for stand-ins,
//! and quick to build.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

const HEAD_LIMIT: u64 = 64 * 1024;
const BODY_LIMIT: u64 = 1024 * 1024;

/// A request that was read in full.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What to do about a request.
#[derive(Debug)]
pub(super) enum Reply {
    Json(u16, Value),
    /// Never answer; hold the connection until the caller gives up.
    Hang,
    /// Close the connection without a word.
    Close,
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A listening server; dropping it frees the port.
#[derive(Debug)]
pub(super) struct Listening {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    pub(super) fn start(listener: TcpListener, handler: Arc<Handler>) -> Result<Self> {
        let address = listener.local_addr().context("cannot tell the address")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let handler = Arc::clone(&handler);
                match stream {
                    Ok(stream) => drop(std::thread::spawn(move || report(converse(stream, handler.as_ref())))),
                    Err(error) => report(Err(error.into())),
                }
            }
        });
        Ok(Self { address, stop, thread: Some(thread) })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for ever, for a process that does nothing else.
    pub(super) fn join(mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_panic| anyhow::anyhow!("the listener ended by a panic"))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.stop.store(true, Ordering::Release);
        // The listener sleeps in `accept`: one connection wakes it.
        if TcpStream::connect(self.address).is_err() || thread.join().is_err() {
            eprintln!("the stand-in on {} did not end", self.address);
        }
    }
}

fn report(result: Result<()>) {
    if let Err(error) = result {
        eprintln!("a connection failed: {error:#}");
    }
}

fn converse(mut stream: TcpStream, handler: &Handler) -> Result<()> {
    let request = match read(&stream) {
        Ok(Some(request)) => request,
        Ok(None) => return Ok(()),
        Err(error) => return write(&mut stream, 400, &serde_json::json!({ "detail": error.to_string() })),
    };
    match handler(&request) {
        Reply::Json(status, body) => write(&mut stream, status, &body),
        Reply::Close => Ok(()),
        Reply::Hang => std::io::copy(&mut stream, &mut std::io::sink()).map(drop).context("cut while hanging"),
    }
}

fn read(stream: &TcpStream) -> Result<Option<Request>> {
    let mut reader = BufReader::new(stream.take(HEAD_LIMIT + BODY_LIMIT));
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else { bail!("not a request line") };
    let (method, path) = (method.to_owned(), path.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').context("not a header")?;
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let mut request = Request { method, path, body: Vec::new(), headers };
    let length: u64 = request.header("content-length").unwrap_or("0").parse().context("bad content-length")?;
    if length > BODY_LIMIT {
        bail!("body too large");
    }
    request.body.resize(usize::try_from(length)?, 0);
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

fn write(stream: &mut TcpStream, status: u16, body: &Value) -> Result<()> {
    let text = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(text.as_bytes())?;
    stream.flush().context("cannot answer")
}
