//! The keys that seal stored secrets.

use super::reader::Reader;
use super::variables::{self as v, Variable};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretBox, SecretString};

/// A key of 32 bytes.
pub type SealingKey = SecretBox<[u8; 32]>;

/// Keys for secrets at rest.
#[derive(Debug)]
pub struct SealingSettings {
    /// Seals, and opens what it sealed.
    pub current: SealingKey,
    /// Only opens, while secrets are rotated.
    pub previous: Option<SealingKey>,
}

impl SealingSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let current = reader.secret(&v::INSTANCE_SECRETS_KEY);
        let current = current.and_then(|text| key(reader, &v::INSTANCE_SECRETS_KEY, &text));
        let previous = match reader.optional_secret(&v::INSTANCE_SECRETS_KEY_PREVIOUS) {
            Some(text) => key(reader, &v::INSTANCE_SECRETS_KEY_PREVIOUS, &text).map(Some),
            None => Some(None),
        };
        Some(Self { current: current?, previous: previous? })
    }
}

fn key(reader: &mut Reader<'_>, variable: &Variable, text: &SecretString) -> Option<SealingKey> {
    let bytes: Option<[u8; 32]> = STANDARD.decode(text.expose_secret().trim()).ok().and_then(|bytes| bytes.try_into().ok());
    if bytes.is_none() {
        reader.problem(format!("{} must be 32 bytes in base64", variable.name));
    }
    bytes.map(|bytes| SecretBox::new(Box::new(bytes)))
}
