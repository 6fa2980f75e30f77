//! Some platforms' exchanges bring a token of an hour: it is traded in for a long-lived one before
//! anything rests on it. A short-lived token is never taken for a long-lived one.

use latchkey_shared::credentials::{self, Credentials};
use latchkey_shared::db::connects::Connect;
use latchkey_shared::db::grants::{self, Grant, NewTokens};
use latchkey_shared::db::{self, DbError};
use latchkey_shared::keyring::KeyOwner;
use latchkey_shared::platforms::{Endpoints, Platform};
use latchkey_shared::tokens::TokenSet;

use super::{Reason, ask_again, give_up, misconfigured};
use crate::context::Context;
use crate::handlers::new_tokens::{Origin, new_tokens};
use crate::handlers::note_refused_secret;
use crate::oauth::refresh::{LongLived, trade_in};
use crate::oauth::refusal::{FailureClass, TokenError};
use crate::oauth::{Answer, busy};
use crate::outcome::{Failure, Outcome};

/// The platform gives access for an hour and no longer.
const REFUSED: &str = "LONG_LIVED_REFUSED";
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
    endpoints: &Endpoints,
    grant: Grant,
    tokens: TokenSet,
) -> Result<Step, Failure> {
    let platform = context.platform(&connect.platform)?;
    let (Some(wire), Some(url)) = (&platform.quirks.long_lived, &endpoints.long_lived_url) else {
        return Ok(Step::On(Box::new(grant), tokens));
    };
    if grant.generation != EXCHANGED {
        return Ok(Step::On(Box::new(grant), tokens));
    }
    let (client, called_at) = {
        let mut conn = context.store.conn().await?;
        let client = credentials::resolve(
            &mut conn,
            platform,
            &connect.workspace_id,
            connect.app_id.as_ref(),
        )
        .await?;
        (client, db::read_now(&mut conn).await?)
    };
    let answer = match present(context, platform, LongLived { url, wire }, &client, &tokens).await {
        Ok(answer) => answer,
        Err(error) => return refused(context, connect, platform, error).await.map(Step::Over),
    };
    let aad = grants::tokens_aad(grant.key(), grant.generation + 1);
    let key = {
        let mut conn = context.store.conn().await?;
        conn.encryption_key(KeyOwner::workspace(&grant.workspace_id)).await?
    };
    let sealed = answer.tokens.encrypt(&key, aad)?;
    let origin = Origin { called_at, scopes: &grant.scopes, refresh_end: None };
    let row = new_tokens(platform, &grant.id, &answer, sealed, &origin);
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

/// Calls once, and once more where only the client's newest secret was refused.
async fn present(
    context: &Context,
    platform: &Platform,
    to: LongLived<'_>,
    client: &Credentials,
    tokens: &TokenSet,
) -> Result<Answer, TokenError> {
    let called = trade_in(&context.http, platform, to, client, tokens).await;
    let refused = called.as_ref().is_err_and(|error| error.refuses_the_client(platform));
    match client.older().filter(|_| refused) {
        Some(older) => {
            note_refused_secret(&older);
            trade_in(&context.http, platform, to, &older, tokens).await
        }
        None => called,
    }
}

async fn refused(
    context: &Context,
    connect: &Connect,
    platform: &Platform,
    error: TokenError,
) -> Result<Outcome, Failure> {
    let class = error.class(platform);
    let error = match error {
        TokenError::Call(error) => error,
        TokenError::Refused(refusal)
            if matches!(class, FailureClass::Transient | FailureClass::Unclear) =>
        {
            busy(platform, refusal)
        }
        error if class == FailureClass::OurFault => {
            let said = error.to_json();
            return misconfigured(context, connect, &error.code(), said).await;
        }
        error => {
            let reason = Reason { code: REFUSED, platform_error: Some(error.to_json()) };
            return give_up(context, connect, &reason).await;
        }
    };
    ask_again(context, connect, platform, error, REFUSED).await
}
