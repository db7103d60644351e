//! What may be ordered, and under which address it will be served.

use super::reader::Reader;
use super::variables as v;
use domain::version::OdooVersion;

/// Versions that may be ordered.
#[derive(Clone, Debug)]
pub struct VersionSettings {
    /// Accepted majors.
    pub supported: Vec<OdooVersion>,
    /// Used when an order names none.
    pub default: OdooVersion,
}

impl VersionSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let supported = reader.parsed(&v::SUPPORTED_ODOO_VERSIONS, "a comma list of majors such as 17,18,19", |text| {
            let majors: Option<Vec<_>> = super::comma_list(text).iter().map(|major| OdooVersion::parse(major)).collect();
            majors.filter(|majors| !majors.is_empty())
        });
        let default = reader.parsed(&v::DEFAULT_ODOO_VERSION, "a major such as 17", OdooVersion::parse);
        if let (Some(supported), Some(default)) = (&supported, default)
            && !supported.contains(&default)
        {
            reader.problem(format!("DEFAULT_ODOO_VERSION {default} is not among SUPPORTED_ODOO_VERSIONS"));
        }
        Some(Self { supported: supported?, default: default? })
    }
}

/// Where instances are served.
#[derive(Clone, Debug)]
pub struct AddressSettings {
    /// Instances live at `<hostname>.<base_domain>`.
    pub base_domain: String,
    /// `http` or `https`.
    pub scheme: String,
}

impl AddressSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let base_domain = reader.parsed(&v::BASE_DOMAIN, "a domain name", domain_name);
        let scheme = reader
            .parsed(&v::INSTANCE_URL_SCHEME, "http or https", |text| matches!(text, "http" | "https").then(|| text.to_owned()));
        Some(Self { base_domain: base_domain?, scheme: scheme? })
    }
}

/// Most removals accepted within an hour; none for no limit.
pub(super) fn delete_brake(reader: &mut Reader<'_>) -> Option<Option<u32>> {
    let must = "a number from 0 to 100000";
    let brake = reader.parsed(&v::DELETE_BRAKE_PER_HOUR, must, |text| text.parse().ok().filter(|most: &u32| *most <= 100_000))?;
    Some((brake > 0).then_some(brake))
}

/// The reserved host names beside the built-in ones, in lower case.
pub(super) fn reserved_hostnames(reader: &mut Reader<'_>) -> Option<Vec<String>> {
    reader.parsed(&v::RESERVED_HOSTNAMES, "a comma list", |text| Some(super::comma_list(&text.to_ascii_lowercase())))
}

fn domain_name(text: &str) -> Option<String> {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    // With scheme and host name in front it has to fit into the column of the address.
    (text.len() <= 190 && text.split('.').all(label)).then(|| text.to_ascii_lowercase())
}
