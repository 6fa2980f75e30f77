//! Who the person is, and what there is to connect: asked with the tokens that are stored already.

use latchkey_shared::candidates::Candidate;
use latchkey_shared::db::connects::Connect;
use latchkey_shared::platforms::quirks::Accounts;
use latchkey_shared::platforms::{Endpoints, Platform};
use latchkey_shared::tokens::TokenSet;
use serde_json::json;

use super::consent::{self, Named};
use super::{Reason, ask_again, choose, finish, give_up, look_again_soon, trade_in};
use crate::context::Context;
use crate::oauth::identity::{Identity, identify};
use crate::oauth::listing::list;
use crate::oauth::{AskError, CallError, app_password};
use crate::outcome::{Failure, Outcome};

/// Finds out who it is, and connects the accounts or asks which.
///
/// # Errors
/// [`Failure`].
pub async fn run(context: &Context, connect: &Connect) -> Result<Outcome, Failure> {
    let platform = context.platform(&connect.platform)?;
    let Some((grant, tokens)) = consent::load(context, connect).await? else {
        return Ok(Outcome::Stale("its tokens are gone"));
    };
    let endpoints = match context.endpoints(platform).await {
        Ok(endpoints) => endpoints,
        Err(error) => return Err(ask_again(context, connect, CallError::from(error)).await?),
    };
    let at = (platform, endpoints.as_ref());
    let (grant, tokens) = match trade_in::run(context, connect, at, (grant, tokens)).await? {
        trade_in::Step::On(grant, tokens) => (*grant, tokens),
        trade_in::Step::Over(outcome) => return Ok(outcome),
    };
    let (identity, listed) = match ask(context, at, &tokens).await {
        Ok(answers) => answers,
        Err(error) => return unanswered(context, connect, error).await,
    };
    let hash = consent::hash(context, connect, platform, &identity.id).await?;
    let tokens = with_subject(tokens, &identity);
    let grant = match consent::name(context, connect, (grant, &tokens), hash).await? {
        Named::Yes(grant) => grant,
        Named::InDoubt(grant) => match ask(context, at, &tokens).await {
            Ok(_) => grant,
            Err(error) => return unanswered(context, connect, error).await,
        },
        Named::NotYet => return Ok(Outcome::Snooze(look_again_soon(context, connect).await?)),
        Named::Gone => return Ok(Outcome::Stale("its grant has moved on")),
    };
    match listed {
        None => finish::run(context, connect, (&grant, &tokens), &[identity.into()]).await,
        Some(candidates) => choose::run(context, connect, (&grant, &tokens), candidates).await,
    }
}

/// What comes of a connect whose person the platform does not name.
async fn unanswered(
    context: &Context,
    connect: &Connect,
    error: AskError,
) -> Result<Outcome, Failure> {
    let platform_error = match error {
        AskError::Call(error) => return Err(ask_again(context, connect, error).await?),
        AskError::Said(refusal) => refusal.to_json(),
        other => json!({ "cause": other.to_string() }),
    };
    let reason = Reason { code: "IDENTITY_REFUSED", platform_error: Some(platform_error) };
    give_up(context, connect, &reason).await
}

/// The person, and what they may choose from where that is not the person alone.
async fn ask(
    context: &Context,
    (platform, endpoints): (&Platform, &Endpoints),
    tokens: &TokenSet,
) -> Result<(Identity, Option<Vec<Candidate>>), AskError> {
    let mut identity = identify(&context.http, (platform, endpoints), tokens).await?;
    if let Some(directory) = context.directory.as_ref().filter(|_| platform.quirks.own_host) {
        identity.username = app_password::handle(directory, &identity.id).await?;
    }
    let listed = match (&platform.quirks.accounts, &endpoints.accounts_url) {
        (Accounts::Listed(listing), Some(url)) => {
            Some(list(&context.http, platform, (url, listing), tokens).await?)
        }
        _ => None,
    };
    Ok((identity, listed))
}

fn with_subject(tokens: TokenSet, identity: &Identity) -> TokenSet {
    let subject = tokens.subject.or_else(|| Some(identity.id.clone()));
    TokenSet { subject, ..tokens }
}

impl From<Identity> for Candidate {
    fn from(identity: Identity) -> Self {
        let Identity { id, username, display_name, avatar_url } = identity;
        Self { id, username, display_name, avatar_url, token: None, ineligible: None }
    }
}
