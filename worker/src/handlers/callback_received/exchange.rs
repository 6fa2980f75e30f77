//! The code, or the app password, is presented, once (where the platform refuses the client's newest
//! secret, once more with the older one); the answer is stored before anything else happens to it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::credentials::{self, Credentials};
use latchkey_shared::db::Session;
use latchkey_shared::db::app_health::AppKey;
use latchkey_shared::db::connects::{self, Advance, Connect, ConnectStatus};
use latchkey_shared::db::grants::{self, GrantStatus, NewGrant, NewTokens};
use latchkey_shared::db::{self, DbError};
use latchkey_shared::failpoint;
use latchkey_shared::ids::{GrantId, GrantKey};
use latchkey_shared::keyring::{DataKey, KeyOwner, SealError};
use latchkey_shared::messages::{Command, RevocationDue};
use latchkey_shared::platforms::{Endpoints, Flow, Platform, Reach};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

use super::{Reason, fail, give_up, identity_lease, misconfigured, rest};
use crate::context::Context;
use crate::handlers::new_tokens::{Origin, new_tokens};
use crate::handlers::note_refused_secret;
use crate::health;
use crate::oauth::app_password::{self, AppPassword};
use crate::oauth::exchange::{CodeExchange, exchange};
use crate::oauth::refusal::{FailureClass, TokenError};
use crate::oauth::revoke::revoke;
use crate::oauth::{Answer, CallError};
use crate::outcome::Failure;

/// Exchanges the code of a connect that this worker has just taken. Answers the connect when it is
/// to go on, `None` when it has ended.
///
/// # Errors
/// [`Failure`].
pub async fn run(context: &Context, connect: &Connect) -> Result<Option<Connect>, Failure> {
    let (platform, prepared) = match prepare(context, connect).await {
        Ok(prepared) => prepared,
        Err(failure) => {
            not_presented(context, connect).await?;
            return Err(failure);
        }
    };
    failpoint::reach("exchange_taken", || connect.id.to_string()).await;
    let answer = present(context, platform, &prepared).await;
    failpoint::reach("exchange_answered", || connect.id.to_string()).await;
    match answer {
        Ok(answer) => {
            let app = AppKey::new(&connect.platform, connect.app_id.as_ref());
            let (own, called_at) = (context.clone(), prepared.called_at);
            context.tasks.spawn(async move { health::note_answered(&own, &app, called_at).await });
            store(context, connect, platform, &prepared, &answer).await
        }
        Err(TokenError::Call(
            error @ (CallError::NotSent(_) | CallError::Undiscovered(_) | CallError::Unresolved(_)),
        )) => {
            not_presented(context, connect).await?;
            Err(Failure::Later(error.into()))
        }
        Err(TokenError::Call(error)) if was_put_off(&error) => {
            put_off(context, connect, platform, error).await.map(|()| None)
        }
        Err(error) => refused(context, connect, platform, &error).await.map(|()| None),
    }
}

/// Whether the platform did not look at the code: RFC 6585 §4, RFC 9110 §15.6.4.
fn was_put_off(error: &CallError) -> bool {
    match error {
        CallError::Status { status: 429, .. } => true,
        CallError::Status { status: 503, retry_after, .. } => retry_after.is_some(),
        _ => false,
    }
}

/// The code is presented again when the platform wants to be asked, if it is still good then.
async fn put_off(
    context: &Context,
    connect: &Connect,
    platform: &Platform,
    error: CallError,
) -> Result<(), Failure> {
    let rest = rest(connect, platform, &error);
    let now = db::read_now(&mut *context.store.conn().await?).await?;
    let lifetime = TimeDelta::from_std(platform.quirks.code_lifetime).unwrap_or(TimeDelta::MAX);
    let good = |rest: &TimeDelta| {
        connect.authorized_at().is_some_and(|since| now + *rest < since + lifetime)
    };
    let Some(rest) = rest.filter(good) else {
        return refused(context, connect, platform, &error.into()).await;
    };
    give_back(context, connect, Some(rest)).await?;
    Err(Failure::Later(error.into()))
}

/// Within this the second call, too, ends within the lease.
const SECOND_CALL_WITHIN: Duration = Duration::from_secs(8);

/// Calls once, and once more where only the client's newest secret was refused: the code was not
/// looked at.
async fn present(
    context: &Context,
    platform: &Platform,
    prepared: &Prepared<'_>,
) -> Result<Answer, TokenError> {
    let Prepared { endpoints, client, presented, begun, .. } = prepared;
    let code = match presented {
        Presented::Code(code) => code,
        Presented::AppPassword(given) => {
            let unknown = || CallError::Unresolved("there is no directory of hosts".to_owned());
            let directory = context.directory.as_ref().ok_or_else(unknown)?;
            return app_password::begin(&context.http, directory, given).await;
        }
    };
    let called = exchange(&context.http, platform, endpoints.as_ref(), client, code.clone()).await;
    let refused = called.as_ref().is_err_and(|error| error.refuses_the_client(platform));
    let in_time = begun.elapsed() < SECOND_CALL_WITHIN;
    match client.older().filter(|_| refused && in_time) {
        Some(older) => {
            note_refused_secret(&older);
            exchange(&context.http, platform, endpoints.as_ref(), &older, code.clone()).await
        }
        None => called,
    }
}

enum Presented<'a> {
    Code(CodeExchange<'a>),
    AppPassword(AppPassword),
}

struct Prepared<'a> {
    begun: Instant,
    endpoints: Arc<Endpoints>,
    client: Credentials,
    key: Arc<DataKey>,
    presented: Presented<'a>,
    called_at: DateTime<Utc>,
}

/// All that the call needs, through one connection: a second one, waited for while holding the
/// first, could be held by others who wait alike.
async fn prepare<'a>(
    context: &'a Context,
    connect: &'a Connect,
) -> Result<(&'a Platform, Prepared<'a>), Failure> {
    let begun = Instant::now();
    let platform = context.platform(&connect.platform)?;
    let endpoints = context.endpoints(platform).await?;
    let workspace = &connect.workspace_id;
    let mut session = context.store.conn().await?;
    let client =
        credentials::resolve(&mut session, platform, workspace, connect.app_id.as_ref()).await?;
    let key = session.encryption_key(KeyOwner::workspace(workspace)).await?;
    let sealed = connect.sealed_code.as_deref().ok_or(SealError::UnknownFormat)?;
    let code = session.decrypt_text(connects::code_aad(connect.key()), sealed).await?;
    let presented = match platform.flow {
        Flow::AuthorizationCode => Presented::Code(CodeExchange {
            code,
            verifier: decrypt_verifier(&mut session, connect).await?,
            redirect_uri: &connect.redirect_uri,
        }),
        Flow::AppPassword => {
            let given = serde_json::from_str(code.expose_secret());
            Presented::AppPassword(given.map_err(|_| SealError::UnknownFormat)?)
        }
    };
    let called_at = db::read_now(&mut session).await?;
    let prepared = Prepared { begun, endpoints, client, key, presented, called_at };
    Ok((platform, prepared))
}

async fn decrypt_verifier(
    session: &mut Session,
    connect: &Connect,
) -> Result<Option<SecretString>, SealError> {
    let Some(sealed) = &connect.sealed_verifier else { return Ok(None) };
    let aad = connects::verifier_aad(connect.key());
    session.decrypt_text(aad, sealed).await.map(Some)
}

/// Stores the answer as a grant. A connect that ended meanwhile does not want it any more: then the
/// grant is stored as one to be revoked.
async fn store(
    context: &Context,
    connect: &Connect,
    platform: &Platform,
    prepared: &Prepared<'_>,
    answer: &Answer,
) -> Result<Option<Connect>, Failure> {
    let id = GrantId::new(context.clock());
    let aad = grants::tokens_aad(GrantKey { workspace_id: &connect.workspace_id, id: &id }, 1);
    let sealed = answer.tokens.encrypt(&prepared.key, aad)?;
    let called_at = prepared.called_at;
    let origin = Origin { called_at, scopes: &connect.scopes, refresh_end: None };
    let tokens = new_tokens(platform, &id, answer, sealed, &origin);
    let unfit = answer.unfit;
    let what = connect.id.as_str();
    let insert = || insert(context, connect, platform, (&id, &tokens, unfit));
    match context.held.until_stored(what, insert).await {
        Err(error) if error.is_permanent() => {
            dispose(context, platform, prepared, answer).await;
            let cause = serde_json::json!({ "cause": "not_storable" });
            let reason = Reason { code: "EXCHANGE_FAILED", platform_error: Some(cause) };
            give_up(context, connect, &reason).await.map(|_| None)
        }
        stored => Ok(stored?),
    }
}

/// Tokens that cannot be kept must not live on at the platform. Where a revocation reaches further than the token it
/// would end what others live by: there they end by themselves.
async fn dispose(context: &Context, platform: &Platform, prepared: &Prepared<'_>, answer: &Answer) {
    let url = prepared.endpoints.revoke_url.as_ref();
    let Some(url) = url.filter(|_| platform.reach == Reach::Token) else { return };
    match revoke(&context.http, platform, url, &prepared.client, &answer.tokens).await {
        Ok(said) => tracing::debug!("tokens that cannot be stored were revoked: {said:?}"),
        Err(error) => {
            tracing::error!("tokens that cannot be stored live on at {}: {error}", platform.name);
        }
    }
}

async fn insert(
    context: &Context,
    connect: &Connect,
    platform: &Platform,
    (id, tokens, unfit): (&GrantId, &NewTokens, Option<&'static str>),
) -> Result<Option<Connect>, DbError> {
    let workspace = &connect.workspace_id;
    let mut work = context.answers.begin().await?;
    work.make_durable().await?;
    let now = connects::lock(&mut work, workspace, &connect.id).await?;
    if let Some(now) = now.as_ref().filter(|now| now.grant_id.as_ref() == Some(id)) {
        return Ok(Some(now.clone()).filter(|now| !now.status.is_final()));
    }
    let wanted =
        now.is_some_and(|now| now.status == ConnectStatus::Exchanging && now.grant_id.is_none());
    let status = if wanted { GrantStatus::Pending } else { GrantStatus::Releasing };
    let new = NewGrant {
        id: id.clone(),
        workspace_id: workspace,
        platform: &connect.platform,
        app_id: connect.app_id.as_ref(),
        status,
        tokens,
    };
    grants::insert(&mut work, &new).await?;
    let mut stored = None;
    if wanted {
        connects::store_grant(&mut work, workspace, &connect.id, id).await?;
        let lease = identity_lease(context, platform);
        connects::set_lease(&mut work, connect.key(), lease).await?;
        stored = connects::find(&mut work, workspace, &connect.id).await?;
    } else {
        let command = RevocationDue { workspace_id: workspace.clone(), grant_id: id.clone() };
        work.send(&Command::RevocationDue(command)).await?;
    }
    if let (Some(reason), Some(unfit)) = (unfit, &stored) {
        fail(&mut work, unfit, &Reason::new(reason)).await?;
        stored = None;
    }
    work.commit().await?;
    Ok(stored)
}

/// Nothing left this machine: the code is as good as before, unless somebody else took it meanwhile.
pub(super) async fn not_presented(context: &Context, connect: &Connect) -> Result<(), DbError> {
    give_back(context, connect, None).await
}

/// The code waits to be presented, if somebody else has not taken it meanwhile: after a rest, where a call was
/// answered. Tried for as long as an answer would be: only this worker knows.
async fn give_back(
    context: &Context,
    connect: &Connect,
    rest: Option<TimeDelta>,
) -> Result<(), DbError> {
    let give_back = || async {
        let mut work = context.answers.begin().await?;
        let step = Advance {
            lease_was: connect.lease_until,
            ..Advance::to(ConnectStatus::Authorized, &[ConnectStatus::Exchanging])
        };
        let key = connect.key();
        let given_back = connects::advance(&mut work, key, &step).await?;
        if let Some(rest) = rest.filter(|_| given_back.is_some()) {
            connects::note_try(&mut work, key, rest).await?;
        }
        work.commit().await
    };
    context.held.until_stored(connect.id.as_str(), give_back).await
}

async fn refused(
    context: &Context,
    connect: &Connect,
    platform: &Platform,
    error: &TokenError,
) -> Result<(), Failure> {
    if error.class_of_exchange(platform) == FailureClass::OurFault {
        let said = error.to_json();
        return misconfigured(context, connect, &error.code(), said).await.map(drop);
    }
    let code = match error {
        TokenError::Refused(_) => "EXCHANGE_REFUSED",
        TokenError::Unfit(reason, _) => reason,
        TokenError::Call(_) => "EXCHANGE_FAILED",
    };
    let platform_error = match error {
        TokenError::Call(error) => error.to_json(),
        _ => error.to_json(),
    };
    let platform_error = Some(platform_error).filter(|said| !said.is_null());
    let reason = Reason { code, platform_error };
    give_up(context, connect, &reason).await.map(drop)
}
