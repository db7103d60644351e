//! Randomness for passwords and ports, straight from the system.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::Read;

fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0_u8; N];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)).context("cannot read /dev/urandom")?;
    Ok(bytes)
}

/// A random number.
///
/// # Errors
/// When the system has no randomness to give.
pub fn number() -> Result<u64> {
    Ok(u64::from_le_bytes(bytes()?))
}

/// 32 random bytes, for keys.
///
/// # Errors
/// When the system has no randomness to give.
pub fn key() -> Result<[u8; 32]> {
    bytes()
}

/// A password of 40 hexadecimal digits: needs no quoting anywhere.
///
/// # Errors
/// When the system has no randomness to give.
pub fn password() -> Result<String> {
    Ok(bytes::<20>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A random UUID (version 4) as text.
///
/// # Errors
/// When the system has no randomness to give.
pub fn uuid() -> Result<String> {
    let mut bytes: [u8; 16] = bytes()?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok([&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-"))
}
