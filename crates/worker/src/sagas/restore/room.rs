//! What a restore needs of its surroundings: room, and programs that fit the server.

use crate::engine::StepError;
use crate::sagas::errors::{NO_ROOM, SERVER_FULL};
use crate::sagas::site::Site;
use backup::tools::ClientTools;

const FULL: &str = "There is no room to restore this backup at the moment.";

/// Whether so many bytes can be written, with a tenth to spare.
pub(super) fn fits_into(free: u64, needed: u64) -> Result<(), StepError> {
    if free < needed.saturating_add(needed / 10) {
        return Err(StepError::permanent("no_room", FULL, format!("{needed} bytes are needed, {free} are free")));
    }
    Ok(())
}

/// No room ends a restore: while it waited, what it has made already would keep a disk full that others need as well.
pub(in crate::sagas) fn there_must_be_room(error: StepError) -> StepError {
    match error.code {
        NO_ROOM | SERVER_FULL => StepError::permanent("no_room", FULL, error.cause),
        _ => error,
    }
}

/// PostgreSQL's programs of the server's own major version: they read what those of an older one wrote.
/// `made` is the version of what wrote it, 0 if nobody knows it.
pub(in crate::sagas) async fn tools_for(site: &Site, made: u32) -> Result<ClientTools, StepError> {
    let here = site.server.admin_connection().await?.major_version().await?;
    if made > here {
        let public = format!("This backup was made with PostgreSQL {made}, and the database server runs PostgreSQL {here}.");
        return Err(StepError::permanent("newer_database_server", public.clone(), public));
    }
    Ok(ClientTools::find(here, &[]).await?)
}
