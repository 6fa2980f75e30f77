//! What a connect is started with.

use latchkey_shared::ids::{AccountId, AppId, ProfileId};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::problem::Problem;
use crate::validate::Checks;

const MAX_SCOPES: usize = 100;
const MAX_SCOPE_BYTES: usize = 200;

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
    /// What to ask for instead of the platform's default scopes.
    #[schema(min_items = 1, max_items = 100)]
    pub(super) scopes: Option<Vec<String>>,
    /// Whatever you want to find on the account and its events; at most 4 KiB.
    #[schema(value_type = Option<Object>)]
    pub(super) metadata: Option<Map<String, Value>>,
}

impl StartConnect {
    /// What the types cannot say.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let mut checks = Checks::default();
        if let Some(scopes) = &self.scopes {
            check_scopes(&mut checks, scopes);
        }
        if let Some(metadata) = &self.metadata {
            checks.metadata("/metadata", &Value::Object(metadata.clone()));
        }
        checks.finish()
    }
}

/// RFC 6749 §3.3: printable ASCII without space, `"` and `\`.
fn check_scopes(checks: &mut Checks, scopes: &[String]) {
    if !(1..=MAX_SCOPES).contains(&scopes.len()) {
        checks.wrong("/scopes", format!("must be 1 to {MAX_SCOPES}, or left out"));
    }
    for (index, scope) in scopes.iter().enumerate() {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if !(1..=MAX_SCOPE_BYTES).contains(&scope.len()) || !scope.bytes().all(plain) {
            let message = format!("must be 1 to {MAX_SCOPE_BYTES} characters of a scope token");
            checks.wrong(format!("/scopes/{index}"), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_tokens() {
        let wrong = |scopes: &[&str]| {
            let mut checks = Checks::default();
            let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
            check_scopes(&mut checks, &scopes);
            checks.finish().is_err()
        };
        assert!(!wrong(&["profile", "https://www.example/auth/upload", "a:b.c"]));
        for scopes in [&[][..], &[""], &["two words"], &["a\"b"], &["ü"], &["a\0"]] {
            assert!(wrong(scopes), "{scopes:?}");
        }
    }
}
