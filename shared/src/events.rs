//! Events: what happened, for the world to read. The same JSON goes to RabbitMQ, to webhooks and
//! into the event log. An event never carries a token, code, verifier or secret.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::db::text_enum;
use crate::ids::{AccountId, EventId, WorkspaceId};

text_enum! {
    /// What can happen.
    EventType {
        /// A connect was started; its authorize URL waits for a person.
        ConnectStarted = "connect.started",
        /// The person approved, and there are several accounts to choose from.
        ConnectSelecting = "connect.selecting",
        /// A connect ended without an account: refused, interrupted, or in error.
        ConnectFailed = "connect.failed",
        /// Nobody finished the connect in time.
        ConnectExpired = "connect.expired",
        /// The application took the connect back.
        ConnectCancelled = "connect.cancelled",
        /// An account was connected, or connected again.
        AccountConnected = "account.connected",
        /// A reconnect gave the account to another profile; both are named.
        AccountUpdated = "account.updated",
        /// The access token ended while its refresh keeps failing for now.
        AccountRefreshOverdue = "account.refresh_overdue",
        /// Soon only the person can help: the consent ends on a day that no refresh moves.
        AccountReauthDue = "account.reauth_due",
        /// An expired account came back by itself: a late answer brought new tokens.
        AccountRecovered = "account.recovered",
        /// Only the person can help: the account must be connected again.
        AccountTokenExpired = "account.token_expired",
        /// The account was disconnected; its tokens are out of use from this moment.
        AccountDisconnected = "account.disconnected",
        /// What became of a disconnected account's tokens at the platform.
        AccountRevoked = "account.revoked",
    }
}

impl EventType {
    /// The type that the word names.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

/// An event about to be written.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Where it happened.
    pub workspace_id: WorkspaceId,
    /// What happened.
    pub kind: EventType,
    /// The account it happened to; its events are numbered.
    pub account_id: Option<AccountId>,
    /// What the type's schema lists.
    pub data: Value,
}

/// The public form of an event.
#[must_use]
pub fn body(
    id: &EventId,
    kind: &str,
    at: DateTime<Utc>,
    workspace_id: &WorkspaceId,
    (sequence, data): (Option<i64>, &Value),
) -> Value {
    json!({
        "id": id,
        "type": kind,
        "timestamp": at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "workspaceId": workspace_id,
        "sequence": sequence,
        "data": data,
    })
}
