//! Whether a running process is still what a workload asks for.

use crate::error::RuntimeResult;
use crate::odoo_conf;
use crate::workload::Workload;
use sha2::{Digest, Sha256};

/// Digest of what a workload's process is started with. Digest, since configuration and environment hold secrets.
pub(crate) fn fingerprint(workload: &Workload) -> RuntimeResult<String> {
    let mut digest = Sha256::new();
    let mut part = |text: &str| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    };
    part(workload.image.as_str());
    part(&odoo_conf::body(workload)?);
    for (name, value) in &workload.environment {
        part(name.as_str());
        part(value);
    }
    Ok(hex::encode(digest.finalize()))
}
