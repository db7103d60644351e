//! `/api/v1/monitoring` (contract 8.5), on the internal door only. This process looks at nothing itself: what it tells is what workers
//! keep on postgres1, and what nobody measured is null.

mod config;
mod containers;
mod health;
mod metrics;
mod reconcile;
mod sight;
mod status;
mod switch;
mod sync;
mod task;

use crate::state::AppState;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Those that need the schema.
pub(super) fn data() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(status::handler))
        .routes(routes!(switch::start))
        .routes(routes!(switch::stop))
        .routes(routes!(switch::restart))
        .routes(routes!(reconcile::handler))
        .routes(routes!(containers::list))
        .routes(routes!(containers::get))
        .routes(routes!(sync::handler))
        .routes(routes!(metrics::handler))
        .routes(routes!(config::get, config::put))
        .routes(routes!(task::handler))
}

/// The one that answers whatever the state of postgres1.
pub(super) fn service() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(health::handler))
}
