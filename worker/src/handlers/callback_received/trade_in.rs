//! Some platforms' exchanges bring a token of an hour: it is traded in for a long-lived one before
//! anything rests on it. A short-lived token is never taken for a long-lived one.

use latchkey_shared::credentials;
use latchkey_shared::db::connects::Connect;
use latchkey_shared::db::grants::{self, Grant, NewTokens};
use latchkey_shared::db::{self, DbError};
use latchkey_shared::keyring::Owner;
use latchkey_shared::platforms::{Endpoints, Platform};
use latchkey_shared::tokens::TokenSet;

use super::{Reason, ask_again, give_up};
use crate::context::Context;
use crate::handlers::new_tokens::{Origin, new_tokens};
use crate::oauth::CallError;
use crate::oauth::refresh::trade_in;
use crate::oauth::refusal::{FailureClass, TokenError};
use crate::outcome::{Failure, Outcome};

/// The generation that an exchange brings.
const EXCHANGED: i64 = 1;

pub enum Step {
    /// With these.
    On(Box<Grant>, TokenSet),
    Over(Outcome),
}

/// Trades in, if that is due. Done again after a crash, it brings another long-lived token.
///
/// # Errors
/// [`Failure`].
pub async fn run(
    context: &Context,
    connect: &Connect,
    (platform, endpoints): (&Platform, &Endpoints),
    (grant, tokens): (Grant, TokenSet),
) -> Result<Step, Failure> {
    let (Some(wire), Some(url)) = (&platform.quirks.long_lived, &endpoints.long_lived_url) else {
        return Ok(Step::On(Box::new(grant), tokens));
    };
    if grant.generation != EXCHANGED {
        return Ok(Step::On(Box::new(grant), tokens));
    }
    let (client, called_at) = {
        let mut conn = context.store.conn().await?;
        let app = (&connect.workspace_id, connect.app_id.as_ref());
        let vault = context.store.vault();
        let client = credentials::resolve(&mut conn, vault, platform, app).await?;
        (client, db::read_now(&mut conn, context.clock()).await?)
    };
    let answer = match trade_in(&context.http, platform, (url, wire), &client, &tokens).await {
        Ok(answer) => answer,
        Err(error) => return refused(context, connect, platform, error).await,
    };
    let place = grants::tokens_place(&grant.workspace_id, &grant.id, grant.generation + 1);
    let key = {
        let mut conn = context.store.conn().await?;
        let owner = Owner::workspace(&grant.workspace_id);
        context.store.vault().sealing_key(&mut conn, owner).await?
    };
    let sealed = answer.tokens.seal(&key, place)?;
    let origin = Origin { called_at, scopes: &grant.scopes, refresh_end: None };
    let row = new_tokens(platform, &grant.id, (&answer, sealed), &origin);
    match context.held.until_stored(grant.id.as_str(), || store(context, &grant, &row)).await? {
        Some(grant) => Ok(Step::On(Box::new(grant), answer.tokens)),
        None => Ok(Step::Over(Outcome::Stale("its grant has moved on"))),
    }
}

async fn store(
    context: &Context,
    grant: &Grant,
    tokens: &NewTokens,
) -> Result<Option<Grant>, DbError> {
    let mut work = context.answers.begin().await?;
    work.make_durable().await?;
    let mut traded = None;
    if grants::trade_in(&mut work, grant, tokens).await? {
        traded = grants::find(&mut work, &grant.workspace_id, &grant.id).await?;
    }
    work.commit().await?;
    Ok(traded)
}

async fn refused(
    context: &Context,
    connect: &Connect,
    platform: &Platform,
    error: TokenError,
) -> Result<Step, Failure> {
    let code = match (error.class(platform), error) {
        (_, TokenError::Call(error)) => return Err(ask_again(context, connect, error).await?),
        (FailureClass::Transient | FailureClass::Unclear, TokenError::Refused(refusal)) => {
            let busy = CallError::Busy { wait: refusal.patience(platform), code: refusal.code };
            return Err(ask_again(context, connect, busy).await?);
        }
        (FailureClass::OurFault, error) => ("PLATFORM_MISCONFIGURED", error.to_json()),
        (_, error) => ("LONG_LIVED_REFUSED", error.to_json()),
    };
    let (code, said) = code;
    let reason = Reason { code, platform_error: Some(said) };
    Ok(Step::Over(give_up(context, connect, &reason).await?))
}
