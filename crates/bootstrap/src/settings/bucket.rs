//! Where backups are kept, if not in a directory: a bucket of a server that speaks S3.

use super::reader::{Reader, plain_base_url};
use super::variables::{self as v, Variable};
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// A bucket. Its keys stay in their files, which are read again while we run.
#[derive(Clone, Debug)]
pub struct BucketSettings {
    /// Where the server is; none for Amazon's own.
    pub endpoint: Option<Url>,
    /// Its region.
    pub region: String,
    /// Its name.
    pub bucket: String,
    /// Where in it the store begins.
    pub prefix: Option<String>,
    /// Whether the bucket is part of the path.
    pub path_style: bool,
    /// Whether the endpoint may be without TLS.
    pub allow_http: bool,
    /// File with the id of the access key.
    pub access_key_id_file: PathBuf,
    /// File with its secret.
    pub secret_access_key_file: PathBuf,
    /// File with the token of a key that is lent.
    pub session_token_file: Option<PathBuf>,
    /// File with certificates of authorities that are believed, too.
    pub ca_file: Option<PathBuf>,
    /// How long a request may take.
    pub timeout: Duration,
}

/// `Some(None)`: backups are kept in a directory.
pub(super) fn read(reader: &mut Reader<'_>, built_in: bool) -> Option<Option<BucketSettings>> {
    let wanted = reader.parsed(&v::BACKUP_STORE, "one of local, s3", |text| match text {
        "local" => Some(false),
        "s3" => Some(true),
        _ => None,
    });
    if wanted == Some(true) && !built_in {
        reader.problem("BACKUP_STORE=s3 is not built in: the worker's feature `s3` is missing");
    }
    let required = wanted == Some(true);
    let must = "an http or https address without user, query or fragment";
    let endpoint = reader.parsed_optional(&v::BACKUP_S3_ENDPOINT, must, plain_base_url);
    let region = reader.text(&v::BACKUP_S3_REGION);
    let bucket = reader.optional(&v::BACKUP_S3_BUCKET);
    if required && bucket.is_none() {
        missing(reader, &v::BACKUP_S3_BUCKET);
    }
    let prefix = reader.optional(&v::BACKUP_S3_PREFIX);
    let path_style = reader.switch(&v::BACKUP_S3_PATH_STYLE);
    let allow_http = reader.switch(&v::BACKUP_S3_ALLOW_HTTP);
    let access_key_id_file = key(reader, &v::BACKUP_S3_ACCESS_KEY_ID_FILE, required);
    let secret_access_key_file = key(reader, &v::BACKUP_S3_SECRET_ACCESS_KEY_FILE, required);
    let session_token_file = file(reader, &v::BACKUP_S3_SESSION_TOKEN_FILE);
    let ca_file = file(reader, &v::BACKUP_S3_CA_FILE);
    let timeout = reader.seconds(&v::BACKUP_S3_TIMEOUT_SECONDS, 1..=600);
    if !wanted? {
        if bucket.is_some() {
            reader.warn("BACKUP_S3_BUCKET has no effect while BACKUP_STORE is local");
        }
        return Some(None);
    }
    if endpoint.iter().flatten().any(|url| url.scheme() == "http") && allow_http == Some(false) {
        reader.problem("BACKUP_S3_ENDPOINT is without TLS; set BACKUP_S3_ALLOW_HTTP=true to permit it");
    }
    Some(Some(BucketSettings {
        endpoint: endpoint?,
        region: region?,
        bucket: bucket?,
        prefix: prefix.map(|prefix| prefix.trim_matches('/').to_owned()),
        path_style: path_style?,
        allow_http: allow_http?,
        access_key_id_file: access_key_id_file??,
        secret_access_key_file: secret_access_key_file??,
        session_token_file: session_token_file?,
        ca_file: ca_file?,
        timeout: timeout?,
    }))
}

fn file(reader: &mut Reader<'_>, variable: &Variable) -> Option<Option<PathBuf>> {
    reader.parsed_optional(variable, "an absolute path", |text| Some(PathBuf::from(text)).filter(|path| path.is_absolute()))
}

fn key(reader: &mut Reader<'_>, variable: &Variable, required: bool) -> Option<Option<PathBuf>> {
    let path = file(reader, variable);
    if required && matches!(path, Some(None)) {
        missing(reader, variable);
    }
    path
}

fn missing(reader: &mut Reader<'_>, variable: &Variable) {
    reader.problem(format!("BACKUP_STORE=s3 needs {}", variable.name));
}
