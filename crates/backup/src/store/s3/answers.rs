//! What a server answers, as errors that can be told apart.
//!
//! Every answer that is no success becomes an [`Answer`] before anybody else sees it. So it says nothing but its status and S3's word
//! for it: the rest of what servers write repeats names, keys and what was signed.

use super::S3Settings;
use crate::error::{BackupError, BackupResult};
use async_trait::async_trait;
use futures::StreamExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use std::error::Error;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than what S3 writes of an error.
const LONGEST_BODY: usize = 16 * 1024;
const LONGEST_CODE: usize = 64;

/// An answer that is no success.
#[derive(Debug, thiserror::Error)]
#[error("the server answers {status} {code}")]
pub(super) struct Answer {
    status: u16,
    code: String,
}

impl Answer {
    /// The answer that an error of the library stands for, if the server answered at all.
    pub(super) fn of(error: &object_store::Error) -> Option<&Self> {
        causes(error).find_map(|cause| cause.downcast_ref())
    }

    /// The bucket is there and the object is not. A 404 that says less may be anybody's.
    pub(super) fn is_missing_object(&self) -> bool {
        self.status == 404 && self.code == "NoSuchKey"
    }

    pub(super) const fn is_missing(&self) -> bool {
        self.status == 404
    }

    /// What shall be made is there, or is just being made by somebody else.
    pub(super) const fn is_taken(&self) -> bool {
        matches!(self.status, 409 | 412)
    }

    /// The server does not know such a request.
    pub(super) fn is_unknown(&self) -> bool {
        self.status == 501 || self.code == "NotImplemented"
    }

    fn is_full(&self) -> bool {
        self.status == 507 || self.code.contains("QuotaExceeded") || self.code.contains("StorageFull")
    }

    /// Whether the same request may succeed in a moment.
    fn passes(&self) -> bool {
        let said = ["SlowDown", "RequestTimeout", "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "OperationAborted"];
        let busy = matches!(self.status, 408 | 429 | 500..=599) && !matches!(self.status, 501 | 507);
        (busy || said.contains(&self.code.as_str())) && !self.is_full()
    }

    /// As our error. A bucket that is not there is like a file system that is not mounted: no answer about what the store holds, and not
    /// the end of a backup. Neither is a redirect, or whatever else no S3 server says.
    pub(super) fn class(&self, doing: String) -> BackupError {
        let text = format!("{doing}: {self}");
        match self.status {
            _ if self.is_full() => BackupError::Full(text),
            _ if self.passes() => BackupError::Unreachable(text),
            400 | 401 | 402 | 403 | 405 | 501 => BackupError::Denied(text),
            _ => BackupError::Unreachable(text),
        }
    }
}

/// Makes the connections of a store. They follow no redirect, which could lead what is signed elsewhere, and use no proxy.
#[derive(Debug)]
pub(super) struct Connector(reqwest::Client);

impl Connector {
    pub(super) fn new(settings: &S3Settings) -> BackupResult<Self> {
        let wrong = |e: reqwest::Error| BackupError::Refused(format!("S3: {}", words(&e)));
        let authorities = match &settings.ca_file {
            None => Vec::new(),
            Some(path) => {
                let pem = std::fs::read(path).map_err(|e| BackupError::local(format!("read {}", path.display()), e))?;
                let found = reqwest::Certificate::from_pem_bundle(&pem).map_err(wrong)?;
                if found.is_empty() {
                    return Err(BackupError::Refused(format!("S3: no certificate is in {}", path.display())));
                }
                found
            }
        };
        let client = reqwest::Client::builder()
            .timeout(settings.request_timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(settings.request_timeout))
            .https_only(!settings.allow_http)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("instance-service/", env!("CARGO_PKG_VERSION")))
            .tls_certs_merge(authorities)
            .build()
            .map_err(wrong)?;
        Ok(Self(client))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Client(HttpClient::new(self.0.clone()))))
    }
}

#[derive(Debug)]
struct Client(HttpClient);

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_listing = request.uri().query().is_some_and(|query| query.contains("list-type=2"));
        let response = self.0.execute(request).await?;
        if response.status().is_success() {
            return if is_listing { listing(response).await } else { Ok(response) };
        }
        let status = response.status().as_u16();
        let answer = Answer { status, code: code(response.into_body()).await };
        // By the kind, the library tells what it shall repeat.
        let kind = if answer.passes() { HttpErrorKind::Request } else { HttpErrorKind::Unknown };
        Err(HttpError::new(kind, answer))
    }
}

/// A page of a listing. The library takes whatever has no objects in it for the end of one.
async fn listing(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (head, body) = response.into_parts();
    let body = body.bytes().await?;
    let says = |words: &str| body.windows(words.len()).any(|part| part == words.as_bytes());
    if !says("<ListBucketResult") || (says("<IsTruncated>true<") && !says("<NextContinuationToken>")) {
        return Err(HttpError::new(HttpErrorKind::Decode, NoListing));
    }
    Ok(HttpResponse::from_parts(head, body.into()))
}

/// A success that is none.
#[derive(Debug, thiserror::Error)]
#[error("what the server answers is no page of a listing")]
struct NoListing;

/// S3's word for an error; empty if there is none.
async fn code(body: HttpResponseBody) -> String {
    let (mut text, mut pieces) = (Vec::new(), body.bytes_stream());
    while let Some(Ok(piece)) = pieces.next().await {
        text.extend_from_slice(&piece);
        if text.len() > LONGEST_BODY {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map_or("", |(code, _)| code);
    let is_word = code.len() <= LONGEST_CODE && code.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_word { code.to_owned() } else { String::new() }
}

/// The innermost cause in its own words: those around it repeat the address.
pub(super) fn words(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;

    #[test]
    fn what_a_server_answers_has_a_class() {
        let cases = [
            (Class::Unreachable, 500, "InternalError"),
            (Class::Unreachable, 503, "SlowDown"),
            (Class::Unreachable, 502, ""),
            (Class::Unreachable, 429, ""),
            (Class::Unreachable, 400, "RequestTimeout"),
            (Class::Unreachable, 400, "BadDigest"),
            (Class::Unreachable, 404, "NoSuchBucket"),
            (Class::Unreachable, 301, "PermanentRedirect"),
            (Class::Permanent, 403, "AccessDenied"),
            (Class::Permanent, 403, "SignatureDoesNotMatch"),
            (Class::Permanent, 401, ""),
            (Class::Permanent, 400, "ExpiredToken"),
            (Class::Permanent, 501, "NotImplemented"),
            (Class::Full, 507, "XMinioStorageFull"),
            (Class::Full, 403, "QuotaExceeded"),
            (Class::Full, 400, "XMinioAdminBucketQuotaExceeded"),
        ];
        for (class, status, code) in cases {
            let answer = Answer { status, code: code.to_owned() };
            assert_eq!(answer.class("put".to_owned()).class(), class, "{answer}");
            assert!(!answer.passes() || class == Class::Unreachable, "{answer}");
        }
    }

    #[tokio::test]
    async fn of_what_a_server_writes_only_the_code_is_kept() {
        let said = |text: &str| code(HttpResponseBody::from(text.to_owned()));
        assert_eq!(said("<Error><Code>SlowDown</Code><Message>secret</Message></Error>").await, "SlowDown");
        assert_eq!(said("<html>secret</html>").await, "");
        assert_eq!(said("<Code>not a word: secret</Code>").await, "");
        assert_eq!(said(&format!("<Code>{}</Code>", "x".repeat(LONGEST_BODY))).await, "");
    }
}
