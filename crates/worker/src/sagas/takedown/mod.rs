//! The steps that terminate and delete share: service away, database closed. Already gone is done.

mod close_database;
mod remove_service;

pub(super) use close_database::CloseDatabase;
pub(super) use remove_service::RemoveService;

/// Why these steps have no undo.
pub(super) const FORWARD_ONLY: &str = "the row says already that the instance is out of service";
