//! A server that speaks S3, on loopback: buckets are directories, objects are files in them. It knows no more than single requests;
//! whoever begins an upload in parts is told that it is not implemented.

mod proxy;

pub use proxy::{Fault, Proxy};

use anyhow::{Context, Result, anyhow};
use async_trait::async_trait;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, GetObjectInput, GetObjectOutput, ListObjectsV2Input, ListObjectsV2Output,
    PutObjectInput, PutObjectOutput,
};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinSet};

/// Id of the key that it knows.
pub const ACCESS_KEY_ID: &str = "the-id-of-a-key";
/// Secret of the key that it knows.
pub const SECRET_ACCESS_KEY: &str = "the-secret-of-a-key";

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    serving: AbortHandle,
}

impl Server {
    /// Serves the buckets below `root`, on the runtime of the caller, with at most `page` objects in an answer.
    ///
    /// # Errors
    /// There is no such directory; no port is left.
    pub async fn start(root: &Path, page: i32) -> Result<Self> {
        let files = FileSystem::new(root).map_err(|e| anyhow!("cannot serve {}: {e:?}", root.display()))?;
        let mut service = S3ServiceBuilder::new(Objects { files, page, puts: Mutex::default() });
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen")?;
        let address = listener.local_addr().context("cannot tell the address")?;
        let serving = tokio::spawn(serve(listener, service.build())).abort_handle();
        Ok(Self { address, serving })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, service: S3Service) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        // Without this each answer would wait 40 ms for an acknowledgement.
        if socket.set_nodelay(true).is_err() {
            continue;
        }
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone()));
        while connections.try_join_next().is_some() {}
    }
}

#[derive(Debug)]
struct Objects {
    files: FileSystem,
    page: i32,
    /// A put under a condition looks, and then writes.
    puts: Mutex<()>,
}

#[async_trait]
impl S3 for Objects {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        if request.input.checksum_sha256.is_none() {
            return Err(s3_error!(InvalidRequest, "a checksum is wanted"));
        }
        let _turn = match request.input.if_none_match {
            Some(_) => Some(self.puts.lock().await),
            None => None,
        };
        self.files.put_object(request).await
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.files.get_object(request).await
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.files.delete_object(request).await
    }

    async fn list_objects_v2(&self, mut request: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        request.input.max_keys = Some(request.input.max_keys.unwrap_or(self.page).min(self.page));
        self.files.list_objects_v2(request).await
    }
}
