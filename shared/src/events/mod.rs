//! Events: what happened, for the world to read. The same JSON goes to RabbitMQ, to webhooks and
//! into the event log. An event never carries a token, code, verifier or secret.
//!
//! Version rule: of a type that was published, members may be added, and nothing else may change. What
//! would break a reader gets a new type beside the old one. Readers pass over members and types that
//! they do not know.

mod account;
mod connect;
mod examples;
mod installation;

pub use account::{
    AboutAccount, AccountActionNeeded, AccountConnected, AccountDisconnected, AccountFact,
    AccountReauthDue, AccountRecovered, AccountRefreshOverdue, AccountRefreshed, AccountRevoked,
    AccountTokenExpired, AccountUpdated, DisconnectedBy, Reconnect, ReconnectBody, RecoveredBy,
};
pub use connect::ConnectData;
pub use examples::example;
pub use installation::{
    PlatformDegraded, PlatformRecovered, RequestRejectedData, WebhookEndpointDisabled,
};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema as _, ToSchema};

use crate::db::text_enum;
use crate::ids::{AccountId, EventId, OrganisationId, WorkspaceId};
use crate::timestamp::Timestamp;

/// What an event is about.
trait About {
    /// The account it happened to; its events are numbered.
    fn account_id(&self) -> Option<&AccountId>;
}

macro_rules! catalogue {
    ($($(#[doc = $doc:literal])+ $variant:ident = $word:tt, $data:ty;)+) => {
        text_enum! {
            /// What can happen.
            EventType { $($(#[doc = $doc])+ $variant = $word),+ }
        }

        /// What happened, with what its type lists.
        #[derive(Clone, Debug, Serialize)]
        #[serde(untagged)]
        pub enum EventData { $($(#[doc = $doc])+ $variant($data)),+ }

        impl EventData {
            /// The type.
            #[must_use]
            pub fn kind(&self) -> EventType {
                match self { $(Self::$variant(_) => EventType::$variant),+ }
            }

            /// The account it happened to; its events are numbered.
            #[must_use]
            pub fn account_id(&self) -> Option<&AccountId> {
                match self { $(Self::$variant(data) => data.account_id()),+ }
            }
        }

        impl EventType {
            /// What it means, for people.
            #[must_use]
            pub fn description(self) -> String {
                match self { $(Self::$variant => [$($doc.trim()),+].join(" ")),+ }
            }

            /// The schema of its `data`, by the name of that schema.
            #[must_use]
            pub fn schema(self) -> (String, RefOr<Schema>) {
                match self { $(Self::$variant => (<$data>::name().into_owned(), <$data>::schema())),+ }
            }

            /// Adds the schemas that [`Self::schema`] refers to.
            pub fn parts(self, parts: &mut Vec<(String, RefOr<Schema>)>) {
                match self { $(Self::$variant => <$data>::schemas(parts)),+ }
            }
        }
    };
}

catalogue! {
    /// A connect was started; its authorize URL waits for a person.
    ConnectStarted = "connect.started", ConnectData;
    /// The person approved, and there are several accounts to choose from.
    ConnectSelecting = "connect.selecting", ConnectData;
    /// A connect ended without an account: refused, interrupted, or in error.
    ConnectFailed = "connect.failed", ConnectData;
    /// Nobody finished the connect in time.
    ConnectExpired = "connect.expired", ConnectData;
    /// The application took the connect back.
    ConnectCancelled = "connect.cancelled", ConnectData;
    /// An account was connected, or connected again.
    AccountConnected = "account.connected", AccountConnected;
    /// Its tokens were refreshed. Sent only where the operator asks for it
    /// (`LATCHKEY_REFRESHED_EVENTS`): there are many.
    AccountRefreshed = "account.refreshed", AccountRefreshed;
    /// The access token ended while its refresh keeps failing for now. Nothing is lost yet.
    AccountRefreshOverdue = "account.refresh_overdue", AccountRefreshOverdue;
    /// The platform wants the person to act there, such as to pass a checkpoint. Nothing is lost; the account
    /// works again when that is done.
    AccountActionNeeded = "account.action_needed", AccountActionNeeded;
    /// Soon only the person can help: the consent ends on a day that no refresh moves. Sent 14, 7 and
    /// 1 days before.
    AccountReauthDue = "account.reauth_due", AccountReauthDue;
    /// Only the person can help: the account must be connected again.
    AccountTokenExpired = "account.token_expired", AccountTokenExpired;
    /// An expired account came back by itself, and works again.
    AccountRecovered = "account.recovered", AccountRecovered;
    /// Name, picture, scopes or profile of an account changed.
    AccountUpdated = "account.updated", AccountUpdated;
    /// The account was disconnected; its tokens are out of use from this moment.
    AccountDisconnected = "account.disconnected", AccountDisconnected;
    /// What became of a disconnected account's tokens at the platform.
    AccountRevoked = "account.revoked", AccountRevoked;
    /// Calls to a platform fail in a burst: refreshes pause, and no account expires meanwhile.
    PlatformDegraded = "platform.degraded", PlatformDegraded;
    /// The platform answers again.
    PlatformRecovered = "platform.recovered", PlatformRecovered;
    /// A producer's request was refused, and there was no queue that the answer may go to.
    RequestRejected = "request.rejected", RequestRejectedData;
    /// Nothing is delivered to a webhook endpoint any more.
    WebhookEndpointDisabled = "webhook_endpoint.disabled", WebhookEndpointDisabled;
}

impl EventType {
    /// The type that the word names.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

/// Where something happened.
#[derive(Clone, Debug)]
pub enum Scope {
    /// In a workspace.
    Workspace(WorkspaceId),
    /// In an organisation, and in none of its workspaces.
    Organisation(OrganisationId),
}

/// An event about to be written.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Where it happened.
    pub scope: Scope,
    /// What happened.
    pub data: EventData,
}

impl NewEvent {
    /// Something that happened in a workspace.
    #[must_use]
    pub fn of_workspace(workspace: &WorkspaceId, data: EventData) -> Self {
        Self { scope: Scope::Workspace(workspace.clone()), data }
    }
}

/// What stands around an event's data.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// Id.
    pub id: &'a EventId,
    /// The type's word.
    pub kind: &'a str,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// Where; `None`: to the organisation.
    pub workspace_id: Option<&'a WorkspaceId>,
    /// Counts the events of one account.
    pub sequence: Option<i64>,
}

impl Envelope<'_> {
    /// The public form of an event.
    #[must_use]
    pub fn around(&self, data: &Value) -> Value {
        json!({
            "id": self.id,
            "type": self.kind,
            "timestamp": Timestamp::from(self.at),
            "workspaceId": self.workspace_id,
            "sequence": self.sequence,
            "data": data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_an_example_of_its_own() {
        for kind in EventType::ALL {
            let example = example(*kind);
            assert_eq!(example.kind(), *kind);
            let about_an_account = kind.as_str().starts_with("account.");
            assert_eq!(example.account_id().is_some(), about_an_account, "{kind}");
        }
    }

    #[test]
    fn what_a_type_means_is_one_sentence_or_more() {
        for kind in EventType::ALL {
            assert!(kind.description().ends_with('.') && !kind.description().contains("  "));
        }
    }
}
