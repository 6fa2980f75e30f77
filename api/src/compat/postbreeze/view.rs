//! What Postbreeze's clients send and get.

use latchkey_shared::db::accounts::AccountStatus;
use latchkey_shared::ids::{AccountId, WorkspaceId};
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::{IntoParams, ToSchema};

use super::words;
use crate::code::Code;
use crate::compat::words::Word as _;
use crate::problem::{FieldError, Problem};
use crate::routes::accounts::AccountView;
use latchkey_shared::timestamp::Timestamp;

/// A channel to be connected.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ConnectChannelDto)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConnectChannel {
    /// Which workspace the account shall belong to.
    #[schema(example = "ws_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    pub(super) workspace_id: String,
    #[schema(inline)]
    pub(super) platform: words::Postbreeze,
}

/// A connect that waits for the person.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartedChannel {
    /// Where the person approves. Works once.
    #[schema(value_type = String)]
    pub(super) authorize_url: Url,
    /// What the callback brings back: tells apart connects that run at the same time.
    pub(super) state: String,
}

/// Which workspace is meant.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct InWorkspace {
    /// This one. A key that is limited to one implies it; any other key has to name it.
    pub(super) workspace_id: Option<String>,
}

/// How a channel is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum ChannelStatus {
    /// Connected.
    Active,
    /// To be connected again by the person.
    TokenExpired,
}

/// A connected account.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Channel {
    #[schema(value_type = String)]
    id: AccountId,
    #[schema(value_type = String)]
    workspace_id: WorkspaceId,
    #[schema(inline)]
    platform: words::Postbreeze,
    /// The platform's id of the person or page.
    external_id: String,
    /// What others know it by at the platform.
    handle: Option<String>,
    display_name: Option<String>,
    avatar_url: Option<String>,
    #[schema(inline)]
    status: ChannelStatus,
    /// What the person granted.
    scopes: Vec<String>,
    /// When it was connected last.
    connected_at: Timestamp,
    last_refreshed_at: Option<Timestamp>,
    token_expires_at: Option<Timestamp>,
}

impl Channel {
    /// `None` for a platform that Postbreeze has no word for, and for what is disconnected.
    pub(super) fn of(account: AccountView) -> Option<Self> {
        let status = match account.status {
            AccountStatus::Connected => ChannelStatus::Active,
            AccountStatus::TokenExpired => ChannelStatus::TokenExpired,
            AccountStatus::Disconnected => return None,
        };
        Some(Self {
            platform: words::Postbreeze::of(&account.platform)?,
            id: account.id,
            workspace_id: account.workspace_id,
            external_id: account.platform_user_id,
            handle: account.username,
            display_name: account.display_name,
            avatar_url: account.avatar_url,
            status,
            scopes: account.scopes,
            connected_at: account.connected_at,
            last_refreshed_at: account.tokens.last_refreshed_at,
            token_expires_at: account.tokens.token_expires_at,
        })
    }
}

/// The body of every error.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Error<'a> {
    /// The HTTP status.
    #[schema(example = 400)]
    status_code: u16,
    /// What went wrong, for machines; left out of a 401.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, example = "VALIDATION_FAILED")]
    code: Option<&'a str>,
    /// What went wrong, for people.
    message: String,
    /// Names this request in the log.
    request_id: &'a str,
}

/// A problem in Postbreeze's form.
pub(super) fn form(problem: &Problem, request_id: &str) -> serde_json::Result<String> {
    let code = match (problem.status().as_u16(), problem.code()) {
        (401, _) => None,
        (400, _) => Some("VALIDATION_FAILED"),
        (403, _) => Some("FORBIDDEN"),
        (_, Code::AccountAlreadyConnected) => Some("CHANNEL_ALREADY_CONNECTED"),
        (_, code) => Some(code.as_str()),
    };
    let fields: Vec<String> = problem.errors().iter().map(FieldError::told).collect();
    let message = match (code, fields.is_empty()) {
        (None, _) => "Unauthorized".to_owned(),
        (Some("VALIDATION_FAILED"), false) => fields.join("; "),
        _ => problem.detail().to_owned(),
    };
    let status_code = problem.status().as_u16();
    serde_json::to_string(&Error { status_code, code, message, request_id })
}
