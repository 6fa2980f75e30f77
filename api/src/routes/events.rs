//! `/v1/events`: the event log, read in an order in which no late commit is skipped.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use latchkey_shared::db::events::{self, LogFilter, LogPosition, LoggedEvent};
use latchkey_shared::events::EventType;
use latchkey_shared::ids::{AccountId, EventId, WorkspaceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::auth::{Caller, Viewer};
use crate::extract::Params;
use crate::log_watch::Wanted;
use crate::pagination::{self, Limit};
use crate::problem::Problem;
use crate::state::App;

/// In place of a cursor: behind everything that there is.
const NOW: &str = "now";
const MAX_WAIT_SECONDS: u64 = 30;

/// Which part of the log is wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// `nextCursor` of the answer before, or `now`; without it the log is read from its beginning.
    after: Option<String>,
    /// Event types, comma-separated; without it all.
    #[param(example = "account.connected,account.disconnected")]
    types: Option<String>,
    /// Events of this workspace only; a key that is limited to one implies it.
    #[serde(rename = "workspaceId")]
    #[param(rename = "workspaceId", value_type = Option<String>)]
    workspace_id: Option<WorkspaceId>,
    /// Events of this account only.
    #[serde(rename = "accountId")]
    #[param(rename = "accountId", value_type = Option<String>)]
    account_id: Option<AccountId>,
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
    /// Where to go on as `after`, also when there is nothing there yet.
    next_cursor: String,
}

/// What happened. Webhooks and RabbitMQ carry the same JSON.
#[derive(ToSchema)]
#[schema(as = Event)]
#[expect(dead_code, reason = "describes for the document what is built as JSON elsewhere")]
pub(crate) struct EventBody {
    #[schema(example = "evt_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    id: String,
    r#type: EventType,
    timestamp: latchkey_shared::timestamp::Timestamp,
    #[schema(rename = "workspaceId")]
    /// Where; null: to the organisation.
    workspace_id: Option<String>,
    /// Counts the events of one account; null for events without one.
    sequence: Option<i64>,
    /// What the type lists.
    data: Value,
}

/// A place in the log as a cursor: `epoch:transaction:event`, where the event may be missing.
fn encode(position: &LogPosition) -> String {
    let LogPosition { epoch, xid, id } = position;
    pagination::encode(&format!("{epoch}:{xid}:{id}"))
}

pub(crate) fn decode(cursor: &str) -> Option<LogPosition> {
    let text = pagination::decode(cursor)?;
    let mut parts = text.splitn(3, ':');
    let epoch = parts.next()?.parse().ok().filter(|epoch| *epoch >= 0)?;
    let xid = parts.next()?.parse().ok().filter(|xid| *xid >= 0)?;
    let id = parts.next()?;
    if !id.is_empty() {
        id.parse::<EventId>().ok()?;
    }
    Some(LogPosition { epoch, xid, id: id.to_owned() })
}

fn types(list: Option<&str>) -> Result<Vec<String>, Problem> {
    let words = list.unwrap_or_default().split(',').map(str::trim);
    let words = words.filter(|word| !word.is_empty());
    let wrong = || Problem::invalid_query("types", "must be event types, comma-separated");
    words.map(|word| EventType::of(word).map(|kind| kind.to_string()).ok_or_else(wrong)).collect()
}

/// What is wanted, once it is found right.
struct Reading {
    /// `None`: from now on.
    after: Option<LogPosition>,
    workspace: Option<WorkspaceId>,
    account: Option<AccountId>,
    types: Vec<String>,
    limit: i64,
    /// `None`: whatever there is now is the answer.
    until: Option<Instant>,
}

impl EventsQuery {
    fn check(self, caller: &Caller) -> Result<Reading, Problem> {
        if self.wait > MAX_WAIT_SECONDS {
            let message = format!("must be 0 to {MAX_WAIT_SECONDS} seconds");
            return Err(Problem::invalid_query("wait", &message));
        }
        let after = match self.after.as_deref() {
            None => Some(LogPosition::start()),
            Some(NOW) => None,
            Some(cursor) => Some(decode(cursor).ok_or_else(|| pagination::bad_cursor("after"))?),
        };
        let own = caller.workspace_id.as_ref();
        if self.workspace_id.as_ref().is_some_and(|asked| own.is_some_and(|own| own != asked)) {
            return Err(Problem::not_found());
        }
        Ok(Reading {
            after,
            workspace: self.workspace_id.or_else(|| own.cloned()),
            account: self.account_id,
            types: types(self.types.as_deref())?,
            limit: Limit::or_default(self.limit),
            until: (self.wait > 0).then(|| Instant::now() + Duration::from_secs(self.wait)),
        })
    }
}

async fn read(app: &App, caller: &Caller, query: EventsQuery) -> Result<EventList, Problem> {
    let mut reading = query.check(caller)?;
    let (events, next) = match reading.until {
        None => read_once(app, caller, &reading).await?,
        Some(until) => read_until(app, caller, &mut reading, until).await?,
    };
    let data = events.iter().map(LoggedEvent::body).collect();
    Ok(EventList { data, next_cursor: encode(&next) })
}

/// The first events that there are, or none when the time is up or this process is to end.
async fn read_until(
    app: &App,
    caller: &Caller,
    reading: &mut Reading,
    until: Instant,
) -> Result<(Vec<LoggedEvent>, LogPosition), Problem> {
    let wanted = Wanted {
        organisation: caller.organisation_id.clone(),
        workspace: reading.workspace.clone(),
        account: reading.account.clone(),
        types: reading.types.clone(),
    };
    // Before the first look: what is written after that look wakes.
    let watcher = app.log_watch.enter(caller, wanted)?;
    let (mut events, mut next) = read_once(app, caller, reading).await?;
    while events.is_empty() && Instant::now() < until && !app.stopping.is_cancelled() {
        // What was looked at once is not looked at again.
        reading.after = Some(next);
        let _turn = tokio::select! {
            turn = watcher.woken() => Some(turn),
            () = tokio::time::sleep_until(until) => None,
            () = app.stopping.cancelled() => None,
        };
        (events, next) = read_once(app, caller, reading).await?;
    }
    Ok((events, next))
}

/// Some events, and where to go on. Holds no connection longer than two queries take.
async fn read_once(
    app: &App,
    caller: &Caller,
    reading: &Reading,
) -> Result<(Vec<LoggedEvent>, LogPosition), Problem> {
    let mut conn = app.conn().await?;
    let horizon = events::horizon(&mut conn).await?;
    let after = reading.after.clone().unwrap_or_else(|| horizon.clone());
    let filter = LogFilter {
        workspace: reading.workspace.as_ref(),
        account: reading.account.as_ref(),
        types: &reading.types,
        limit: reading.limit,
    };
    let events =
        events::read_log(&mut conn, &caller.organisation_id, &after, &horizon, &filter).await?;
    let next = events.last().map_or_else(|| horizon.max(after), LoggedEvent::position);
    Ok((events, next))
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
    read(&app, &caller, query).await.map(Json)
}

#[cfg(test)]
mod tests {
    use latchkey_shared::clock::Clock;

    use super::*;

    #[test]
    fn a_position_survives_its_cursor() {
        for id in [EventId::new(&Clock::system()).to_string(), String::new()] {
            let position = LogPosition { epoch: 1, xid: 7431, id };
            assert_eq!(decode(&encode(&position)), Some(position));
        }
    }

    #[test]
    fn what_is_no_position_is_refused() {
        let id = EventId::new(&Clock::system());
        for text in ["", "7", "7:", "0:7", "0:7:acc_1", &format!("0:-7:{id}"), &format!("0:x:{id}")]
        {
            assert_eq!(decode(&pagination::encode(text)), None, "{text}");
        }
        assert_eq!(decode("?"), None);
    }

    #[test]
    fn types_are_event_types() {
        let two = types(Some("account.connected, connect.failed,")).unwrap();
        assert_eq!(two, ["account.connected", "connect.failed"]);
        assert!(types(None).unwrap().is_empty());
        assert!(types(Some("account.sung")).is_err());
    }
}
