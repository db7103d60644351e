//! `GET /api/v1/operations/{id}/events`: server-sent events. No connection is held while nothing happens.

use crate::caller::Caller;
use crate::conventions::Call;
use crate::input::PathId;
use crate::problem::{Problem, ProblemBody};
use crate::routes::operation_get;
use crate::state::AppState;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use db::platform::events::Event;
use db::platform::progress;
use domain::ids::OperationId;
use domain::operation::State as Stored;
use futures::FutureExt as _;
use futures::future::{BoxFuture, pending};
use futures::stream::{self, Stream, StreamExt};
use serde_json::Value;
use std::convert::Infallible;
use std::time::Duration;
use tokio_stream::wrappers::ReceiverStream;

const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// The events of an operation, as they happen
///
/// Starts with the current state, goes on behind `Last-Event-ID` if that is given, closes after the final event. On the public door it
/// also closes after five minutes: the client comes again, and shows that it is still logged in.
#[utoipa::path(get, operation_id = "follow_operation", path = "/api/v1/operations/{id}/events", tag = "operations", params(
    ("id" = uuid::Uuid, Path),
    ("Last-Event-ID" = Option<i64>, Header, description = "The last event that the client has"),
), responses(
    (status = 200, description = "`event: operation` and `event: step` with the JSON of that object", content_type = "text/event-stream"),
    (status = 404, description = "Operation not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<OperationId>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, Problem> {
    let after = last_event_id(&headers)?;
    // Read before the state: what happens in between is sent twice rather than not at all.
    let newest = progress::newest_event(state.db(), id).await?;
    let view = operation_get::seen(&state, &call, id).await?;
    let after = after.map_or(newest, |after| after.min(newest));
    let data = serde_json::to_value(view).map_err(Problem::fault)?;
    let first = Event { seq: after, event: "operation".to_owned(), data };
    let ended = is_final(&first) && after == newest;
    let rest = if ended { stream::empty().boxed() } else { until_final(state.feed().events(id, after).await).boxed() };
    let sent = stream::once(async { first }).chain(rest).map(|event| Ok(sent(&event)));
    // Who reads on after the session has ended is asked for it again: a client goes on by itself where its stream broke off.
    let end: BoxFuture<'_, ()> = match call.caller {
        Caller::Customer(_) => tokio::time::sleep(state.policy().longest_stream).boxed(),
        Caller::Internal => pending().boxed(),
    };
    let sent = sent.take_until(end);
    // The keep-alive ends with the stream it wraps.
    Ok(Sse::new(sent).keep_alive(KeepAlive::new().interval(COMMENT_EVERY)))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse::<i64>().ok()).filter(|number| *number >= 0);
    number
        .map(Some)
        .ok_or_else(|| Problem::invalid_field("header", "Last-Event-ID", "must be the number of an event", "int_parsing"))
}

/// Passes events on up to and including the one that says the operation has ended.
fn until_final(events: tokio::sync::mpsc::Receiver<Event>) -> impl Stream<Item = Event> {
    stream::unfold(Some(ReceiverStream::new(events)), |events| async {
        let mut events = events?;
        let event = events.next().await?;
        let rest = if is_final(&event) { None } else { Some(events) };
        Some((event, rest))
    })
}

/// Whether nothing comes after this event.
pub(crate) fn is_final(event: &Event) -> bool {
    let state = event.data.get("state").and_then(Value::as_str).and_then(Stored::parse);
    event.event == "operation" && state.is_some_and(Stored::is_final)
}

fn sent(event: &Event) -> Sent {
    // Numbers and single-line JSON: none of it can break the format of the stream.
    Sent::default().id(event.seq.to_string()).event(&event.event).data(event.data.to_string())
}
