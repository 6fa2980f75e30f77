//! What a connect is started with.

use latchkey_shared::ids::{AccountId, AppId, ProfileId};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::credentials::Credentials;
use crate::problem::Problem;
use crate::validate::Checks;

/// A connect to be started.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StartConnect {
    /// Which platform; ids are upper case.
    #[schema(example = "SANDBOX")]
    pub(super) platform: String,
    /// Where the browser goes in the end; without it the person sees a page of ours.
    #[schema(max_length = 2048, example = "https://app.example/connected")]
    pub(super) redirect_url: Option<String>,
    /// Your end user.
    #[schema(value_type = Option<String>)]
    pub(super) profile_id: Option<ProfileId>,
    /// Your own OAuth client at the platform; without it that of the account to reconnect, else the
    /// operator's.
    #[schema(value_type = Option<String>)]
    pub(super) app_id: Option<AppId>,
    /// The account to reconnect: nothing changes if the person comes back as somebody else.
    #[schema(value_type = Option<String>)]
    pub(super) account_id: Option<AccountId>,
    /// What to ask for instead of the app's scopes, or the platform's default ones. Where the platform's
    /// `scopesFixed` is true they belong to the client: leave them out.
    #[schema(min_items = 1, max_items = 100)]
    pub(super) scopes: Option<Vec<String>>,
    /// Whatever you want to find on the account and its events; at most 4 KiB.
    #[schema(value_type = Option<Object>)]
    pub(super) metadata: Option<Map<String, Value>>,
    /// For platforms whose `flow` is `app_password`, and for no others.
    pub(super) credentials: Option<Credentials>,
}

impl StartConnect {
    /// What the types cannot say.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let mut checks = Checks::default();
        if let Some(scopes) = &self.scopes {
            checks.scopes(scopes);
        }
        if let Some(metadata) = &self.metadata {
            checks.metadata("/metadata", &Value::Object(metadata.clone()));
        }
        checks.finish()
    }
}
