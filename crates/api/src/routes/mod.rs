//! The routes, one file each. Paths are written without a trailing slash: the conventions take it off before routing.

mod admin_failed_instances;
mod admin_failed_mails;
mod admin_instance_jobs;
mod admin_instance_stats;
mod admin_retry_instance;
mod admin_retry_mail;
mod admin_retry_operation;
mod admin_suspend_instance;
mod admin_unsuspend_instance;
mod backup_delete;
mod backup_export;
mod backup_get;
mod backup_schedule;
mod backup_verify;
mod docs;
mod health;
mod health_database;
mod instance_action;
mod instance_apply_resources;
mod instance_backups;
mod instance_by_subscription;
mod instance_change;
mod instance_clone;
mod instance_create;
mod instance_delete;
mod instance_get;
mod instance_import;
mod instance_list;
mod instance_logs;
mod instance_provision;
mod instance_reactivate;
mod instance_status;
mod instance_undo_restore;
mod killbill_event;
mod livez;
mod metrics;
mod monitoring;
mod not_built;
mod openapi_json;
mod operation_cancel;
mod operation_events;
mod operation_get;
mod operation_list;
mod readyz;
mod root;
mod subdomain_check;

pub(crate) use operation_events::is_final;

use crate::conventions::BODY_LIMIT;
use crate::doors::{InternalDoor, TOKEN_HEADER};
use crate::measure::note_route;
use crate::problem::{PROBLEM_JSON, Problem, ProblemBody};
use crate::public_door::OPEN;
use crate::schema_gate::require_schema;
use crate::state::AppState;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use bootstrap::settings::AuthMode;
use std::collections::BTreeSet;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder, Schema};
use utoipa::{OpenApi, ToSchema as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Tags and words at the head of the description; the paths come from the handlers.
#[derive(OpenApi)]
#[openapi(
    info(title = "instance-service", description = "Hosted Odoo instances: order, provision, watch, delete.\n\n\
        Every POST takes an `Idempotency-Key`. The first answer is kept with it for 24 hours and repeated with \
        `Idempotency-Replayed: true`. Not kept are faults (5xx) and refusals of the form of a request (its JSON, its fields, its \
        path and query): the same request is refused so again."),
    tags(
        (name = "service", description = "The service itself"),
        (name = "instances", description = "One hosted Odoo each"),
        (name = "backups", description = "What an instance had, and the way back"),
        (name = "operations", description = "Work on an instance; `job_id` in other answers is the id of one"),
        (name = "billing", description = "What the billing engine pushes, on the internal door only"),
        (name = "administration", description = "For operators, on the internal door only"),
        (name = "monitoring", description = "What the workers see, on the internal door only"),
        (name = "not built", description = "Calls that this release answers with 501"),
    )
)]
struct Head;

/// The description of the API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut description = OpenApiRouter::<AppState>::with_openapi(Head::openapi()).merge(service()).merge(data()).into_openapi();
    every_call_may_fail(&mut description);
    not_built::describe(&mut description);
    describe_token(&mut description);
    close_answers(&mut description);
    description
}

/// An answer has the fields that are described and no others. Bodies of requests stay open: fields that nobody knows are ignored.
fn close_answers(description: &mut utoipa::openapi::OpenApi) {
    let mut asked = BTreeSet::new();
    for item in description.paths.paths.values() {
        for operation in [&item.put, &item.post, &item.patch].into_iter().flatten() {
            let Some(RefOr::T(body)) = &operation.request_body else { continue };
            for content in body.content.values() {
                if let RefOr::T(content) = content {
                    asked.extend(content.schema.iter().flat_map(named));
                }
            }
        }
    }
    for (name, schema) in &mut description.components.get_or_insert_default().schemas {
        if let RefOr::T(Schema::Object(object)) = schema
            && !asked.contains(name)
            && !object.properties.is_empty()
        {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}

/// The shapes that a body names: one, or one among others where it may be left out.
fn named(schema: &RefOr<Schema>) -> Vec<String> {
    match schema {
        RefOr::Ref(shape) => shape.ref_location.rsplit('/').next().map(str::to_owned).into_iter().collect(),
        RefOr::T(Schema::OneOf(one)) => one.items.iter().flat_map(named).collect(),
        RefOr::T(_) => Vec::new(),
    }
}

const TOKEN: &str = "internal_token";
const SESSION: &str = "session";

/// Which calls carry the internal token, by what the door demands: some once there is a token, the others in mode `all` only.
fn describe_token(description: &mut utoipa::openapi::OpenApi) {
    let words = "INTERNAL_API_TOKEN. Demanded of calls under /admin and /api/v1/monitoring once it is configured; in AUTH_MODE=all of \
                 every other call, too, except signs of life and the billing webhook.";
    let scheme = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(TOKEN_HEADER, words)));
    description.components.get_or_insert_default().add_security_scheme(TOKEN, scheme);
    let token = SecurityRequirement::new(TOKEN, Vec::<String>::new());
    let demands = |mode, path: &str| InternalDoor { mode, token: Some("any".into()) }.demands_token(path);
    for (path, item) in &mut description.paths.paths {
        let security = match (demands(AuthMode::Edge, path), demands(AuthMode::All, path)) {
            (true, _) => vec![token.clone()],
            (false, true) => vec![SecurityRequirement::default(), token.clone()],
            (false, false) => continue,
        };
        for operation in [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten() {
            operation.security = Some(security.clone());
        }
    }
    describe_session(description);
}

/// Which calls the public door opens to a customer who has logged in.
fn describe_session(description: &mut utoipa::openapi::OpenApi) {
    let words = "A customer's login session, on the public door. Every other call is closed there (403).";
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(words)).build();
    description.components.get_or_insert_default().add_security_scheme(SESSION, SecurityScheme::Http(scheme));
    for (path, item) in &mut description.paths.paths {
        let pattern = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/");
        for (method, operation) in [("GET", &mut item.get), ("POST", &mut item.post), ("PUT", &mut item.put)] {
            let Some(operation) = operation.as_mut().filter(|_| OPEN.contains(&(method, pattern.as_str()))) else { continue };
            operation.security.get_or_insert_default().push(SecurityRequirement::new(SESSION, Vec::<String>::new()));
            let door =
                [("401", "Public door: no session that counts"), ("403", "Public door: not for this customer, or closed there")];
            add_problems(operation, &door);
            if path.contains("/check-subdomain/") {
                add_problems(operation, &[("429", "Public door: more than 30 look-ups a minute in this session")]);
            }
        }
    }
}

/// What no handler names, since it may befall each: contract 3.1.
fn every_call_may_fail(description: &mut utoipa::openapi::OpenApi) {
    for (path, item) in &mut description.paths.paths {
        if !path.starts_with("/api/") && !path.starts_with("/admin/") {
            continue;
        }
        for operation in [&mut item.get, &mut item.delete].into_iter().flatten() {
            add_problems(operation, &[("500", "A fault of ours"), ("503", "Something that is needed is down or busy")]);
        }
        for operation in [&mut item.post, &mut item.put].into_iter().flatten() {
            let large = ("413", "The body is larger than 1 MiB");
            add_problems(operation, &[large, ("500", "A fault of ours"), ("503", "Something that is needed is down or busy")]);
        }
    }
}

fn add_problems(operation: &mut Operation, problems: &[(&str, &str)]) {
    for (status, words) in problems {
        let body = ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemBody::name()))).build();
        let response = ResponseBuilder::new().description(*words).content(PROBLEM_JSON, body).build();
        operation.responses.responses.entry((*status).to_owned()).or_insert_with(|| response.into());
    }
}

/// All routes without the conventions around them.
pub(crate) fn router(state: &AppState) -> Router {
    let (service, _) = service().split_for_parts();
    let (data, _) = data().split_for_parts();
    let data = data.route("/api/v1/instances/check-subdomain", get(subdomain_check::empty));
    let data = data.route_layer(from_fn_with_state(state.clone(), require_schema));
    service
        .route("/docs/{asset}", get(docs::asset))
        .merge(not_built::add(data))
        .fallback(|| async { Problem::of_status(StatusCode::NOT_FOUND) })
        .method_not_allowed_fallback(|| async { Problem::of_status(StatusCode::METHOD_NOT_ALLOWED) })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(note_route))
        .with_state(state.clone())
}

/// The service end points, which answer whatever the state of postgres1.
fn service() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(root::handler))
        .routes(routes!(health::handler))
        .routes(routes!(health_database::handler))
        .routes(routes!(livez::handler))
        .routes(routes!(readyz::handler))
        .routes(routes!(metrics::handler))
        .routes(routes!(openapi_json::handler))
        .routes(routes!(docs::page))
        .merge(monitoring::service())
}

/// Everything that reads or writes data.
fn data() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(instance_create::handler))
        .routes(routes!(instance_list::handler))
        .routes(routes!(instance_get::handler))
        .routes(routes!(instance_backups::handler))
        .routes(routes!(backup_get::handler, backup_delete::handler))
        .routes(routes!(backup_verify::handler))
        .routes(routes!(backup_export::handler))
        .merge(OpenApiRouter::new().routes(routes!(instance_import::handler)).layer(DefaultBodyLimit::disable()))
        .routes(routes!(backup_schedule::get, backup_schedule::put))
        .routes(routes!(instance_undo_restore::handler))
        .routes(routes!(instance_clone::handler))
        .routes(routes!(instance_change::handler))
        .routes(routes!(instance_delete::handler))
        .routes(routes!(instance_by_subscription::handler))
        .routes(routes!(subdomain_check::handler))
        .routes(routes!(instance_provision::handler))
        .routes(routes!(instance_status::handler))
        .routes(routes!(instance_logs::handler))
        .routes(routes!(instance_action::handler))
        .routes(routes!(instance_reactivate::handler))
        .routes(routes!(instance_apply_resources::handler))
        .routes(routes!(operation_list::handler))
        .routes(routes!(operation_get::handler))
        .routes(routes!(operation_events::handler))
        .routes(routes!(operation_cancel::handler))
        .routes(routes!(admin_failed_instances::handler))
        .routes(routes!(admin_failed_mails::handler))
        .routes(routes!(admin_retry_mail::handler))
        .routes(routes!(admin_instance_jobs::handler))
        .routes(routes!(admin_instance_stats::handler))
        .routes(routes!(admin_retry_instance::handler))
        .routes(routes!(admin_retry_operation::handler))
        .routes(routes!(admin_suspend_instance::handler))
        .routes(routes!(admin_unsuspend_instance::handler))
        .merge(monitoring::data())
        .routes(routes!(killbill_event::handler))
}
