//! Fetches an archive from a host that the configuration allows.

use crate::problem::Problem;
use crate::transfer::Incoming;
use bootstrap::http;
use url::Url;

/// Fetches what is at `url`, from one of `hosts` only.
///
/// # Errors
/// 422 for what is no such address; 400 for a host that is not allowed, and when it does not answer with a file; those of `file`.
pub(crate) async fn fetch(hosts: &[String], url: &str, file: &mut Incoming) -> Result<(), Problem> {
    let url = allowed(hosts, url)?;
    let client = http::stranger_client().map_err(Problem::fault)?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let failed = |error: http::Error| {
        // The address may hold a key.
        tracing::info!(host, error = %error.without_url(), "an archive could not be fetched");
        Problem::rule("The archive could not be fetched")
    };
    let mut answer = client.get(url).send().await.map_err(failed)?;
    if !answer.status().is_success() {
        let status = answer.status().as_u16();
        return Err(Problem::rule(format!("The archive could not be fetched: the other side answered {status}")));
    }
    while let Some(piece) = answer.chunk().await.map_err(failed)? {
        file.write(&piece).await?;
    }
    Ok(())
}

fn allowed(hosts: &[String], url: &str) -> Result<Url, Problem> {
    let wrong = |msg| Problem::invalid_field("body", "url", msg, "url_parsing");
    let url = Url::parse(url).map_err(|_| wrong("must be an address"))?;
    if url.scheme() != "https" || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must be an https address without a user"));
    }
    if hosts.is_empty() {
        return Err(Problem::rule("Archives are not fetched here; please send the archive itself"));
    }
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let named = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host,
    };
    if !hosts.contains(&named) {
        return Err(Problem::rule("Archives are not fetched from this host"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_is_fetched() {
        let hosts = ["files.example".to_owned(), "10.1.2.3:8443".to_owned()];
        for url in ["https://files.example/shop.zip?key=1", "https://FILES.example:443/x", "https://10.1.2.3:8443/x"] {
            assert!(allowed(&hosts, url).is_ok(), "{url}");
        }
        for (url, status) in [
            ("https://files.example:8443/x", 400),
            ("https://files.example.evil.example/x", 400),
            ("https://10.1.2.3/x", 400),
            ("https://169.254.169.254/latest/meta-data", 400),
            ("https://files.example@evil.example/x", 422),
            ("http://files.example/x", 422),
            ("file:///etc/passwd", 422),
            ("files.example/x", 422),
            ("", 422),
        ] {
            assert_eq!(allowed(&hosts, url).unwrap_err().status().as_u16(), status, "{url}");
        }
        assert_eq!(allowed(&[], "https://files.example/x").unwrap_err().status().as_u16(), 400);
    }
}
