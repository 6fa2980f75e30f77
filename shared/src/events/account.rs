//! What events of accounts tell.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::About;
use crate::db::text_enum;
use crate::ids::{AccountId, ApiKeyId, ConnectId, ProfileId, WorkspaceId};
use crate::timestamp::Timestamp;

text_enum! {
    /// What changed about an account.
    AccountFact {
        /// The handle.
        Username = "username",
        /// The name people see.
        DisplayName = "displayName",
        /// The picture.
        AvatarUrl = "avatarUrl",
        /// What the person granted.
        Scopes = "scopes",
        /// The customer's end user.
        ProfileId = "profileId",
    }
}

text_enum! {
    /// Who disconnected an account.
    DisconnectedBy {
        /// The application, over HTTP.
        Api = "api",
        /// A producer, over RabbitMQ.
        Producer = "producer",
        /// The person, who unticked the account where others were connected.
        Person = "person",
        /// Somebody deleted the workspace.
        WorkspaceDeletion = "workspace_deletion",
    }
}

text_enum! {
    /// What brought an expired account back.
    RecoveredBy {
        /// An answer of the platform that came late, with new tokens.
        LateAnswer = "late_answer",
        /// The platform's trouble was over, and the token works after all.
        PlatformRecovered = "platform_recovered",
    }
}

/// Which account it happened to. Stands in the data of every event of an account.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AboutAccount {
    /// Which account.
    #[schema(value_type = String)]
    pub account_id: AccountId,
    /// Which platform.
    pub platform: String,
    /// The platform's id of the person or page.
    pub platform_user_id: String,
    /// The handle.
    pub username: Option<String>,
    /// The customer's end user.
    #[schema(value_type = Option<String>)]
    pub profile_id: Option<ProfileId>,
    /// Whatever the application gave with the connect.
    #[schema(value_type = Object)]
    pub metadata: Value,
}

/// An account that works.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountConnected {
    /// Which account.
    #[serde(flatten)]
    pub account: AboutAccount,
    /// By which connect.
    #[schema(value_type = String)]
    pub connect_id: ConnectId,
    /// The name people see.
    pub display_name: Option<String>,
    /// A picture.
    pub avatar_url: Option<String>,
    /// What the person granted.
    pub scopes: Vec<String>,
    /// What was asked for and not granted.
    pub missing_scopes: Vec<String>,
    /// Whether the workspace had never seen it.
    pub first_time: bool,
    /// Whether it was there already, in whatever state; the id is the same.
    pub reconnected: bool,
}

/// New tokens.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountRefreshed {
    /// Which account.
    #[serde(flatten)]
    pub account: AboutAccount,
    /// How often its tokens changed since the consent, which counts as 1.
    pub token_generation: i64,
    /// When the new access token ends, if the platform says so.
    pub token_expires_at: Option<Timestamp>,
    /// When it is refreshed next.
    pub next_refresh_at: Option<Timestamp>,
}

/// A refresh that keeps failing after the access token ended.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountRefreshOverdue {
    /// Which account.
    #[serde(flatten)]
    pub account: AboutAccount,
    /// What the last try failed of: `http_503`, `timeout`, …
    pub error: String,
}

/// An account whose person is to act at the platform, such as to pass a checkpoint there.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountActionNeeded {
    /// Which account.
    #[serde(flatten)]
    pub account: AboutAccount,
    /// What the platform said of it, without secrets.
    #[schema(value_type = Option<Object>)]
    pub error: Option<Value>,
    /// For people.
    pub what_to_do: String,
}

impl AccountActionNeeded {
    /// What the platform said becomes what the person is to do.
    #[must_use]
    pub fn new(account: AboutAccount, platform_error: &Value) -> Self {
        let error = Some(platform_error.clone()).filter(|said| !said.is_null());
        let what_to_do = "ask the person to sign in at the platform and to do what it asks there; \
                          the account then works again by itself";
        Self { account, error, what_to_do: what_to_do.to_owned() }
    }
}

/// An end that no refresh moves.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountReauthDue {
    /// Which account.
    #[serde(flatten)]
    pub account: AboutAccount,
    /// When it will stop working.
    pub reauth_due_at: Timestamp,
    /// In how many days; a day that has begun counts whole.
    pub days_left: i64,
    /// For people.
    pub what_to_do: String,
    /// For programs.
    pub reconnect: Reconnect,
}

/// An account that stopped working.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountTokenExpired {
    /// Which account.
    #[serde(flatten)]
    pub account: AboutAccount,
    /// `refused_by_platform`: the platform said clearly that the consent is over. `consent_required`: it wants
    /// the person to consent anew. `access_token_ended`, `refresh_token_ended`: its known end has come, and
    /// nothing renews it. `refresh_interrupted`: an answer with new tokens was lost, and the platform gave no
    /// second chance.
    pub reason: String,
    /// What the platform said of it, without secrets.
    #[schema(value_type = Option<Object>)]
    pub error: Option<Value>,
    /// For people.
    pub what_to_do: String,
    /// For programs.
    pub reconnect: Reconnect,
}

/// The request that reconnects an account; its answer has the URL for the person.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reconnect {
    /// The HTTP method.
    pub method: &'static str,
    /// The path of this installation's API.
    pub path: String,
    /// The least that the body needs.
    pub body: ReconnectBody,
}

/// The body of the request that reconnects an account.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReconnectBody {
    /// Its platform.
    pub platform: String,
    /// The account.
    #[schema(value_type = String)]
    pub account_id: AccountId,
}

/// An expired account that works again.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountRecovered {
    /// Which account.
    #[serde(flatten)]
    pub account: AboutAccount,
    /// What brought it back.
    pub by: RecoveredBy,
}

/// What an account is like now, and which of it is new.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountUpdated {
    /// Which account.
    #[serde(flatten)]
    pub account: AboutAccount,
    /// The name people see.
    pub display_name: Option<String>,
    /// A picture.
    pub avatar_url: Option<String>,
    /// What the person granted.
    pub scopes: Vec<String>,
    /// What was asked for and not granted.
    pub missing_scopes: Vec<String>,
    /// What is other than before.
    pub changed: Vec<AccountFact>,
    /// Whose it was before, if that changed.
    #[schema(value_type = Option<String>)]
    pub previous_profile_id: Option<ProfileId>,
}

/// An account that was taken out of use.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountDisconnected {
    /// Which account.
    #[serde(flatten)]
    pub account: AboutAccount,
    /// By whom.
    pub by: DisconnectedBy,
    /// By whose key, if one was used.
    #[schema(value_type = Option<String>)]
    pub api_key_id: Option<ApiKeyId>,
}

/// The receipt of a revocation.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountRevoked {
    /// Which account.
    #[serde(flatten)]
    pub account: AboutAccount,
    /// `status`, `at`, and `platformAnswer`: what the platform said.
    #[schema(value_type = Object)]
    pub revocation: Value,
}

impl AboutAccount {
    /// What to send to have it connected again.
    #[must_use]
    pub fn reconnect(&self, workspace: &WorkspaceId) -> Reconnect {
        Reconnect {
            method: "POST",
            path: format!("/v1/workspaces/{workspace}/connects"),
            body: ReconnectBody {
                platform: self.platform.clone(),
                account_id: self.account_id.clone(),
            },
        }
    }
}

macro_rules! about_an_account {
    ($($name:ty),+ $(,)?) => {$(
        impl About for $name {
            fn account_id(&self) -> Option<&AccountId> {
                Some(&self.account.account_id)
            }
        }
    )+};
}

about_an_account!(
    AccountConnected,
    AccountRefreshed,
    AccountRefreshOverdue,
    AccountActionNeeded,
    AccountReauthDue,
    AccountTokenExpired,
    AccountRecovered,
    AccountUpdated,
    AccountDisconnected,
    AccountRevoked,
);
