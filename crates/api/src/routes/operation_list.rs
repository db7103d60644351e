//! `GET /api/v1/operations`

use crate::conventions::Call;
use crate::input::{Page, QueryText};
use crate::problem::{Problem, ProblemBody};
use crate::shapes::operation::OperationShape;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use db::platform::operation_view::OperationView;
use db::platform::operations::{self, Filter};
use db::platform::{instances, progress};
use domain::operation::{Direction, Kind, State as Stored};
use serde::Serialize;
use utoipa::ToSchema;

/// A page of operations, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OperationPage {
    /// The operations of this page.
    #[schema(value_type = Vec<OperationShape>)]
    operations: Vec<OperationView>,
    /// How many match in all.
    total: i64,
    /// This page, from 1.
    page: u32,
    /// Most operations on a page.
    page_size: u32,
}

/// Operations, newest first
#[utoipa::path(get, operation_id = "list_operations", path = "/api/v1/operations", tag = "operations", params(
    ("instance_id" = Option<uuid::Uuid>, Query),
    ("state" = Option<String>, Query, description = "queued, running, compensating, succeeded, failed or cancelled"),
    ("kind" = Option<String>, Query),
    ("page" = Option<i64>, Query, minimum = 1),
    ("page_size" = Option<i64>, Query, minimum = 1, maximum = 100),
), responses(
    (status = 200, body = OperationPage),
    (status = 422, description = "A query value of the wrong form", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(State(state): State<AppState>, call: Call, query: QueryText) -> Result<Json<OperationPage>, Problem> {
    let (mut filter, page) = read(query)?;
    if call.caller.customer().is_some() {
        let instance = filter.instance_id.ok_or_else(|| Problem::rule("instance_id parameter is required"))?;
        call.caller.own(instances::get(state.db(), instance).await?)?;
        filter.shown_to_customers = true;
    }
    let found = operations::list(state.db(), &filter).await?;
    let operations = progress::views(state.db(), &found.operations).await?;
    Ok(Json(OperationPage { operations, total: found.total, page: page.number, page_size: page.size }))
}

fn read(mut query: QueryText) -> Result<(Filter, Page), Problem> {
    let page = query.page();
    let filter = Filter {
        instance_id: query.id("instance_id"),
        kind: query.parsed("kind", "is not a kind of operation", "enum", Kind::parse),
        ..query.parsed("state", "is not a state of an operation", "enum", states).unwrap_or_default()
    };
    let filter = Filter { offset: page.offset(), limit: i64::from(page.size), ..filter };
    query.finish()?;
    Ok((filter, page))
}

/// The stored states behind a word that clients know.
fn states(word: &str) -> Option<Filter> {
    let active = vec![Stored::Running, Stored::Waiting];
    Some(match word {
        "running" => Filter { states: active, direction: Some(Direction::Forward), ..Filter::default() },
        "compensating" => {
            let states = [active, vec![Stored::NeedsAttention]].concat();
            Filter { states, direction: Some(Direction::Undo), ..Filter::default() }
        }
        "queued" | "succeeded" | "failed" | "cancelled" => Filter { states: vec![Stored::parse(word)?], ..Filter::default() },
        _ => return None,
    })
}
