//! `/v1/events`: the event log, read in an order in which no late commit is skipped.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use latchkey_shared::db::events::{self, LogFilter, LogPosition, LoggedEvent};
use latchkey_shared::events::EventType;
use latchkey_shared::ids::EventId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::auth::{Caller, Viewer};
use crate::extract::Params;
use crate::pagination::{self, Limit};
use crate::problem::Problem;
use crate::state::App;

const MAX_WAIT_SECONDS: u64 = 30;
const REREAD_EVERY: Duration = Duration::from_millis(250);

/// Which part of the log is wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// `nextCursor` of the answer before; without it the log is read from its beginning.
    after: Option<String>,
    /// Event types, comma-separated; without it all.
    #[param(example = "account.connected,account.disconnected")]
    types: Option<String>,
    /// How many events at most.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<Limit>,
    /// How many seconds to wait for an event if there is none.
    #[serde(default)]
    #[param(minimum = 0, maximum = 30)]
    wait: u64,
}

/// A part of the log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventList {
    /// The events, in the order of the log.
    #[schema(value_type = Vec<EventBody>)]
    data: Vec<Value>,
    /// Where to go on as `after`, also when there is nothing there yet; null only while the log is
    /// empty.
    next_cursor: Option<String>,
}

/// What happened. Webhooks and RabbitMQ carry the same JSON.
#[derive(ToSchema)]
#[schema(as = Event)]
#[expect(dead_code, reason = "describes for the document what is built as JSON elsewhere")]
pub(crate) struct EventBody {
    #[schema(example = "evt_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    id: String,
    r#type: EventType,
    timestamp: crate::timestamp::Timestamp,
    #[schema(rename = "workspaceId")]
    workspace_id: String,
    /// Counts the events of one account; null for events without one.
    sequence: Option<i64>,
    /// What the type lists.
    data: Value,
}

/// Where a reader stands: `transaction:event`.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Position {
    xid: i64,
    id: String,
}

impl Position {
    fn start() -> Self {
        Self { xid: 0, id: String::new() }
    }

    fn behind(event: &LoggedEvent) -> Self {
        Self { xid: event.xid, id: event.id.to_string() }
    }

    fn encode(&self) -> String {
        pagination::encode(&format!("{}:{}", self.xid, self.id))
    }

    fn decode(cursor: &str) -> Option<Self> {
        let text = pagination::decode(cursor)?;
        let (xid, id) = text.split_once(':')?;
        let id: EventId = id.parse().ok()?;
        let xid = xid.parse().ok().filter(|xid| *xid >= 0)?;
        Some(Self { xid, id: id.to_string() })
    }
}

fn types(list: Option<&str>) -> Result<Vec<String>, Problem> {
    let words = list.unwrap_or_default().split(',').map(str::trim);
    let words = words.filter(|word| !word.is_empty());
    let wrong = || Problem::invalid_query("types", "must be event types, comma-separated");
    words.map(|word| EventType::of(word).map(|kind| kind.to_string()).ok_or_else(wrong)).collect()
}

async fn read(app: &App, caller: &Caller, query: &EventsQuery) -> Result<EventList, Problem> {
    let types = types(query.types.as_deref())?;
    if query.wait > MAX_WAIT_SECONDS {
        let message = format!("must be 0 to {MAX_WAIT_SECONDS} seconds");
        return Err(Problem::invalid_query("wait", &message));
    }
    let after = query.after.as_deref();
    let wrong = || pagination::bad_cursor("after");
    let after = after.map(|cursor| Position::decode(cursor).ok_or_else(wrong));
    let position = after.transpose()?.unwrap_or_else(Position::start);
    let filter = LogFilter {
        workspace: caller.workspace_id.as_ref(),
        types: &types,
        limit: Limit::or_default(query.limit),
    };
    let until = Instant::now() + Duration::from_secs(query.wait);
    let events = loop {
        let events = read_once(app, caller, &position, &filter).await?;
        if !events.is_empty() || Instant::now() >= until || app.stopping.is_cancelled() {
            break events;
        }
        let pause = tokio::time::sleep(REREAD_EVERY);
        app.stopping.run_until_cancelled(pause).await;
    };
    let next_cursor = match events.last() {
        Some(last) => Some(Position::behind(last).encode()),
        None => query.after.clone(),
    };
    Ok(EventList { data: events.iter().map(LoggedEvent::body).collect(), next_cursor })
}

/// Holds no connection longer than one query takes.
async fn read_once(
    app: &App,
    caller: &Caller,
    position: &Position,
    filter: &LogFilter<'_>,
) -> Result<Vec<LoggedEvent>, Problem> {
    let after = LogPosition { xid: position.xid, id: &position.id };
    let mut conn = app.conn().await?;
    Ok(events::read_log(&mut conn, &caller.organisation_id, after, filter).await?)
}

/// Read the event log.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "listEvents",
    security(("apiKey" = ["viewer"])),
    params(EventsQuery),
    responses((status = OK, description = "The events behind the cursor", body = EventList)),
)]
pub(crate) async fn list(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
    Params(query): Params<EventsQuery>,
) -> Result<Json<EventList>, Problem> {
    read(&app, &caller, &query).await.map(Json)
}

#[cfg(test)]
mod tests {
    use latchkey_shared::clock::Clock;

    use super::*;

    #[test]
    fn a_position_survives_its_cursor() {
        let position = Position { xid: 7431, id: EventId::new(&Clock::system()).to_string() };
        assert_eq!(Position::decode(&position.encode()), Some(position));
    }

    #[test]
    fn what_is_no_position_is_refused() {
        let id = EventId::new(&Clock::system());
        for text in ["", "7", "7:", "7:acc_1", &format!("-7:{id}"), &format!("x:{id}")] {
            assert_eq!(Position::decode(&pagination::encode(text)), None, "{text}");
        }
        assert_eq!(Position::decode("?"), None);
    }

    #[test]
    fn types_are_event_types() {
        let two = types(Some("account.connected, connect.failed,")).unwrap();
        assert_eq!(two, ["account.connected", "connect.failed"]);
        assert!(types(None).unwrap().is_empty());
        assert!(types(Some("account.sung")).is_err());
    }
}
