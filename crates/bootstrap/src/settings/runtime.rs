//! What runs Odoo, and where its files are.

use super::BuiltIn;
use super::reader::Reader;
use super::transfer;
use super::variables as v;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// A driver of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Local processes.
    Process,
    /// One Docker host.
    Docker,
    /// Docker Swarm.
    Swarm,
    /// Kubernetes.
    Kubernetes,
    /// Scripted, for tests.
    Fake,
}

impl Driver {
    /// Every driver with its word.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::Process, "process"),
        (Self::Docker, "docker"),
        (Self::Swarm, "swarm"),
        (Self::Kubernetes, "kubernetes"),
        (Self::Fake, "fake"),
    ];
}

/// Who limits the disk use of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageQuota {
    /// CephFS, by its extended attribute.
    Ceph,
    /// Nobody.
    None,
}

/// Layout of the image that Odoo comes in (contract 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageProfile {
    /// `odoo`
    Official,
    /// The earlier service's.
    Bitnami,
}

impl ImageProfile {
    /// Its word, as stored in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Official => "official",
            Self::Bitnami => "bitnami",
        }
    }
}

/// Settings of the process driver.
#[derive(Clone, Debug)]
pub struct ProcessSettings {
    /// Launcher; `{version}` stands for the major.
    pub odoo_command: String,
    /// System user of Odoo when the worker is root.
    pub odoo_user: String,
    /// Odoo may run as the worker's own account, or as root.
    pub allow_own_account: bool,
    /// Ports of the instances.
    pub ports: RangeInclusive<u16>,
}

/// The runtime.
#[derive(Clone, Debug)]
pub struct RuntimeSettings {
    /// Which driver.
    pub driver: Driver,
    /// For [`Driver::Process`].
    pub process: ProcessSettings,
    /// For [`Driver::Fake`]; set whenever that driver is chosen.
    pub fake_socket: Option<PathBuf>,
    /// Root of the data directories.
    pub instances_path: PathBuf,
    /// Root of the backups.
    pub backups_path: PathBuf,
    /// Where archives are handed over to and from the API.
    pub transfer_path: PathBuf,
    /// Disk limits.
    pub quota: StorageQuota,
    /// For new instances.
    pub image_profile: ImageProfile,
    /// Image pattern of that profile.
    pub image_pattern: String,
    /// Network of the tenants.
    pub tenant_network: String,
}

impl RuntimeSettings {
    pub(super) fn read(reader: &mut Reader<'_>, built_in: BuiltIn) -> Option<Self> {
        let driver = driver(reader, built_in.drivers);
        let process = process(reader);
        let fake_socket = reader.optional(&v::FAKE_RUNTIME_SOCKET).map(PathBuf::from);
        if driver == Some(Driver::Fake) && fake_socket.is_none() {
            reader.problem("RUNTIME=fake needs FAKE_RUNTIME_SOCKET");
        }
        reader.optional(&v::DOCKER_HOST);
        let instances_path = directory(reader, &v::CEPHFS_INSTANCES_PATH);
        let backups_path = directory(reader, &v::CEPHFS_BACKUPS_PATH);
        let transfer_path = transfer::path(reader, backups_path.as_deref());
        let quota = quota(reader, built_in.quotas);
        let image = image(reader);
        let tenant_network = tenant_network(reader);
        let (image_profile, image_pattern) = image?;
        Some(Self {
            driver: driver?,
            process: process?,
            fake_socket,
            instances_path: instances_path?,
            backups_path: backups_path?,
            transfer_path: transfer_path?,
            quota: quota?,
            image_profile,
            image_pattern,
            tenant_network: tenant_network?,
        })
    }
}

fn driver(reader: &mut Reader<'_>, built_in: &[Driver]) -> Option<Driver> {
    let driver = reader.parsed(&v::RUNTIME, "one of process, docker, swarm, kubernetes, fake", |text| {
        Driver::ALL.iter().find(|(_, word)| *word == text).map(|(driver, _)| *driver)
    })?;
    if !built_in.contains(&driver) {
        let word = |wanted: &Driver| Driver::ALL.iter().find(|(d, _)| d == wanted).map_or("", |(_, word)| *word);
        let offered: Vec<&str> = built_in.iter().map(word).collect();
        reader.problem(format!("RUNTIME={} is not built in; this build offers: {}", word(&driver), offered.join(", ")));
        return None;
    }
    Some(driver)
}

fn quota(reader: &mut Reader<'_>, built_in: bool) -> Option<StorageQuota> {
    let quota = reader.parsed(&v::STORAGE_QUOTA, "one of ceph, none", |text| match text {
        "ceph" => Some(StorageQuota::Ceph),
        "none" => Some(StorageQuota::None),
        _ => None,
    })?;
    if quota == StorageQuota::Ceph && !built_in {
        reader.problem("this build sets no disk quotas: set STORAGE_QUOTA=none");
    }
    Some(quota)
}

fn process(reader: &mut Reader<'_>) -> Option<ProcessSettings> {
    // Without the placeholder every version would run on one and the same Odoo.
    let odoo_command = reader.parsed(&v::PROCESS_ODOO_COMMAND, "an absolute path with `{version}` in it", |text| {
        (text.starts_with('/') && text.contains("{version}")).then(|| text.to_owned())
    });
    let odoo_user = reader.text(&v::PROCESS_ODOO_USER);
    let allow_own_account = reader.switch(&v::PROCESS_ALLOW_OWN_ACCOUNT);
    let ports = reader.parsed(&v::PROCESS_PORT_RANGE, "two ports from 1024 on, such as 20000-29999", |text| {
        let (first, last) = text.split_once('-')?;
        let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first >= 1024 && first <= last).then_some(first..=last)
    });
    Some(ProcessSettings {
        odoo_command: odoo_command?,
        odoo_user: odoo_user?,
        allow_own_account: allow_own_account?,
        ports: ports?,
    })
}

fn image(reader: &mut Reader<'_>) -> Option<(ImageProfile, String)> {
    let profile = reader.parsed(&v::ODOO_IMAGE_PROFILE, "one of official, bitnami", |text| match text {
        "official" => Some(ImageProfile::Official),
        "bitnami" => Some(ImageProfile::Bitnami),
        _ => None,
    });
    let official = reader.text(&v::ODOO_IMAGE_OFFICIAL);
    let bitnami = reader.text(&v::ODOO_IMAGE_BITNAMI);
    let profile = profile?;
    Some((profile, if profile == ImageProfile::Official { official? } else { bitnami? }))
}

fn tenant_network(reader: &mut Reader<'_>) -> Option<String> {
    let tenants = reader.text(&v::ODOO_NETWORK_NAME);
    let platform = reader.text(&v::PLATFORM_NETWORK_NAME);
    let allowed = reader.switch(&v::ALLOW_TENANTS_ON_PLATFORM_NETWORK);
    if tenants.is_some() && tenants == platform {
        match allowed {
            Some(true) => reader.warn("tenants are on the platform's network: their code can reach postgres1 and this service"),
            Some(false) => reader.problem(
                "ODOO_NETWORK_NAME equals PLATFORM_NETWORK_NAME; set ALLOW_TENANTS_ON_PLATFORM_NETWORK=true to permit it",
            ),
            None => {}
        }
    }
    tenants
}

pub(super) fn directory(reader: &mut Reader<'_>, variable: &v::Variable) -> Option<PathBuf> {
    reader.parsed(variable, "an absolute path", |text| {
        let path = PathBuf::from(text);
        (path.is_absolute() && path.parent().is_some()).then_some(path)
    })
}
