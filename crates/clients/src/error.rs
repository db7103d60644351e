//! What can go wrong with a call, told without addresses, bodies or anything else that may be personal or secret.

use reqwest::StatusCode;

/// Result of a call.
pub type ClientResult<T> = Result<T, ClientError>;

/// A call that did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No answer, or one that says "not now". Says nothing about whether the call had its effect.
    #[error("{service} is unavailable: {cause}")]
    Unavailable {
        /// Which service.
        service: &'static str,
        /// What happened.
        cause: String,
    },
    /// An answer that we did not expect: the service, or what it knows, must change before a repetition can succeed.
    #[error("{service} answered {status}")]
    Refused {
        /// Which service.
        service: &'static str,
        /// HTTP status.
        status: u16,
    },
    /// The notification service has no template of this name; repeating cannot help.
    #[error("the notification service has no template {template}")]
    UnknownTemplate {
        /// Name of the template.
        template: String,
    },
}

impl ClientError {
    /// Whether no repetition can succeed.
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::UnknownTemplate { .. })
    }

    pub(crate) fn transport(service: &'static str, error: reqwest::Error) -> Self {
        let what = if error.is_timeout() {
            "no answer in time"
        } else if error.is_connect() {
            "cannot connect"
        } else if error.is_decode() || error.is_body() {
            "broken answer"
        } else {
            "request failed"
        };
        Self::Unavailable { service, cause: what.to_owned() }
    }

    pub(crate) fn status(service: &'static str, status: StatusCode) -> Self {
        let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
        if status.is_server_error() || later.contains(&status) {
            return Self::Unavailable { service, cause: format!("status {}", status.as_u16()) };
        }
        Self::Refused { service, status: status.as_u16() }
    }
}
