//! The engine with toy sagas against a real postgres1. Names with a `T` in their comment are those of engine 4.

mod cancelling;
mod claiming;
mod failing;
mod queueing;
mod rig;
mod transport;
mod walking;
