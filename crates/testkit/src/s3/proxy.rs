//! Stands between a store and its server, and spoils requests. Each has a connection of its own.

use anyhow::{Context, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The server is not asked, and this is the answer: status, and S3's word for it.
    Answer(u16, &'static str),
    /// An answer that no S3 server gives.
    Page,
    /// Never an answer.
    Silence,
    /// The connection ends at once.
    HangUp,
    /// The connection ends in the middle of what is sent to the server.
    CutRequest,
    /// It stands still there, until the caller is gone; a request without a body is let through.
    HoldRequest,
    /// The connection ends in the middle of what the server sends.
    CutAnswer,
}

#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    /// How many requests it lets through before.
    before: usize,
    /// How many requests it still hits.
    left: usize,
    seen: Vec<String>,
}

/// A proxy; it ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// How many requests are held.
    held: watch::Receiver<usize>,
    serving: AbortHandle,
}

impl Proxy {
    /// Before this server, on the runtime of the caller.
    ///
    /// # Errors
    /// No port is left.
    pub async fn before(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen")?;
        let address = listener.local_addr().context("cannot tell the address")?;
        let state = Arc::<Mutex<State>>::default();
        let (count, held) = watch::channel(0);
        let one = Arc::new(One { server, state: state.clone(), held: count });
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let one = one.clone();
                connections.spawn(async move { one.pass(socket).await });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, state, held, serving: serving.abort_handle() })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request fails so, until [`Self::heal`].
    pub fn spoil(&self, fault: Fault) {
        self.spoil_next(usize::MAX, fault);
    }

    /// The next requests fail so.
    pub fn spoil_next(&self, requests: usize, fault: Fault) {
        let mut state = self.state();
        (state.fault, state.before, state.left) = (Some(fault), 0, requests);
    }

    /// The one after the next requests fails so.
    pub fn spoil_after(&self, requests: usize, fault: Fault) {
        let mut state = self.state();
        (state.fault, state.before, state.left) = (Some(fault), requests, 1);
    }

    /// All after the next requests fail so, until [`Self::heal`].
    pub fn spoil_from(&self, requests: usize, fault: Fault) {
        let mut state = self.state();
        (state.fault, state.before, state.left) = (Some(fault), requests, usize::MAX);
    }

    /// Whether all that shall fail has failed.
    pub fn has_struck(&self) -> bool {
        self.state().left == 0
    }

    /// Every request is passed on.
    pub fn heal(&self) {
        self.state().fault = None;
    }

    /// The requests since this was last asked, as `GET /bucket/key`.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.state().seen)
    }

    /// Waits until so many requests are held.
    ///
    /// # Errors
    /// The proxy has ended.
    pub async fn until_held(&self, requests: usize) -> Result<()> {
        self.held.clone().wait_for(|held| *held == requests).await.context("the proxy has ended")?;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct One {
    server: SocketAddr,
    state: Arc<Mutex<State>>,
    held: watch::Sender<usize>,
}

impl One {
    fn fate(&self, line: &str) -> Option<Fault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seen.push(line.to_owned());
        if state.before > 0 {
            state.before -= 1;
            return None;
        }
        if state.left == 0 {
            state.fault = None;
        }
        state.left = state.left.saturating_sub(1);
        state.fault
    }

    /// One request. Whoever is cut off may see that at any moment, so nothing here fails the test.
    async fn pass(&self, mut client: TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        let mut request = Vec::new();
        let head = loop {
            if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 2;
            }
            if client.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        };
        let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
        let length = text.split_once("content-length: ").and_then(|(_, rest)| rest.split_once("\r\n"));
        let length: usize = length.map_or(0, |(length, _)| length.parse().unwrap_or_default());
        let line = String::from_utf8_lossy(&request[..head]).split(" HTTP/").next().unwrap_or_default().to_owned();
        let fate = self.fate(&line).filter(|fate| length > 0 || !matches!(fate, Fault::HoldRequest));
        let wanted = match fate {
            Some(Fault::HangUp) => return Ok(()),
            Some(Fault::CutRequest | Fault::HoldRequest) => head + 2 + length / 2,
            _ => head + 2 + length,
        };
        while request.len() < wanted {
            client.read_buf(&mut request).await?;
        }
        let answer = |status: u16, body: &str| {
            let elsewhere = if status == 307 { format!("location: http://{}/\r\n", self.server) } else { String::new() };
            format!("HTTP/1.1 {status} Said\r\n{elsewhere}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        };
        match fate {
            Some(Fault::Silence) => return until_gone(&mut client).await,
            Some(Fault::Page) => return client.write_all(answer(200, "<html>Welcome!</html>").as_bytes()).await,
            Some(Fault::Answer(status, code)) => {
                let body = format!("<Error><Code>{code}</Code><Message>words</Message></Error>");
                return client.write_all(answer(status, &body).as_bytes()).await;
            }
            _ => {}
        }
        let mut server = TcpStream::connect(self.server).await?;
        server.set_nodelay(true)?;
        if matches!(fate, Some(Fault::CutRequest)) && length == 0 {
            return server.write_all(&request[..head / 2]).await;
        }
        server.write_all(&request[..head]).await?;
        server.write_all(b"connection: close\r\n\r\n").await?;
        server.write_all(&request[head + 2..wanted.min(request.len())]).await?;
        match fate {
            Some(Fault::CutRequest) => Ok(()),
            Some(Fault::HoldRequest) => {
                self.held.send_modify(|held| *held += 1);
                until_gone(&mut client).await?;
                drop(server);
                self.held.send_modify(|held| *held -= 1);
                Ok(())
            }
            Some(Fault::CutAnswer) => {
                let mut answer = Vec::new();
                server.read_to_end(&mut answer).await?;
                client.write_all(&answer[..answer.len() - 1]).await
            }
            _ => tokio::io::copy(&mut server, &mut client).await.map(|_| ()),
        }
    }
}

/// Reads until the other side has closed the connection, or is no more.
async fn until_gone(client: &mut TcpStream) -> std::io::Result<()> {
    let mut dropped = [0; 4096];
    while client.read(&mut dropped).await.is_ok_and(|read| read > 0) {}
    Ok(())
}
