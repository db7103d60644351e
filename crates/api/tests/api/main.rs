//! The API in process, against a real postgres1: one file an endpoint, and files for what all have in common.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod action_table;
mod admin;
mod archives;
mod backups;
mod conventions;
mod docs;
mod doors;
mod health;
mod health_database;
mod hostile_input;
mod idempotency;
mod instance_action;
mod instance_by_subscription;
mod instance_create;
mod instance_delete;
mod instance_get;
mod instance_lifecycle;
mod instance_list;
mod instance_logs;
mod instance_provision;
mod instance_status;
mod killbill_event;
mod load;
mod metrics;
mod monitoring;
mod not_built;
mod openapi;
mod operation_cancel;
mod operation_events;
mod operation_get;
mod operation_list;
mod platform_down;
mod public_door;
mod readyz;
mod rig;
mod root;
mod subdomain_check;
