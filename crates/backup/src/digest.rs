//! Checksums. SHA-256 for what we store (FIPS 180-4); SHA-1 only because Odoo names the files of its filestore by it (`ir_attachment`).

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// A sum that is being computed.
pub(crate) struct Summing(Context);

impl Summing {
    pub(crate) fn sha256() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(crate) fn sha1() -> Self {
        Self(Context::new(&SHA1_FOR_LEGACY_USE_ONLY))
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }

    /// In lower-case hexadecimal digits.
    pub(crate) fn hex(self) -> String {
        hex::encode(self.bytes())
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let mut sum = Summing::sha256();
    sum.add(bytes);
    sum.hex()
}
