//! Who the person is, and what there is to connect: asked with the tokens that are stored already.

use latchkey_shared::candidates::Candidate;
use latchkey_shared::db::connects::Connect;
use latchkey_shared::db::grants::Grant;
use latchkey_shared::platforms::quirks::Accounts;
use latchkey_shared::platforms::{Brought, Endpoints, Platform, missing_scopes};
use latchkey_shared::tokens::TokenSet;
use serde_json::{Value, json};

use super::consent::{self, Named};
use super::{Reason, ask_again, choose, finish, give_up, look_again_soon, misconfigured, trade_in};
use crate::context::Context;
use crate::oauth::identity::{Identity, identify};
use crate::oauth::listing::list;
use crate::oauth::refusal::FailureClass;
use crate::oauth::{AskError, CallError, app_password, busy};
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
        Err(error) => {
            return ask_again(context, connect, platform, CallError::from(error), FAILED).await;
        }
    };
    let (grant, tokens) = match trade_in::run(context, connect, &endpoints, grant, tokens).await? {
        trade_in::Step::On(grant, tokens) => (*grant, tokens),
        trade_in::Step::Over(outcome) => return Ok(outcome),
    };
    let (identity, listed) = match ask(context, platform, &endpoints, &tokens, &grant.scopes).await
    {
        Ok(answers) => answers,
        Err(error) => return unanswered(context, connect, platform, &grant, error).await,
    };
    let hash = consent::hash(context, connect, platform, &identity.id).await?;
    let tokens = with_subject(tokens, &identity);
    let grant = match consent::name(context, connect, grant, &tokens, hash).await? {
        Named::Yes(grant) => grant,
        Named::InDoubt(grant) => {
            match ask(context, platform, &endpoints, &tokens, &grant.scopes).await {
                Ok(_) => grant,
                Err(error) => return unanswered(context, connect, platform, &grant, error).await,
            }
        }
        Named::NotYet => return Ok(Outcome::Snooze(look_again_soon(context, connect).await?)),
        Named::Gone => return Ok(Outcome::Stale("its grant has moved on")),
    };
    match listed {
        None => finish::run(context, connect, &grant, &tokens, &[identity.into()]).await,
        Some(candidates) => choose::run(context, connect, &grant, &tokens, candidates).await,
    }
}

/// The platform gave no answer, however often it was asked.
pub(super) const FAILED: &str = "IDENTITY_FAILED";

/// What comes of a connect whose person the platform does not name.
async fn unanswered(
    context: &Context,
    connect: &Connect,
    platform: &Platform,
    grant: &Grant,
    error: AskError,
) -> Result<Outcome, Failure> {
    let (code, said) = match error {
        AskError::Call(error) => {
            return ask_again(context, connect, platform, error, FAILED).await;
        }
        AskError::Said(refusal) => match refusal.class(platform) {
            FailureClass::OurFault => {
                return misconfigured(context, connect, &refusal.code, refusal.to_json()).await;
            }
            FailureClass::NeedsConsent => {
                ("PERMISSION_MISSING", with_missing(refusal.to_json(), connect, grant))
            }
            FailureClass::Checkpoint => ("ACTION_REQUIRED", refusal.to_json()),
            FailureClass::DeadIfRepeated => {
                return ask_again(context, connect, platform, busy(platform, refusal), FAILED)
                    .await;
            }
            _ => ("IDENTITY_REFUSED", refusal.to_json()),
        },
        AskError::Jwt => {
            let words = error.to_string();
            let said = json!({ "error": "jwt", "description": words });
            return misconfigured(context, connect, "jwt", said).await;
        }
        other => ("IDENTITY_REFUSED", json!({ "cause": other.to_string() })),
    };
    give_up(context, connect, &Reason { code, platform_error: Some(said) }).await
}

/// What was asked for and not given, where that is known.
fn with_missing(mut said: Value, connect: &Connect, grant: &Grant) -> Value {
    let brought = Brought { refresh_token: grant.renewable, name: false };
    let missing = missing_scopes(&connect.scopes, &grant.scopes, brought);
    if !missing.is_empty() {
        said["missingScopes"] = json!(missing);
    }
    said
}

/// The person, and what they may choose from where that is not the person alone.
async fn ask(
    context: &Context,
    platform: &Platform,
    endpoints: &Endpoints,
    tokens: &TokenSet,
    scopes: &[String],
) -> Result<(Identity, Option<Vec<Candidate>>), AskError> {
    let told = identify(&context.http, platform, endpoints, tokens, scopes).await;
    let mut identity = match told {
        // At a person's own host the session said already who it is. Name and picture are an extra: another server
        // has them, and not of every account.
        Err(_) if platform.quirks.own_host => Identity::of_session(tokens)?,
        answered => answered?,
    };
    if let Some(directory) = context.directory.as_ref().filter(|_| platform.quirks.own_host) {
        identity.username = app_password::handle(directory, &identity.id).await?;
    }
    let listed = match (&platform.quirks.accounts, &endpoints.accounts_url) {
        (Accounts::Listed(listing), Some(url)) => {
            Some(list(&context.http, platform, url, listing, tokens).await?)
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
