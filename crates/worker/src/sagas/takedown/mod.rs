//! The steps that bring an instance down: service down or away, database closed. Already down, or gone, is done.

mod close_database;
mod remove_service;
mod stop_service;

pub(super) use close_database::CloseDatabase;
pub(super) use remove_service::RemoveService;
pub(super) use stop_service::StopService;

/// Why they have no undo where the row says so already.
pub(super) const FORWARD_ONLY: &str = "the row says already that the instance is out of service";
