//! worker
pub mod engine;
pub mod services;
