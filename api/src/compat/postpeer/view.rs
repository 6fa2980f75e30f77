//! What PostPeer's clients send and get. Never a secret.

use latchkey_shared::db::accounts::AccountStatus;
use latchkey_shared::ids::{AccountId, AppId, ProfileId};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::{IntoParams, ToSchema};

use super::words;
use crate::compat::words::Word as _;
use crate::problem::Problem;
use crate::routes::accounts::AccountView;
use crate::routes::apps::AppView;
use crate::routes::profiles::ProfileView;
use latchkey_shared::timestamp::Timestamp;

/// Fields of ours, and the parameters that they come from.
pub(super) const PARAMETERS: [(&str, &str); 4] = [
    ("/redirectUrl", "redirectUri"),
    ("/profileId", "profileId"),
    ("/appId", "appId"),
    ("/platform", "platform"),
];
/// The same for the body of a Bluesky login.
pub(super) const CREDENTIALS: [(&str, &str); 3] = [
    ("/credentials/identifier", "/identifier"),
    ("/credentials/password", "/password"),
    ("/profileId", "/profileId"),
];
/// Where a profile keeps what PostPeer calls its description.
pub(super) const DESCRIPTION: &str = "description";

/// How to connect.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct ConnectQuery {
    /// Where the browser goes after the account was connected.
    pub(super) redirect_uri: Option<String>,
    /// The profile that the integration shall belong to.
    #[param(value_type = Option<String>)]
    pub(super) profile_id: Option<ProfileId>,
    /// The app to connect through, instead of the operator's.
    #[param(value_type = Option<String>)]
    pub(super) app_id: Option<AppId>,
}

/// A URL to open.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectUrl {
    /// Where the person's browser has to go.
    #[schema(value_type = String, format = Uri)]
    pub(super) url: Url,
}

/// Which integrations are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct IntegrationsQuery {
    /// Of this profile only.
    #[param(value_type = Option<String>)]
    pub(super) profile_id: Option<ProfileId>,
}

/// How an integration is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum IntegrationStatus {
    /// In order.
    Connected,
    /// To be connected again by the person.
    TokenExpired,
}

/// A connected account.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Integration {
    /// The account's id.
    #[schema(value_type = String)]
    id: AccountId,
    platform: words::Postpeer,
    /// The platform's id of the person or page.
    platform_user_id: String,
    display_name: Option<String>,
    image_url: Option<String>,
    #[schema(value_type = Option<String>)]
    profile_id: Option<ProfileId>,
    status: IntegrationStatus,
    /// When it was connected first.
    created_at: Timestamp,
}

impl Integration {
    /// `None` for a platform that PostPeer has no word for, and for what is disconnected.
    pub(super) fn of(account: AccountView) -> Option<Self> {
        let status = match account.status {
            AccountStatus::Connected => IntegrationStatus::Connected,
            AccountStatus::TokenExpired => IntegrationStatus::TokenExpired,
            AccountStatus::Disconnected => return None,
        };
        Some(Self {
            status,
            platform: words::Postpeer::of(&account.platform)?,
            id: account.id,
            platform_user_id: account.platform_user_id,
            display_name: account.display_name.or(account.username),
            image_url: account.avatar_url,
            profile_id: account.profile_id,
            created_at: account.created_at,
        })
    }
}

/// The integrations.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IntegrationList {
    pub(super) success: bool,
    /// How many there are.
    pub(super) total: usize,
    pub(super) integrations: Vec<Integration>,
}

/// An integration that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IntegrationMade {
    pub(super) success: bool,
    pub(super) integration: Integration,
}

/// Who the person is at Bluesky.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlueskyLogin {
    /// The account's handle or DID.
    #[schema(min_length = 3, max_length = 253, example = "ann.bsky.social")]
    pub(super) identifier: String,
    /// An app password.
    #[schema(value_type = String, example = "xxxx-xxxx-xxxx-xxxx", write_only)]
    pub(super) password: SecretString,
    /// The profile that the integration shall belong to.
    #[schema(value_type = Option<String>)]
    pub(super) profile_id: Option<ProfileId>,
}

/// The same, beside the body.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct BlueskyQuery {
    /// The profile that the integration shall belong to, as for other platforms.
    #[param(value_type = Option<String>)]
    pub(super) profile_id: Option<ProfileId>,
}

/// An app to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateApp {
    /// Where it is registered.
    pub(super) platform: words::Postpeer,
    /// What people call it.
    #[schema(min_length = 1, max_length = 200)]
    pub(super) name: String,
    /// The platform's id of the client.
    #[schema(min_length = 1, max_length = 1000)]
    pub(super) client_id: String,
    /// The platform's secret of the client. No answer shows it.
    #[schema(value_type = String, min_length = 1, max_length = 1000, write_only)]
    pub(super) client_secret: SecretString,
}

/// A new secret of an app.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplaceSecret {
    /// The platform's new secret of the client. No answer shows it.
    #[schema(value_type = String, min_length = 1, max_length = 1000, write_only)]
    pub(super) client_secret: SecretString,
}

/// An app, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = App)]
#[serde(rename_all = "camelCase")]
pub(super) struct AppShown {
    #[schema(value_type = String)]
    id: AppId,
    platform: words::Postpeer,
    name: String,
    client_id: String,
    created_at: Timestamp,
}

impl AppShown {
    /// `None` for a platform that PostPeer has no word for.
    pub(super) fn of(app: AppView) -> Option<Self> {
        Some(Self {
            platform: words::Postpeer::of(&app.platform)?,
            id: app.id,
            name: app.name,
            client_id: app.client_id,
            created_at: app.created_at,
        })
    }
}

/// An app that was made or changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AppMade {
    pub(super) success: bool,
    pub(super) app: AppShown,
}

impl AppMade {
    pub(super) fn of(app: AppView) -> Result<Self, Problem> {
        let app = AppShown::of(app).ok_or_else(Problem::not_found)?;
        Ok(Self { success: true, app })
    }
}

/// The apps.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AppList {
    pub(super) success: bool,
    pub(super) apps: Vec<AppShown>,
}

/// That it is done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Done {
    pub(super) success: bool,
}

/// A profile to be made.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct CreateProfile {
    /// What people call it.
    #[schema(min_length = 1, max_length = 200)]
    pub(super) name: String,
    /// Whatever you want to say of it.
    pub(super) description: Option<String>,
}

/// A profile.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Profile)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProfileShown {
    #[schema(value_type = String)]
    id: ProfileId,
    name: String,
    description: Option<String>,
    created_at: Timestamp,
}

impl ProfileShown {
    pub(super) fn of(profile: ProfileView) -> Self {
        Self {
            description: profile.metadata[DESCRIPTION].as_str().map(ToOwned::to_owned),
            id: profile.id,
            name: profile.name,
            created_at: profile.created_at,
        }
    }
}

/// A profile that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProfileMade {
    pub(super) success: bool,
    pub(super) profile: ProfileShown,
}

impl ProfileMade {
    pub(super) fn of(profile: ProfileView) -> Self {
        Self { success: true, profile: ProfileShown::of(profile) }
    }
}

/// The profiles.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProfileList {
    pub(super) success: bool,
    pub(super) profiles: Vec<ProfileShown>,
}
