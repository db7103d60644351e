//! Everything on postgres1, on a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test that cannot go on fails")]

mod acceptance;
mod billing_orders;
mod heartbeats;
mod idempotency;
mod instances;
mod legacy;
mod legacy_locks;
mod migrations;
mod outbox;
mod plans;
mod rig;
mod servers;
mod templates;
mod webhook_events;
