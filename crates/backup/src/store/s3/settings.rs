//! What has to be known of a bucket.

use crate::error::{BackupError, BackupResult};
use crate::store::Key;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// A bucket, and how to reach it. The keys are in files, never here.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// Where the server is; Amazon's address for the region if `None`.
    pub endpoint: Option<Url>,
    /// Name of the region, which is signed as well. Servers that have none want `us-east-1`.
    pub region: String,
    /// Name of the bucket. We never make one.
    pub bucket: String,
    /// Where in the bucket the store begins, as `a/b`; at its root if `None`.
    pub prefix: Option<String>,
    /// Whether the bucket is part of the path (most servers of one's own) or of the host's name (Amazon).
    pub path_style: bool,
    /// Permits an endpoint without TLS.
    pub allow_http: bool,
    /// File with the id of the access key.
    pub access_key_id_file: PathBuf,
    /// File with the secret of the access key.
    pub secret_access_key_file: PathBuf,
    /// File with the token of a key that is lent for some hours.
    pub session_token_file: Option<PathBuf>,
    /// File with certificates (PEM) of authorities that are believed besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long a request may take, connecting included; 30 seconds are a good choice. With its repetitions a call takes at most
    /// about twice as long.
    pub request_timeout: Duration,
}

impl S3Settings {
    /// Refuses what cannot be meant.
    pub(super) fn check(&self) -> BackupResult<()> {
        let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let bucket = self.bucket.as_bytes();
        let wrong = if !(3..=63).contains(&bucket.len()) || !bucket.iter().all(|b| lower(*b) || *b == b'.') {
            "no name of a bucket"
        } else if self.region.is_empty() || !self.region.bytes().all(lower) {
            "no name of a region"
        } else if self.prefix.as_deref().is_some_and(|prefix| Key::parse(prefix).is_none()) {
            "no prefix of keys"
        } else if self.request_timeout.is_zero() {
            "no time for a request"
        } else {
            return self.base_url().map(|_| ());
        };
        Err(BackupError::Refused(format!("S3: {wrong}")))
    }

    /// The address below which the objects are; `None` for Amazon's own. Without a path-style address, the bucket is in it.
    pub(super) fn base_url(&self) -> BackupResult<Option<String>> {
        let Some(endpoint) = &self.endpoint else { return Ok(None) };
        let refused = |why: &str| BackupError::Refused(format!("S3: the endpoint {why}"));
        match endpoint.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            "http" => return Err(refused("is without TLS, and that is not permitted")),
            _ => return Err(refused("is no http(s) address")),
        }
        let plain = endpoint.username().is_empty() && endpoint.password().is_none();
        if !plain || endpoint.query().is_some() || endpoint.fragment().is_some() {
            return Err(refused("has more than host, port and path"));
        }
        let mut url = endpoint.clone();
        if !self.path_style {
            let host = url.domain().map(|domain| format!("{}.{domain}", self.bucket));
            let host = host.ok_or_else(|| refused("has no name that a bucket could be put before"))?;
            url.set_host(Some(&host)).map_err(|_| refused("has no name that a bucket could be put before"))?;
        }
        Ok(Some(url.as_str().trim_end_matches('/').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(endpoint: &str) -> S3Settings {
        S3Settings {
            endpoint: Some(Url::parse(endpoint).unwrap()),
            region: "us-east-1".to_owned(),
            bucket: "odoo-backups".to_owned(),
            prefix: None,
            path_style: false,
            allow_http: false,
            access_key_id_file: "id".into(),
            secret_access_key_file: "secret".into(),
            session_token_file: None,
            ca_file: None,
            request_timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn the_bucket_is_in_the_path_or_in_the_host() {
        let mut settings = settings("https://s3.example.org:9000/");
        assert_eq!(settings.base_url().unwrap().as_deref(), Some("https://odoo-backups.s3.example.org:9000"));
        settings.path_style = true;
        assert_eq!(settings.base_url().unwrap().as_deref(), Some("https://s3.example.org:9000"));
        settings.endpoint = None;
        assert_eq!(settings.base_url().unwrap(), None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        settings("https://s3.example.org").check().unwrap();
        for endpoint in
            ["http://s3.example.org", "ftp://s3.example.org", "https://me:secret@s3.example.org", "https://s3.example.org/?a"]
        {
            let error = settings(endpoint).check().unwrap_err().to_string();
            assert!(error.starts_with("refused: S3: ") && !error.contains("secret"), "{error}");
        }
        settings("https://10.0.0.1").check().unwrap_err();
        let wrong: [fn(&mut S3Settings); 5] = [
            |s| s.bucket = "Odoo".to_owned(),
            |s| s.bucket = "a/b".to_owned(),
            |s| s.region = String::new(),
            |s| s.prefix = Some("../other".to_owned()),
            |s| s.request_timeout = Duration::ZERO,
        ];
        for spoil in wrong {
            let mut settings = settings("https://s3.example.org");
            spoil(&mut settings);
            settings.check().unwrap_err();
        }
        let mut unencrypted = settings("http://s3.example.org");
        unencrypted.allow_http = true;
        unencrypted.check().unwrap();
    }
}
