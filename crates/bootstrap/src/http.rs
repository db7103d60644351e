//! Outgoing HTTP.

use std::time::Duration;

/// A client whose every request ends within `timeout`, connecting included. It follows no redirects: our peers never send
/// any, and a redirect could lead a request with a secret elsewhere. It uses no proxy: all peers are on our own networks.
///
/// # Errors
/// The TLS back end could not be set up.
pub fn client(timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    crate::tls::install();
    reqwest::Client::builder()
        .timeout(timeout)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("instance-service/", env!("CARGO_PKG_VERSION")))
        .build()
}
