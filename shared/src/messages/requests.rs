//! What producers may ask for over the broker, and what they are answered. Public: AsyncAPI is made of these
//! types, and a change here breaks producers.
//!
//! A producer publishes a request to the exchange of requests; a worker of the pool `requests` does it and
//! answers to the request's `reply_to`. [`ConnectReady`] is the only message with a live state, and goes to
//! its asker alone: never to an exchange that somebody else may listen on.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;
use utoipa::ToSchema;

use crate::body;
use crate::code::Code;
use crate::db::accounts::AccountStatus;
use crate::db::connects::Binding;
use crate::db::text_enum;
use crate::ids::{AccountId, AppId, ConnectId, ProfileId, WorkspaceId};
use crate::refused::{FieldError, Refused};
use crate::timestamp::Timestamp;

text_enum! {
    /// The kinds of request. The word is the AMQP `type`, and the routing key.
    RequestKind {
        /// [`ConnectRequested`].
        ConnectRequested = "connect.requested",
        /// [`DisconnectRequested`].
        DisconnectRequested = "disconnect.requested",
        /// [`RefreshRequested`].
        RefreshRequested = "refresh.requested",
    }
}

/// The AMQP `type` of the answer to a request that names none of ours.
pub const REQUEST_REJECTED: &str = "request.rejected";

impl RequestKind {
    /// The kind that the word names.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }

    /// The AMQP `type` of the answer when it was done.
    #[must_use]
    pub fn done(self) -> &'static str {
        match self {
            Self::ConnectRequested => "connect.ready",
            Self::DisconnectRequested => "disconnect.accepted",
            Self::RefreshRequested => "refresh.accepted",
        }
    }

    /// The AMQP `type` of the answer when it was not.
    #[must_use]
    pub fn rejected(self) -> &'static str {
        match self {
            Self::ConnectRequested => "connect.rejected",
            Self::DisconnectRequested => "disconnect.rejected",
            Self::RefreshRequested => "refresh.rejected",
        }
    }
}

/// Start a connect. The answer has the URL to send the person's browser to.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectRequested {
    /// Where the account shall belong.
    #[schema(value_type = String, example = "ws_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    pub workspace_id: WorkspaceId,
    /// Which platform; ids are upper case.
    #[schema(example = "SANDBOX")]
    pub platform: String,
    /// Where the browser goes in the end; without it the person sees a page of ours.
    #[schema(max_length = 2048, example = "https://app.example/connected")]
    pub redirect_url: Option<String>,
    /// Your end user.
    #[schema(value_type = Option<String>)]
    pub profile_id: Option<ProfileId>,
    /// Your own OAuth client at the platform; without it that of the account to reconnect, else the
    /// operator's.
    #[schema(value_type = Option<String>)]
    pub app_id: Option<AppId>,
    /// The account to reconnect: nothing changes if the person comes back as somebody else.
    #[schema(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
    /// What to ask for instead of the app's scopes, or the platform's default ones.
    #[schema(min_items = 1, max_items = 100)]
    pub scopes: Option<Vec<String>>,
    /// Whatever you want to find on the account and its events; at most 4 KiB.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// Who may finish it: `none` (the default), whoever opens the URL; `browser`, the browser in which the
    /// button behind `connectUrl` was pressed; `claim`, nobody until your backend claims it over HTTP.
    pub binding: Option<Binding>,
}

/// Disconnect an account. Its tokens are out of use at once; telling the platform follows.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DisconnectRequested {
    /// Where the account belongs.
    #[schema(value_type = String, example = "ws_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    pub workspace_id: WorkspaceId,
    /// The account.
    #[schema(value_type = String, example = "acc_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    pub account_id: AccountId,
}

/// Refresh an account's tokens now. Requests for one account at the same time make one refresh.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefreshRequested {
    /// Where the account belongs.
    #[schema(value_type = String, example = "ws_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    pub workspace_id: WorkspaceId,
    /// The account.
    #[schema(value_type = String, example = "acc_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    pub account_id: AccountId,
}

/// The connect waits for the person.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectReady {
    /// Its id, which events and the API name it by.
    #[schema(value_type = String, example = "con_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    pub connect_id: ConnectId,
    /// Where the person approves. Works once. Null for a connect that is bound to a browser.
    pub authorize_url: Option<Url>,
    /// A page of ours that shows the person what is about to be connected, and leads on when they press
    /// its button.
    pub connect_url: Option<Url>,
    /// What the platform sends back with the browser. Null for a connect that is bound to a browser.
    pub state: Option<String>,
    /// Until when it can be finished.
    pub expires_at: Timestamp,
}

/// The request for an account was taken. What becomes of it is told by events.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountAccepted {
    /// The account.
    #[schema(value_type = String, example = "acc_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    pub account_id: AccountId,
    /// Its status now.
    pub status: AccountStatus,
}

/// The request was not done, and nothing has changed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestRejected {
    /// What went wrong, for machines: a code of the HTTP API, or one for producers alone.
    pub code: Code,
    /// What to do about it.
    pub message: String,
    /// The fields that are wrong, if that is what it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldError>,
}

impl From<&Refused> for RequestRejected {
    fn from(refused: &Refused) -> Self {
        Self {
            code: refused.code,
            message: refused.detail.clone().into_owned(),
            errors: refused.errors.clone(),
        }
    }
}

/// What a producer asks for.
#[derive(Clone, Debug)]
pub enum Request {
    /// Start a connect.
    Connect(ConnectRequested),
    /// Disconnect an account.
    Disconnect(DisconnectRequested),
    /// Refresh an account.
    Refresh(RefreshRequested),
}

impl Request {
    /// Reads a request's body.
    ///
    /// # Errors
    /// `INVALID_JSON` or `VALIDATION_FAILED`.
    pub fn read(kind: RequestKind, body: &[u8]) -> Result<Self, Refused> {
        Ok(match kind {
            RequestKind::ConnectRequested => Self::Connect(body::parse(body)?),
            RequestKind::DisconnectRequested => Self::Disconnect(body::parse(body)?),
            RequestKind::RefreshRequested => Self::Refresh(body::parse(body)?),
        })
    }

    /// The workspace that it is about.
    #[must_use]
    pub fn workspace_id(&self) -> &WorkspaceId {
        match self {
            Self::Connect(request) => &request.workspace_id,
            Self::Disconnect(request) => &request.workspace_id,
            Self::Refresh(request) => &request.workspace_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    const ULID: &str = "01JCZ5M2V8Q4T6W8Y0A2B4C6D8";

    fn read(kind: RequestKind, body: &str) -> Result<Request, Refused> {
        Request::read(kind, body.as_bytes())
    }

    /// The published form of each request.
    #[test]
    fn every_request_keeps_its_form() {
        let of_account = format!(r#"{{"workspaceId":"ws_{ULID}","accountId":"acc_{ULID}"}}"#);
        let golden = [
            (
                RequestKind::ConnectRequested,
                format!(
                    r#"{{"workspaceId":"ws_{ULID}","platform":"SANDBOX","redirectUrl":"https://a.example/",
                        "profileId":"prof_{ULID}","appId":"app_{ULID}","accountId":"acc_{ULID}",
                        "scopes":["profile"],"metadata":{{"order":7}},"binding":"claim"}}"#
                ),
            ),
            (
                RequestKind::ConnectRequested,
                format!(r#"{{"workspaceId":"ws_{ULID}","platform":"SANDBOX"}}"#),
            ),
            (RequestKind::DisconnectRequested, of_account.clone()),
            (RequestKind::RefreshRequested, of_account),
        ];
        for (kind, json) in golden {
            let request = read(kind, &json).unwrap();
            assert_eq!(request.workspace_id().as_str(), format!("ws_{ULID}"));
        }
    }

    #[test]
    fn nothing_unknown_is_taken_and_no_password() {
        for (body, pointer) in [
            (format!(r#"{{"workspaceId":"ws_{ULID}"}}"#), "platform"),
            (format!(r#"{{"workspaceId":"ws_{ULID}","platform":"X","colour":1}}"#), "colour"),
            (
                format!(r#"{{"workspaceId":"ws_{ULID}","platform":"X","credentials":{{}}}}"#),
                "credentials",
            ),
            (r#"{"workspaceId":"ws_1","platform":"X"}"#.to_owned(), "workspaceId"),
        ] {
            let refused = read(RequestKind::ConnectRequested, &body).unwrap_err();
            assert_eq!(refused.code, Code::ValidationFailed, "{body}");
            assert!(refused.errors[0].told().starts_with(pointer), "{:?}", refused.errors);
        }
        for body in ["", "{", "nonsense", "\u{0}"] {
            let refused = read(RequestKind::RefreshRequested, body).unwrap_err();
            assert_eq!(refused.code, Code::InvalidJson, "{body}");
        }
    }

    /// The published form of each answer.
    #[test]
    fn every_answer_keeps_its_form() {
        let id = |prefix: &str| format!("{prefix}_{ULID}");
        let ready = ConnectReady {
            connect_id: id("con").parse().unwrap(),
            authorize_url: Some("https://platform.example/authorize?state=s".parse().unwrap()),
            connect_url: Some("https://latchkey.example/connect/c?link=l".parse().unwrap()),
            state: Some("s".to_owned()),
            expires_at: DateTime::from_timestamp(1_772_357_400, 0).unwrap().into(),
        };
        let accepted = AccountAccepted {
            account_id: id("acc").parse().unwrap(),
            status: AccountStatus::Disconnected,
        };
        let refused = Refused::new(Code::PlatformUnknown, "Name one.");
        let plain = RequestRejected::from(&refused);
        let pointed = RequestRejected::from(&refused.at("/platform"));
        let json = |value: serde_json::Result<String>| value.unwrap();
        let golden = [
            (
                json(serde_json::to_string(&ready)),
                format!(
                    r#"{{"connectId":"con_{ULID}","authorizeUrl":"https://platform.example/authorize?state=s","connectUrl":"https://latchkey.example/connect/c?link=l","state":"s","expiresAt":"2026-03-01T09:30:00.000Z"}}"#
                ),
            ),
            (
                json(serde_json::to_string(&accepted)),
                format!(r#"{{"accountId":"acc_{ULID}","status":"disconnected"}}"#),
            ),
            (
                json(serde_json::to_string(&plain)),
                r#"{"code":"PLATFORM_UNKNOWN","message":"Name one."}"#.to_owned(),
            ),
            (
                json(serde_json::to_string(&pointed)),
                r#"{"code":"PLATFORM_UNKNOWN","message":"Name one.","errors":[{"pointer":"/platform","message":"Name one."}]}"#.to_owned(),
            ),
        ];
        for (written, expected) in golden {
            assert_eq!(written, expected);
        }
    }
}
