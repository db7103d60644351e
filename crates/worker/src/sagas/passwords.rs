//! Passwords (contract 13.4): how they are drawn, and how they rest in a journal until they are used.

use super::Tools;
use super::errors::inconsistent;
use crate::engine::{Cx, StepError};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use db::secrets::Aad;
use domain::sources::Entropy;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Letters and digits that are told apart when read aloud, and signs that every keyboard has.
const CLASSES: [&[u8]; 4] = [b"ABCDEFGHJKLMNPQRSTUVWXYZ", b"abcdefghijkmnpqrstuvwxyz", b"23456789", b"!@#$*-_+="];
const ADMIN_LENGTH: usize = 10;

/// A sealed text as it rests in the journal, bound to its operation and its use.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Sealed(String);

impl Sealed {
    pub(super) fn new(cx: &Cx, tools: &Tools, field: &'static str, secret: &SecretString) -> Result<Self, StepError> {
        let sealed = tools.keyring.seal(&aad(cx, field), secret.expose_secret().as_bytes(), &*cx.services().entropy);
        sealed.map(|bytes| Self(STANDARD.encode(bytes))).map_err(inconsistent)
    }

    pub(super) fn open(&self, cx: &Cx, tools: &Tools, field: &'static str) -> Result<SecretString, StepError> {
        let bytes = STANDARD.decode(&self.0).map_err(inconsistent)?;
        tools.keyring.open_text(&aad(cx, field), &bytes).map_err(inconsistent)
    }
}

fn aad(cx: &Cx, field: &'static str) -> Aad {
    Aad { table: "operation_steps", column: field, row: cx.operation().id.as_uuid() }
}

/// A new database password: 32 random bytes.
pub(super) fn database_password(entropy: &dyn Entropy) -> SecretString {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    entropy.fill(bytes.as_mut());
    URL_SAFE_NO_PAD.encode(bytes.as_ref()).into()
}

/// A new salt.
pub(super) fn salt(entropy: &dyn Entropy) -> db::odoo::Salt {
    let mut salt = db::odoo::Salt::default();
    entropy.fill(&mut salt);
    salt
}

/// A new password for Odoo's administrator: ten characters, at least one of each class, in random order.
pub(super) fn admin_password(entropy: &dyn Entropy) -> SecretString {
    let all: Vec<u8> = CLASSES.concat();
    let mut chosen = Zeroizing::new(Vec::with_capacity(ADMIN_LENGTH));
    for class in CLASSES {
        chosen.push(class[below(class.len(), entropy)]);
    }
    while chosen.len() < ADMIN_LENGTH {
        chosen.push(all[below(all.len(), entropy)]);
    }
    for last in (1..chosen.len()).rev() {
        chosen.swap(last, below(last + 1, entropy));
    }
    chosen.iter().map(|byte| char::from(*byte)).collect::<String>().into()
}

/// An evenly distributed number below `bound`, which is at most 256.
fn below(bound: usize, entropy: &dyn Entropy) -> usize {
    loop {
        let mut byte = [0_u8];
        entropy.fill(&mut byte);
        let number = usize::from(byte[0]);
        // The highest values would make the first numbers more likely than the others.
        if number < 256 / bound * bound {
            return number % bound;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A well-mixed sequence (splitmix64), the same in each run.
    struct Sequence(AtomicU64);

    impl Entropy for Sequence {
        fn fill(&self, bytes: &mut [u8]) {
            for byte in bytes {
                let mut z = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
                z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                *byte = (z ^ (z >> 31)).to_le_bytes()[0];
            }
        }
    }

    #[test]
    fn every_admin_password_has_all_classes_and_no_look_alikes() {
        let entropy = Sequence(AtomicU64::new(7));
        let mut places = [[false; ADMIN_LENGTH]; CLASSES.len()];
        for _ in 0..2_000 {
            let password = admin_password(&entropy);
            let text = password.expose_secret().as_bytes();
            assert_eq!(text.len(), ADMIN_LENGTH);
            for (class, seen) in CLASSES.iter().zip(&mut places) {
                assert!(text.iter().any(|byte| class.contains(byte)));
                text.iter().zip(seen).for_each(|(byte, seen)| *seen |= class.contains(byte));
            }
            assert!(!text.iter().any(|byte| b"IOlo01".contains(byte)));
        }
        assert_eq!(places, [[true; ADMIN_LENGTH]; CLASSES.len()], "every class turns up in every place");
    }

    #[test]
    fn numbers_are_even() {
        let entropy = Sequence(AtomicU64::new(7));
        let mut counts = [0_u32; 9];
        for _ in 0..90_000 {
            counts[below(9, &entropy)] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn database_passwords_differ_and_need_no_quoting() {
        let entropy = Sequence(AtomicU64::new(7));
        let (one, other) = (database_password(&entropy), database_password(&entropy));
        assert_ne!(one.expose_secret(), other.expose_secret());
        assert_eq!(one.expose_secret().len(), 43);
        assert!(one.expose_secret().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
    }
}
