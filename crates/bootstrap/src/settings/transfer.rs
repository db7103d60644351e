//! Where API and workers hand each other archives, and what may be brought.

use super::reader::Reader;
use super::runtime::directory;
use super::variables as v;
use domain::backup::transfer::DIRECTORY;
use std::path::{Path, PathBuf};

/// What the API takes in and hands out.
#[derive(Clone, Debug)]
pub struct TransferSettings {
    /// The directory that it shares with the workers.
    pub path: PathBuf,
    /// Largest archive that can be brought, in bytes.
    pub largest: u64,
    /// From where archives may be fetched: `host` or `host:port`, in lower case.
    pub hosts: Vec<String>,
}

impl TransferSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let backups = directory(reader, &v::CEPHFS_BACKUPS_PATH);
        let path = path(reader, backups.as_deref());
        let largest: Option<u32> = reader.number(&v::BACKUP_IMPORT_MAX_MIB, 1..=16 * 1024 * 1024);
        let hosts = reader.parsed(&v::BACKUP_IMPORT_HOSTS, "a comma list of hosts, each with or without a port", hosts);
        Some(Self { path: path?, largest: u64::from(largest?) * 1024 * 1024, hosts: hosts? })
    }
}

/// The directory that API and workers share.
pub(super) fn path(reader: &mut Reader<'_>, backups: Option<&Path>) -> Option<PathBuf> {
    let own = reader.parsed_optional(&v::BACKUP_TRANSFER_PATH, "an absolute path", |text| {
        let path = PathBuf::from(text);
        (path.is_absolute() && path.parent().is_some()).then_some(path)
    })?;
    own.or_else(|| backups.map(|backups| backups.join(DIRECTORY)))
}

fn hosts(text: &str) -> Option<Vec<String>> {
    let hosts = super::comma_list(&text.to_ascii_lowercase());
    let is_host = |host: &String| {
        let (name, port) = host.rsplit_once(':').map_or((host.as_str(), None), |(name, port)| (name, Some(port)));
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
        is_name && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
    };
    hosts.iter().all(is_host).then_some(hosts)
}
