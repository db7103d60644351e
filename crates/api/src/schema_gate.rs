//! Serves data only while the schema of postgres1 is one that this build knows (contract 10).

use crate::problem::Problem;
use crate::state::AppState;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use db::migrate::{self, SchemaState};
use db::{DbResult, platform::PlatformDb};
use std::sync::atomic::{AtomicBool, Ordering};

/// Remembers whether the schema was seen to fit. Only a good answer is remembered: until then each request asks.
#[derive(Debug, Default)]
pub struct SchemaGate {
    fits: AtomicBool,
}

impl SchemaGate {
    /// A gate that has not looked yet.
    pub const fn new() -> Self {
        Self { fits: AtomicBool::new(false) }
    }

    /// Looks at the schema and remembers what it saw.
    ///
    /// # Errors
    /// postgres1 cannot be asked; what was known before stays.
    pub async fn look(&self, db: &PlatformDb) -> DbResult<SchemaState> {
        let state = migrate::schema_state(db).await?;
        self.fits.store(state == SchemaState::Fits, Ordering::Relaxed);
        Ok(state)
    }

    fn is_known_to_fit(&self) -> bool {
        self.fits.load(Ordering::Relaxed)
    }
}

/// Refuses a request for data while the schema does not fit.
///
/// # Errors
/// 503 when it does not fit or postgres1 cannot be asked.
pub async fn require_schema(State(state): State<AppState>, request: Request, next: Next) -> Result<Response, Problem> {
    if !state.schema().is_known_to_fit() {
        let look = state.schema().look(state.db()).await;
        match look.map_err(|error| Problem::unavailable("The service is not available at the moment").because(error))? {
            SchemaState::Fits => {}
            SchemaState::TooOld => return Err(Problem::unavailable("The database is being upgraded")),
            SchemaState::TooNew => return Err(Problem::unavailable("The service is being upgraded")),
        }
    }
    Ok(next.run(request).await)
}
