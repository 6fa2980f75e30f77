//! What a connect is started with.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::credentials::Credentials;
use crate::db::connects::{Binding, ResultFormat};
use crate::ids::{AccountId, AppId, ProfileId};
use crate::refused::Refused;
use crate::validate::Checks;

/// A connect to be started.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StartConnect {
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
    /// What to ask for instead of the app's scopes, or the platform's default ones. Where the platform's
    /// `scopesFixed` is true they belong to the client: leave them out.
    #[schema(min_items = 1, max_items = 100)]
    pub scopes: Option<Vec<String>>,
    /// Whatever you want to find on the account and its events; at most 4 KiB.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// For platforms whose `flow` is `app_password`, and for no others. Without them `authorizeUrl` is a
    /// form of ours that asks the person.
    pub credentials: Option<Credentials>,
    /// Who may finish it: `none` (the default), whoever opens the authorize URL; `browser`, the browser
    /// in which the button behind `connectUrl` was pressed; `claim`, nobody until your backend claims it.
    pub binding: Option<Binding>,
}

/// A request together with the door that it came through.
#[derive(Debug)]
pub struct AskedThrough {
    /// What was asked for.
    pub request: StartConnect,
    /// Through which door.
    pub door: Door,
}

/// Through whose API a connect comes, and what that one promises.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// In whose words the redirect tells the result.
    pub result_format: ResultFormat,
    /// Whether it is exclusive whatever the workspace's policy says.
    pub exclusive: bool,
}

impl Door {
    /// Our own.
    pub const NATIVE: Self = Self { result_format: ResultFormat::Native, exclusive: false };
}

impl StartConnect {
    /// What the types cannot say.
    pub(super) fn check(&self) -> Result<(), Refused> {
        let mut checks = Checks::default();
        if let Some(scopes) = &self.scopes {
            checks.scopes(scopes);
        }
        if let Some(metadata) = &self.metadata {
            checks.metadata("/metadata", &Value::Object(metadata.clone()));
        }
        if self.binding == Some(Binding::Claim) && self.redirect_url.is_none() {
            checks.wrong("/redirectUrl", "is needed: it is what brings your backend the claim");
        }
        if self.credentials.is_some() && !matches!(self.binding, None | Some(Binding::None)) {
            checks.wrong("/binding", "must be left out: with `credentials` no browser takes part");
        }
        checks.finish()
    }
}
