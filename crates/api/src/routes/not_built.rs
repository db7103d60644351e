//! Calls of the contract that this release does not serve: they exist with their methods and answer 501, so that a client
//! can tell "not yet" from "no such thing".

use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::Router;
use axum::routing::on;
use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ContentBuilder, ObjectBuilder, OpenApi, Ref, Required, ResponseBuilder};
use utoipa_axum::PathItemExt;

struct NotBuilt {
    method: HttpMethod,
    path: &'static str,
    what: &'static str,
}

const fn call(method: HttpMethod, path: &'static str, what: &'static str) -> NotBuilt {
    NotBuilt { method, path, what }
}

use HttpMethod::{Delete, Get, Patch, Post, Put};

static CALLS: &[NotBuilt] = &[
    call(Put, "/api/v1/instances/{id}", "Changing an instance"),
    call(Get, "/api/v1/instances/{id}/backups", "Listing backups"),
    call(Post, "/api/v1/instances/{id}/restart-with-subscription", "Reactivation"),
    call(Post, "/api/v1/instances/{id}/apply-resources", "Applying changed limits"),
    call(Post, "/api/v1/instances/{id}/import", "Importing a database"),
    call(Post, "/api/v1/instances/{id}/clone", "Cloning an instance"),
    call(Get, "/api/v1/instances/{id}/backup-schedule", "The backup schedule"),
    call(Put, "/api/v1/instances/{id}/backup-schedule", "The backup schedule"),
    call(Post, "/api/v1/instances/{id}/undo-restore", "Taking back a restore"),
    call(Get, "/api/v1/backups/{id}", "Reading a backup"),
    call(Delete, "/api/v1/backups/{id}", "Deleting a backup"),
    call(Post, "/api/v1/backups/{id}/verify", "Verifying a backup"),
    call(Get, "/api/v1/backups/{id}/export", "Exporting a backup"),
    call(Get, "/admin/failed-instances", "Administration"),
    call(Post, "/admin/retry-instance/{id}", "Administration"),
    call(Get, "/admin/instance-jobs/{id}", "Administration"),
    call(Get, "/admin/instance-stats", "Administration"),
    call(Post, "/admin/suspend-instance/{id}", "Administration"),
    call(Post, "/admin/unsuspend-instance/{id}", "Administration"),
    call(Get, "/admin/odoo-servers", "Administration"),
    call(Post, "/admin/odoo-servers", "Administration"),
    call(Patch, "/admin/odoo-servers/{id}", "Administration"),
    call(Post, "/admin/relocate-instance/{id}", "Administration"),
    call(Post, "/admin/adopt", "Administration"),
    call(Get, "/admin/adoption-report", "Administration"),
    call(Post, "/admin/operations/{id}/retry", "Administration"),
    call(Get, "/api/v1/monitoring/status", "Monitoring"),
    call(Post, "/api/v1/monitoring/start", "Monitoring"),
    call(Post, "/api/v1/monitoring/stop", "Monitoring"),
    call(Post, "/api/v1/monitoring/restart", "Monitoring"),
    call(Post, "/api/v1/monitoring/reconcile", "Monitoring"),
    call(Get, "/api/v1/monitoring/containers", "Monitoring"),
    call(Get, "/api/v1/monitoring/containers/{name}/status", "Monitoring"),
    call(Post, "/api/v1/monitoring/containers/{name}/sync", "Monitoring"),
    call(Get, "/api/v1/monitoring/metrics", "Monitoring"),
    call(Get, "/api/v1/monitoring/config", "Monitoring"),
    call(Put, "/api/v1/monitoring/config", "Monitoring"),
    call(Get, "/api/v1/monitoring/tasks/{id}/status", "Monitoring"),
    call(Get, "/api/v1/monitoring/health", "Monitoring"),
    call(Post, "/webhooks/killbill/{secret}", "The direct billing webhook"),
];

/// Adds the calls to a router.
pub(super) fn add(router: Router<AppState>) -> Router<AppState> {
    CALLS.iter().fold(router, |router, call| {
        router.route(call.path, on(call.method.to_method_filter(), || async { Problem::not_built(call.what) }))
    })
}

/// Adds the calls to the description.
pub(super) fn describe(description: &mut OpenApi) {
    for call in CALLS {
        let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemBody::name()))).build();
        let response =
            ResponseBuilder::new().description("Not available in this release").content("application/problem+json", problem);
        let parts = call.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let path = parts.map(|name| {
            let text = ObjectBuilder::new().schema_type(Type::String);
            ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True).schema(Some(text)).build()
        });
        let operation = OperationBuilder::new()
            .tag("not built")
            .summary(Some(call.what))
            .parameters(Some(path))
            .response("501", response.build());
        description.paths.add_path_operation(call.path, vec![call.method.clone()], operation);
    }
}
