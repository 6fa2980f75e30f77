//! An account that lives by a token of its own is asked with it how it is called now, once a check has shown that the
//! token works. An extra: after a failure it is asked on the next day.

use latchkey_shared::db::accounts::{self, Account, AccountStatus, Identity};
use latchkey_shared::platforms::{Endpoints, Platform};
use latchkey_shared::tokens::TokenSet;
use secrecy::SecretString;

use super::changes::tell_changes;
use crate::context::Context;
use crate::oauth::identity::{self, identify};
use crate::outcome::Failure;

/// Has the account's name and picture follow the platform's.
pub(super) async fn follow(
    context: &Context,
    platform: &Platform,
    endpoints: &Endpoints,
    account: &Account,
    token: &SecretString,
) {
    let tokens =
        TokenSet { access_token: token.clone(), refresh_token: None, subject: None, host: None };
    let told = match identify(&context.http, platform, endpoints, &tokens, &account.scopes).await {
        Ok(seen) if seen.id == account.platform_user_id => write(context, account, &seen).await,
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::debug!(account.id = %account.id, "its name was not told: {error}");
            Ok(())
        }
    };
    if let Err(failure) = told {
        tracing::debug!(account.id = %account.id, "its name was not stored: {failure:?}");
    }
}

async fn write(
    context: &Context,
    seen: &Account,
    named: &identity::Identity,
) -> Result<(), Failure> {
    let mut work = context.store.begin().await?;
    let account = accounts::lock(&mut work, &seen.workspace_id, &seen.id).await?;
    let same = |now: &Account| {
        now.sealed_token == seen.sealed_token && now.status == AccountStatus::Connected
    };
    let Some(account) = account.filter(same) else { return Ok(()) };
    let identity = Identity {
        platform_user_id: &account.platform_user_id,
        // The list of pages tells the handle, and this answer does not.
        username: named.username.as_deref().or(account.username.as_deref()),
        display_name: named.display_name.as_deref(),
        avatar_url: named.avatar_url.as_deref(),
    };
    if identity != Identity::of(&account) {
        let now = accounts::rename(&mut work, &account, &identity).await?;
        tell_changes(&mut work, &account, &now).await?;
        work.commit().await?;
    }
    Ok(())
}
