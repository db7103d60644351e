//! Passwords in the forms that servers store: nothing here leaves a password in clear anywhere.
//!
//! Both functions stretch keys and take from milliseconds to half a second of CPU: call [`odoo_hash`] off the async threads.

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use std::num::NonZeroU32;
use zeroize::Zeroizing;

/// PostgreSQL's own number of rounds (`SCRAM_SHA_256_DEFAULT_ITERATIONS`).
#[allow(clippy::unwrap_used, reason = "evaluated by the compiler")]
const SCRAM_ROUNDS: NonZeroU32 = NonZeroU32::new(4096).unwrap();
/// What Odoo 19 asks for; a weaker hash would be rewritten at the first login.
#[allow(clippy::unwrap_used, reason = "evaluated by the compiler")]
const ODOO_ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();

/// Salt of a password hash.
pub type Salt = [u8; 16];

/// What PostgreSQL stores instead of a password. Enough to check a login, and so not for logs.
#[derive(Clone)]
pub struct ScramVerifier(Zeroizing<String>);

impl std::fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramVerifier([REDACTED])")
    }
}

impl ScramVerifier {
    /// The verifier of `password` in PostgreSQL's notation (RFC 5803, RFC 7677), which the server stores unchanged.
    pub fn derive(password: &SecretString, salt: Salt) -> Self {
        let mut salted = Zeroizing::new([0_u8; 32]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, SCRAM_ROUNDS, &salt, password.expose_secret().as_bytes(), salted.as_mut());
        let key = hmac::Key::new(hmac::HMAC_SHA256, salted.as_ref());
        let client_key = hmac::sign(&key, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let server_key = hmac::sign(&key, b"Server Key");
        Self(Zeroizing::new(format!(
            "SCRAM-SHA-256${SCRAM_ROUNDS}:{}${}:{}",
            STANDARD.encode(salt),
            STANDARD.encode(stored_key),
            STANDARD.encode(server_key)
        )))
    }

    /// For the statement that stores it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The hash of an Odoo user's password as passlib's `pbkdf2_sha512` writes it: base64 without padding, `.` for `+`.
pub fn odoo_hash(password: &SecretString, salt: Salt) -> String {
    let mut key = Zeroizing::new([0_u8; 64]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, ODOO_ROUNDS, &salt, password.expose_secret().as_bytes(), key.as_mut());
    format!("$pbkdf2-sha512${ODOO_ROUNDS}${}${}", adapted_base64(&salt), adapted_base64(key.as_ref()))
}

fn adapted_base64(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes).replace('+', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677 chapter 3: user `user`, password `pencil`. The proof and the signature there follow from
    /// the stored and the server key, so a verifier that yields both is right.
    #[test]
    fn verifier_yields_the_signatures_of_rfc_7677() {
        let salt: Salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        let verifier = ScramVerifier::derive(&"pencil".into(), salt);
        let (_, keys) = verifier.as_str().rsplit_once('$').unwrap();
        let (stored_key, server_key) = keys.split_once(':').unwrap();
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

        let server_key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(server_key).unwrap());
        let signature = STANDARD.encode(hmac::sign(&server_key, message.as_bytes()));
        assert_eq!(signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");

        let stored_key = STANDARD.decode(stored_key).unwrap();
        let client_signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &stored_key), message.as_bytes());
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let client_key: Vec<u8> = proof.iter().zip(client_signature.as_ref()).map(|(a, b)| a ^ b).collect();
        assert_eq!(digest::digest(&digest::SHA256, &client_key).as_ref(), stored_key);
    }

    #[test]
    fn odoo_hash_has_the_form_and_the_key_that_passlib_writes() {
        // Computed with Python: hashlib.pbkdf2_hmac('sha512', b'S3cret-pass', bytes(range(16)), 600000).
        let hash = odoo_hash(&"S3cret-pass".into(), std::array::from_fn(|i| i as u8));
        assert_eq!(hash.len(), 131);
        assert_eq!(
            hash,
            "$pbkdf2-sha512$600000$AAECAwQFBgcICQoLDA0ODw$sSqpBdRYTiqLq7xDsLVYaMc8oShXyhXmW8Wu1wxz8HJx.RWuONqLSjGJh/vYUZCBB7YcgMa7NXj.Xfk18hNUzQ"
        );
    }

    #[test]
    fn debug_output_shows_nothing() {
        let verifier = ScramVerifier::derive(&"pencil".into(), [7; 16]);
        assert_eq!(format!("{verifier:?}"), "ScramVerifier([REDACTED])");
    }
}
