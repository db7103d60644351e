//! The engine with toy sagas against a real postgres1. Names with a `T` in their comment are those of engine 4.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cancelling;
mod claiming;
mod failing;
#[cfg(feature = "faults")]
mod proving;
mod queueing;
mod rig;
mod transport;
mod walking;
