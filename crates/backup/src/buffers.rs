//! Memory for pieces, used again. An allocator keeps what is given back for the thread that had asked for it; pieces come from many threads, and
//! each would keep some.

use crate::store::PIECE;
use bytes::Bytes;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is shorter is the allocator's.
const SHORT: usize = 128 * 1024;
/// So many are kept: one operation seldom has more in its hands.
const KEPT: usize = 6;

static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

fn free() -> MutexGuard<'static, Vec<Vec<u8>>> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes that are to be written.
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// So many; what they are nobody may rely on.
    pub(crate) fn of(length: usize) -> Self {
        let mut bytes = match length {
            0..SHORT => Vec::new(),
            _ => free().pop().unwrap_or_else(|| Vec::with_capacity(PIECE.max(length))),
        };
        bytes.resize(length, 0);
        Self(bytes)
    }

    /// The first of them, not to be changed any more.
    pub(crate) fn filled(mut self, length: usize) -> Bytes {
        self.0.truncate(length);
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.0.capacity() < PIECE {
            return;
        }
        let mut free = free();
        if free.len() < KEPT {
            free.push(std::mem::take(&mut self.0));
        }
    }
}
