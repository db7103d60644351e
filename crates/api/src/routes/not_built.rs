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
    id: &'static str,
    what: &'static str,
}

const fn call(method: HttpMethod, path: &'static str, id: &'static str, what: &'static str) -> NotBuilt {
    NotBuilt { method, path, id, what }
}

use HttpMethod::{Get, Patch, Post};

static CALLS: &[NotBuilt] = &[
    call(Get, "/admin/odoo-servers", "list_odoo_servers", "Administration"),
    call(Post, "/admin/odoo-servers", "add_odoo_server", "Administration"),
    call(Patch, "/admin/odoo-servers/{id}", "change_odoo_server", "Administration"),
    call(Post, "/admin/relocate-instance/{id}", "relocate_instance", "Administration"),
    call(Post, "/admin/adopt", "adopt", "Administration"),
    call(Get, "/admin/adoption-report", "get_adoption_report", "Administration"),
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
            .operation_id(Some(call.id))
            .tag("not built")
            .summary(Some(call.what))
            .parameters(Some(path))
            .response("501", response.build());
        description.paths.add_path_operation(call.path, vec![call.method.clone()], operation);
    }
}
