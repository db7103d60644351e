//! Secrets at rest: AES-256-GCM, bound to the place where they are stored (contract 13.4).
//!
//! Owns: the keys and the sealed form `key id (4) | nonce (12) | ciphertext and tag`. The place (table, column, row) is
//! authenticated with it, so that a sealed value copied to another row does not open there.
//! Leaves to others: which value is secret, and where the keys come from.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use domain::sources::Entropy;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::{Digest, Sha256};
use std::fmt;
use uuid::Uuid;
use zeroize::Zeroizing;

const KEY_LENGTH: usize = 32;
const KEY_ID_LENGTH: usize = 4;
const NONCE_LENGTH: usize = 12;

/// Where a sealed value lives. A value sealed for one place does not open at another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aad {
    /// Table name.
    pub table: &'static str,
    /// Column name.
    pub column: &'static str,
    /// Primary key of the row.
    pub row: Uuid,
}

impl Aad {
    fn bytes(&self) -> Vec<u8> {
        // Names hold no NUL and the id has a fixed length, so no two places give the same bytes.
        [self.table.as_bytes(), b"\0", self.column.as_bytes(), b"\0", self.row.as_bytes()].concat()
    }
}

/// Why a secret cannot be sealed or opened. Never carries any part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Sealed with a key that is neither the current nor the previous one.
    #[error("sealed with a key that is not configured")]
    UnknownKey,
    /// Cut short, changed, or moved here from another place.
    #[error("the sealed value is damaged or belongs elsewhere")]
    Damaged,
    /// Opened, but not text.
    #[error("the opened value is not text")]
    NotText,
    /// Longer than the cipher takes.
    #[error("too long to be sealed")]
    TooLong,
}

struct SealingKey {
    id: [u8; KEY_ID_LENGTH],
    cipher: Aes256Gcm,
}

impl SealingKey {
    fn new(key: &SecretBox<[u8; KEY_LENGTH]>) -> Self {
        let key = key.expose_secret();
        // The id only tells two keys apart. Four bytes of a hash of 256 random bits say nothing about them.
        let digest = Sha256::digest(key);
        let mut id = [0; KEY_ID_LENGTH];
        id.copy_from_slice(&digest[..KEY_ID_LENGTH]);
        Self { id, cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)) }
    }
}

/// The configured keys. The current one seals; both open.
pub struct Keyring {
    current: SealingKey,
    previous: Option<SealingKey>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("rotating", &self.previous.is_some()).finish_non_exhaustive()
    }
}

impl Keyring {
    /// The keyring of the configured keys.
    pub fn new(current: &SecretBox<[u8; KEY_LENGTH]>, previous: Option<&SecretBox<[u8; KEY_LENGTH]>>) -> Self {
        Self { current: SealingKey::new(current), previous: previous.map(SealingKey::new) }
    }

    /// Seals `plain` for `place` with the current key. The nonce comes from `entropy`.
    ///
    /// # Errors
    /// [`SecretError::TooLong`] beyond 64 GiB.
    pub fn seal(&self, place: &Aad, plain: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, SecretError> {
        let mut nonce = [0_u8; NONCE_LENGTH];
        entropy.fill(&mut nonce);
        let sealed = self
            .current
            .cipher
            .encrypt(&Nonce::from(nonce), Payload { msg: plain, aad: &place.bytes() })
            .map_err(|_| SecretError::TooLong)?;
        Ok([self.current.id.as_slice(), &nonce, &sealed].concat())
    }

    /// Opens what was sealed for `place`, with the key it was sealed with.
    ///
    /// # Errors
    /// [`SecretError::UnknownKey`] or [`SecretError::Damaged`].
    pub fn open(&self, place: &Aad, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let (id, rest) = sealed.split_first_chunk::<KEY_ID_LENGTH>().ok_or(SecretError::Damaged)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LENGTH>().ok_or(SecretError::Damaged)?;
        let key = [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|key| key.id == *id)
            .ok_or(SecretError::UnknownKey)?;
        key.cipher
            .decrypt(&Nonce::from(*nonce), Payload { msg: body, aad: &place.bytes() })
            .map(Zeroizing::new)
            .map_err(|_| SecretError::Damaged)
    }

    /// Opens a sealed text.
    ///
    /// # Errors
    /// As [`Keyring::open`], and [`SecretError::NotText`].
    pub fn open_text(&self, place: &Aad, sealed: &[u8]) -> Result<SecretString, SecretError> {
        let plain = self.open(place, sealed)?;
        std::str::from_utf8(&plain).map(SecretString::from).map_err(|_| SecretError::NotText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(std::sync::atomic::AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        }
    }

    fn entropy() -> Counting {
        Counting(std::sync::atomic::AtomicU8::new(1))
    }

    fn key(byte: u8) -> SecretBox<[u8; KEY_LENGTH]> {
        SecretBox::new(Box::new([byte; KEY_LENGTH]))
    }

    fn ring(current: u8, previous: Option<u8>) -> Keyring {
        Keyring::new(&key(current), previous.map(key).as_ref())
    }

    const PLACE: Aad = Aad { table: "instances", column: "db_secret", row: Uuid::from_u128(7) };

    #[test]
    fn opens_what_it_sealed_and_seals_differently_each_time() {
        let ring = ring(1, None);
        let entropy = entropy();
        let first = ring.seal(&PLACE, b"text", &entropy).unwrap();
        let second = ring.seal(&PLACE, b"text", &entropy).unwrap();
        assert_ne!(first, second);
        assert_eq!(ring.open_text(&PLACE, &first).unwrap().expose_secret(), "text");
        assert!(!first.windows(4).any(|window| window == b"text"));
    }

    #[test]
    fn is_bound_to_its_place() {
        let ring = ring(1, None);
        let sealed = ring.seal(&PLACE, b"text", &entropy()).unwrap();
        for other in
            [Aad { table: "outbox", ..PLACE }, Aad { column: "other", ..PLACE }, Aad { row: Uuid::from_u128(8), ..PLACE }]
        {
            assert_eq!(ring.open(&other, &sealed).unwrap_err(), SecretError::Damaged);
        }
    }

    #[test]
    fn any_flipped_or_missing_byte_is_noticed() {
        let ring = ring(1, None);
        let sealed = ring.seal(&PLACE, b"text", &entropy()).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(ring.open(&PLACE, &changed).is_err(), "byte {at}");
            assert!(ring.open(&PLACE, &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_previous_key_opens_and_never_seals() {
        let old = ring(1, None).seal(&PLACE, b"text", &entropy()).unwrap();
        let rotating = ring(2, Some(1));
        assert_eq!(rotating.open(&PLACE, &old).unwrap().as_slice(), b"text");
        let new = rotating.seal(&PLACE, b"text", &entropy()).unwrap();
        assert_eq!(ring(1, None).open(&PLACE, &new).unwrap_err(), SecretError::UnknownKey);
        assert_eq!(ring(2, None).open(&PLACE, &old).unwrap_err(), SecretError::UnknownKey);
        assert_eq!(ring(2, None).open(&PLACE, &new).unwrap().as_slice(), b"text");
    }
}
