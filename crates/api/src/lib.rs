//! The HTTP API of the service: intent in, answers out. It works on postgres1 alone and waits for nothing else.
//!
//! Owns: the routes, the conventions every answer keeps ([`conventions`]), the error format ([`problem`]), the two doors
//! ([`doors`], [`public_door`]), the description of the API. Leaves to others: what is legal (`domain`), what is written (`db`), and doing
//! it (the worker).
//!
//! To add an endpoint: one file under `routes/` with its documentation and its handler, one line in `routes::data`, one
//! file under `tests/`. Whatever changes something is a [`change::Change`], so that `Idempotency-Key`, transaction and
//! retry come by themselves. Then write the new description (`cargo dev openapi`) and look at what has changed in it.

pub mod caller;
pub mod change;
pub mod conventions;
pub mod cors;
pub mod doors;
mod errand;
pub mod feed;
mod fields;
mod foreign;
mod input;
pub mod measure;
mod order_body;
pub mod problem;
pub mod public_door;
mod routes;
pub mod schema_gate;
pub mod serve;
mod shapes;
pub mod state;
mod transfer;

pub use routes::openapi;

use axum::Router;
use doors::Listener;
use state::AppState;

/// The router of the internal door.
pub fn app(state: &AppState) -> Router {
    conventions::wrap(state, Listener::Internal, routes::router(state))
}

/// The router of the public door's own listener.
pub fn public_app(state: &AppState) -> Router {
    conventions::wrap(state, Listener::Public, routes::router(state))
}
