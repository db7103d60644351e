//! Outgoing HTTP.

pub use reqwest::Error;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
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

/// How long another side may say nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// A client for hosts that are not ours: by `https` only, without redirects, and only where a name stands for public addresses. An address
/// in the place of a name is not looked up: whoever allows it has meant it.
///
/// # Errors
/// The TLS back end could not be set up.
pub fn stranger_client() -> Result<reqwest::Client, reqwest::Error> {
    crate::tls::install();
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(SILENCE)
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(Arc::new(PublicNames))
        .user_agent(concat!("instance-service/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Looks names up, and leaves out what is not public.
struct PublicNames;

impl Resolve for PublicNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("the name has no public address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public Internet (IANA special-purpose address registries).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let is_special = matches!(
                (a, b),
                (0 | 10 | 127 | 224.., _) | (100, 64..=127) | (169, 254) | (172, 16..=31) | (192, 168) | (198, 18 | 19)
            ) || matches!((a, b, c), (192, 0, 0 | 2) | (192, 88, 99) | (198, 51, 100) | (203, 0, 113));
            !is_special
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            // Global unicast, without Teredo and other protocols' own, documentation, and 6to4, which leads to any IPv4 address.
            (0x2000..0x4000).contains(&a) && !(a == 0x2001 && (b < 0x200 || b == 0xdb8)) && a != 0x2002 && a != 0x3fff
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_public_is_known() {
        for public in ["1.1.1.1", "172.32.0.1", "100.63.0.1", "203.0.114.1", "2606:4700::1111", "2a00:1450::1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for special in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(special.parse().unwrap()), "{special}");
        }
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_not_looked_up() {
        let asked = stranger_client().unwrap().get("https://localhost:1/").send().await.unwrap_err();
        assert!(format!("{asked:?}").contains("no public address"), "{asked:?}");
        let plain = stranger_client().unwrap().get("http://1.1.1.1/").send().await.unwrap_err();
        assert!(plain.is_builder(), "{plain:?}");
    }
}
