//! Ports for throw-away servers, kept for one owner while its server is down, too.
//!
//! A port that the system hands out for "0" lies in the range of outgoing connections, any of which may take it while
//! a test has its server stopped. So ports come from below that range, each reserved by a lock on a small file; the lock
//! goes with the process, however it ends.

use crate::random;
use anyhow::{Result, bail};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

const RANGE: Range<u16> = 10_000..20_000;

/// A loopback port that no other test uses while this value lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    // Held for its lock.
    _reservation: File,
}

impl Port {
    /// Reserves a port that nobody listens on.
    ///
    /// # Errors
    /// When the lock directory cannot be used, or every port is taken.
    pub fn reserve() -> Result<Self> {
        let directory = crate::seed::place("ports")?;
        let size = RANGE.end - RANGE.start;
        let first = random::number()? % u64::from(size);
        for step in 0..size {
            let number = RANGE.start + u16::try_from((first + u64::from(step)) % u64::from(size))?;
            let file = File::create(directory.join(number.to_string()))?;
            if file.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _reservation: file });
            }
        }
        bail!("no free port between {} and {}", RANGE.start, RANGE.end)
    }

    /// The number.
    pub const fn number(&self) -> u16 {
        self.number
    }
}
