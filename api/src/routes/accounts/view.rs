//! An account as the API shows it. Never a token.

use latchkey_shared::db::accounts::{Account, AccountStatus};
use latchkey_shared::db::grants::{Grant, GrantStatus};
use latchkey_shared::ids::{AccountId, AppId, ProfileId, WorkspaceId};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use latchkey_shared::timestamp::Timestamp;

/// A connected social account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccountView {
    #[schema(value_type = String, example = "acc_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    pub(crate) id: AccountId,
    #[schema(value_type = String)]
    pub(crate) workspace_id: WorkspaceId,
    #[schema(example = "SANDBOX")]
    pub(crate) platform: String,
    /// The platform's id of the person or page.
    pub(crate) platform_user_id: String,
    pub(crate) username: Option<String>,
    pub(crate) display_name: Option<String>,
    pub(crate) avatar_url: Option<String>,
    pub(crate) status: AccountStatus,
    /// Why, when it is not `connected`.
    pub(crate) status_reason: Option<String>,
    /// What the person granted.
    pub(crate) scopes: Vec<String>,
    /// What was asked for and not granted.
    pub(crate) missing_scopes: Vec<String>,
    #[schema(value_type = Option<String>)]
    pub(crate) profile_id: Option<ProfileId>,
    #[schema(value_type = Option<String>)]
    pub(crate) app_id: Option<AppId>,
    /// What the connect was given.
    #[schema(value_type = Object)]
    pub(crate) metadata: Value,
    /// When it was connected last.
    pub(crate) connected_at: Timestamp,
    pub(crate) token_expired_at: Option<Timestamp>,
    pub(crate) disconnected_at: Option<Timestamp>,
    /// When it was connected first.
    pub(crate) created_at: Timestamp,
    /// What became of the tokens after a disconnect; `status` is `pending` until the platform was told.
    #[schema(value_type = Option<Object>)]
    pub(crate) revocation: Option<Value>,
    #[serde(flatten)]
    pub(crate) tokens: TokensView,
}

/// How the tokens are.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = AccountTokens)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokensView {
    /// When the access token ends, if it does. Null once the account is disconnected.
    pub(crate) token_expires_at: Option<Timestamp>,
    /// When it will be refreshed. Null where nothing is.
    pub(crate) next_refresh_at: Option<Timestamp>,
    pub(crate) last_refreshed_at: Option<Timestamp>,
    /// Counts token sets: one more with every refresh.
    pub(crate) token_generation: Option<i64>,
    /// By when the person must connect it again, where no refresh moves that end; `account.reauth_due`
    /// tells of it in time.
    pub(crate) reauth_due_at: Option<Timestamp>,
    /// What went wrong last, also when it went well since.
    pub(crate) last_error: Option<LastError>,
}

/// What went wrong last.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LastError {
    code: String,
    at: Timestamp,
}

impl TokensView {
    /// A grant may outlive an account: other accounts keep it.
    fn of(grant: Grant, account: AccountStatus) -> Self {
        let living = matches!(grant.status, GrantStatus::Active | GrantStatus::Expired);
        let in_use = living && account != AccountStatus::Disconnected;
        let active = in_use && grant.status == GrantStatus::Active;
        let connected = account == AccountStatus::Connected;
        let last_error = grant.last_error_code.zip(grant.last_error_at);
        Self {
            token_expires_at: grant.access_expires_at.filter(|_| in_use).map(Into::into),
            next_refresh_at: grant.refresh_at.filter(|_| active).map(Into::into),
            reauth_due_at: grant.reauth_at.filter(|_| connected).map(Into::into),
            last_refreshed_at: grant.last_refreshed_at.map(Into::into),
            token_generation: Some(grant.generation),
            last_error: last_error.map(|(code, at)| LastError { code, at: at.into() }),
        }
    }
}

impl From<(Account, Option<Grant>)> for AccountView {
    fn from((account, grant): (Account, Option<Grant>)) -> Self {
        let tokens = grant.map(|grant| TokensView::of(grant, account.status));
        Self {
            id: account.id,
            workspace_id: account.workspace_id,
            platform: account.platform,
            platform_user_id: account.platform_user_id,
            username: account.username,
            display_name: account.display_name,
            avatar_url: account.avatar_url,
            status: account.status,
            status_reason: account.status_reason,
            scopes: account.scopes,
            missing_scopes: account.missing_scopes,
            profile_id: account.profile_id,
            app_id: account.app_id,
            metadata: account.metadata,
            connected_at: account.connected_at.into(),
            token_expired_at: account.token_expired_at.map(Into::into),
            disconnected_at: account.disconnected_at.map(Into::into),
            created_at: account.created_at.into(),
            revocation: account.revocation,
            tokens: tokens.unwrap_or_default(),
        }
    }
}
