//! `GET /api/v1/instances`

use crate::conventions::Call;
use crate::input::QueryText;
use crate::problem::{Problem, ProblemBody};
use crate::shapes::instance::InstanceShape;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use db::platform::instances::{self, ListFilter};
use domain::instance::Status;
use serde::Serialize;
use utoipa::ToSchema;

/// A page of a customer's instances, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InstancePage {
    /// The instances of this page.
    instances: Vec<InstanceShape>,
    /// How many match in all.
    total: i64,
    /// This page, from 1.
    page: u32,
    /// Most instances on a page.
    page_size: u32,
}

/// A customer's instances, newest first, terminated ones included
#[utoipa::path(get, operation_id = "list_instances", path = "/api/v1/instances", tag = "instances", params(
    ("customer_id" = uuid::Uuid, Query),
    ("status" = Option<String>, Query, description = "Only in this status"),
    ("page" = Option<u32>, Query, minimum = 1),
    ("page_size" = Option<u32>, Query, minimum = 1, maximum = 100, description = "100 unless given"),
), responses(
    (status = 200, body = InstancePage),
    (status = 400, description = "customer_id parameter is required", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A query value of the wrong form", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(State(state): State<AppState>, call: Call, query: QueryText) -> Result<Json<InstancePage>, Problem> {
    let filter = read(query)?;
    if !call.caller.may_see(filter.customer_id) {
        return Err(Problem::forbidden("These instances belong to another customer"));
    }
    let found = instances::list(state.db(), &filter).await?;
    let instances = found.instances.into_iter().map(InstanceShape::from).collect();
    Ok(Json(InstancePage { instances, total: found.total, page: filter.page, page_size: filter.page_size }))
}

fn read(mut query: QueryText) -> Result<ListFilter, Problem> {
    let page = query.page();
    let status = query.parsed("status", "is not a status of an instance", "enum", Status::parse);
    let customer_id = query.id("customer_id");
    query.finish()?;
    let customer_id = customer_id.ok_or_else(|| Problem::rule("customer_id parameter is required"))?;
    Ok(ListFilter { customer_id, status, page: page.number, page_size: page.size })
}
