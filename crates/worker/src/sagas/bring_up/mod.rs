//! The steps that bring an instance with data up: database open, configuration written, service running, Odoo answering. What is missing
//! of its data is never made anew.

mod configuration;
mod if_it_shall_run;
mod open_database;
mod ready;
mod service;

pub(super) use configuration::Configuration;
pub(super) use if_it_shall_run::IfItShallRun;
pub(super) use open_database::OpenDatabase;
pub(super) use ready::{NOT_READY, Ready};
pub(super) use service::{NAME as SERVICE, RunService};
