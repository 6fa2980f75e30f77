//! The code is presented, once (where the platform refuses the client's newest secret, once more with
//! the older one); the answer is stored before anything else happens to it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use latchkey_shared::credentials::{self, Credentials};
use latchkey_shared::db::connects::{self, Advance, Connect, ConnectStatus};
use latchkey_shared::db::grants::{self, GrantStatus, NewGrant, NewTokens};
use latchkey_shared::db::{self, DbError};
use latchkey_shared::failpoint;
use latchkey_shared::ids::GrantId;
use latchkey_shared::keyring::{DataKey, Owner, Place, SealError};
use latchkey_shared::messages::{Command, RevocationDue};
use latchkey_shared::platforms::{Endpoints, Platform};
use secrecy::SecretString;
use tokio::time::Instant;

use super::{Reason, fail, identity_lease};
use crate::context::Context;
use crate::handlers::{note_refused_secret, until_stored};
use crate::oauth::exchange::{CodeExchange, exchange};
use crate::oauth::refusal::{FailureClass, TokenError};
use crate::oauth::{Answer, CallError, schedule};
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
        Ok(answer) => store(context, connect, &prepared.key, (answer, prepared.called_at)).await,
        Err(TokenError::Call(CallError::NotSent(error))) => {
            not_presented(context, connect).await?;
            let error = anyhow::Error::new(error.without_url());
            Err(Failure::Later(error.context("the platform could not be reached")))
        }
        Err(error) => refused(context, connect, &error).await.map(|()| None),
    }
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
    let at = (platform, endpoints.as_ref());
    let called = exchange(&context.http, at, client, presented.clone()).await;
    let refused = called.as_ref().is_err_and(TokenError::refuses_the_client);
    let in_time = begun.elapsed() < SECOND_CALL_WITHIN;
    match client.older().filter(|_| refused && in_time) {
        Some(older) => {
            note_refused_secret(&older);
            exchange(&context.http, at, &older, presented.clone()).await
        }
        None => called,
    }
}

struct Prepared<'a> {
    begun: Instant,
    endpoints: Arc<Endpoints>,
    client: Credentials,
    key: Arc<DataKey>,
    presented: CodeExchange<'a>,
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
    let (vault, workspace) = (context.store.vault(), &connect.workspace_id);
    let mut conn = context.store.conn().await?;
    let app = (workspace, connect.app_id.as_ref());
    let client = credentials::resolve(&mut conn, vault, platform, app).await?;
    let owner = Owner::workspace(workspace);
    let key = vault.sealing_key(&mut conn, owner).await?;
    let code = (&connect.sealed_code, connects::code_place(workspace, &connect.id));
    let verifier = (&connect.sealed_verifier, connects::verifier_place(workspace, &connect.id));
    let presented = CodeExchange {
        code: open(&mut conn, context, owner, code).await?.ok_or(SealError::UnknownFormat)?,
        verifier: open(&mut conn, context, owner, verifier).await?,
        redirect_uri: &connect.redirect_uri,
    };
    let called_at = db::read_now(&mut conn, context.clock()).await?;
    let prepared = Prepared { begun, endpoints, client, key, presented, called_at };
    Ok((platform, prepared))
}

async fn open(
    conn: &mut AsyncPgConnection,
    context: &Context,
    owner: Owner<'_>,
    (sealed, place): (&Option<Vec<u8>>, Place<'_>),
) -> Result<Option<SecretString>, Failure> {
    let Some(sealed) = sealed else { return Ok(None) };
    let key = context.store.vault().opening_key(conn, owner, sealed).await?;
    let plain = key.open(place, sealed)?;
    let text = std::str::from_utf8(&plain).map_err(|_| SealError::UnknownFormat)?;
    Ok(Some(SecretString::from(text)))
}

/// Stores the answer as a grant. A connect that ended meanwhile does not want it any more: then the
/// grant is stored as one to be revoked.
async fn store(
    context: &Context,
    connect: &Connect,
    key: &DataKey,
    (answer, called_at): (Answer, DateTime<Utc>),
) -> Result<Option<Connect>, Failure> {
    let id = GrantId::new(context.clock());
    let place = grants::tokens_place(&connect.workspace_id, &id, 1);
    let sealed = answer.tokens.seal(key, place)?;
    let tokens = new_tokens(&id, &answer, sealed, (called_at, &connect.scopes));
    Ok(until_stored(|| insert(context, connect, &id, &tokens)).await?)
}

/// What a platform's answer becomes in a row. Expiry counts from before the call.
pub(in crate::handlers) fn new_tokens(
    id: &GrantId,
    answer: &Answer,
    sealed: Vec<u8>,
    (called_at, asked): (DateTime<Utc>, &[String]),
) -> NewTokens {
    let after = |lifetime: Option<Duration>| {
        lifetime
            .and_then(|lifetime| called_at.checked_add_signed(TimeDelta::from_std(lifetime).ok()?))
    };
    let renewable = answer.tokens.refresh_token.is_some();
    // What the platform does not say is never the end of an account, only time for a refresh.
    let usual_lifetime = answer.usual_lifetime.filter(|_| renewable);
    let access_expires_at = after(answer.access_lifetime.or(usual_lifetime));
    NewTokens {
        sealed,
        renewable,
        // RFC 6749 §5.1: no scope in the answer means what was asked for.
        scopes: answer.scopes.clone().unwrap_or_else(|| asked.to_vec()),
        issued_at: called_at,
        access_expires_at,
        refresh_expires_at: after(answer.refresh_lifetime),
        refresh_at: access_expires_at
            .filter(|_| renewable)
            .map(|end| schedule::refresh_at(id, called_at, end)),
    }
}

async fn insert(
    context: &Context,
    connect: &Connect,
    id: &GrantId,
    tokens: &NewTokens,
) -> Result<Option<Connect>, DbError> {
    let workspace = &connect.workspace_id;
    let mut work = context.store.begin().await?;
    work.make_durable().await?;
    let now = connects::lock(&mut work, workspace, &connect.id).await?;
    if let Some(now) = now.as_ref().filter(|now| now.grant_id.as_ref() == Some(id)) {
        return Ok(Some(now.clone()));
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
    grants::insert(&mut work, context.clock(), &new).await?;
    let mut stored = None;
    if wanted {
        connects::store_grant(&mut work, workspace, &connect.id, id).await?;
        connects::set_lease(
            &mut work,
            context.clock(),
            (workspace, &connect.id),
            Some(identity_lease(context)),
        )
        .await?;
        stored = connects::find(&mut work, workspace, &connect.id).await?;
    } else {
        let command = RevocationDue { workspace_id: workspace.clone(), grant_id: id.clone() };
        work.send(&Command::RevocationDue(command)).await?;
    }
    work.commit().await?;
    Ok(stored)
}

/// Nothing left this machine: the code is as good as before, unless somebody else took it meanwhile.
/// Tried for as long as an answer would be: only this worker knows.
pub(super) async fn not_presented(context: &Context, connect: &Connect) -> Result<(), DbError> {
    until_stored(|| async {
        let mut work = context.store.begin().await?;
        let step = Advance {
            lease_was: connect.lease_until,
            ..Advance::to(ConnectStatus::Authorized, &[ConnectStatus::Exchanging])
        };
        let key = (&connect.workspace_id, &connect.id);
        connects::advance(&mut work, context.clock(), key, &step).await?;
        work.commit().await
    })
    .await
}

async fn refused(context: &Context, connect: &Connect, error: &TokenError) -> Result<(), Failure> {
    let reason = match error {
        TokenError::Refused(refusal) => Reason {
            code: match refusal.class() {
                FailureClass::OurFault => "PLATFORM_MISCONFIGURED",
                _ => "EXCHANGE_REFUSED",
            },
            platform_error: Some(refusal.to_json()),
        },
        TokenError::Call(_) => Reason {
            code: "EXCHANGE_FAILED",
            platform_error: Some(serde_json::json!({ "cause": error.code() })),
        },
    };
    if reason.code == "PLATFORM_MISCONFIGURED" {
        tracing::error!(
            platform.id = connect.platform,
            error = error.code(),
            "the platform refuses our client: check its credentials"
        );
    }
    let mut work = context.store.begin().await?;
    let Some(now) = connects::lock(&mut work, &connect.workspace_id, &connect.id).await? else {
        return Ok(());
    };
    fail(&mut work, context, &now, &reason).await?;
    Ok(work.commit().await?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use latchkey_shared::clock::Clock;
    use latchkey_shared::tokens::TokenSet;

    use super::*;

    fn stored(access_lifetime: Option<u64>, refresh_token: Option<&str>) -> NewTokens {
        let clock = Clock::system();
        let answer = Answer {
            tokens: TokenSet {
                access_token: "a".into(),
                refresh_token: refresh_token.map(SecretString::from),
            },
            access_lifetime: access_lifetime.map(Duration::from_secs),
            usual_lifetime: Some(Duration::from_secs(7200)),
            refresh_lifetime: None,
            scopes: None,
        };
        new_tokens(&GrantId::new(&clock), &answer, Vec::new(), (clock.now(), &[]))
    }

    #[test]
    fn the_usual_lifetime_brings_a_refresh_and_never_an_end() {
        let lives = |tokens: &NewTokens| tokens.access_expires_at.map(|end| end - tokens.issued_at);
        let told = stored(Some(60), Some("r"));
        assert_eq!(lives(&told), Some(TimeDelta::minutes(1)), "what the platform says counts");
        let usual = stored(None, Some("r"));
        assert_eq!(lives(&usual), Some(TimeDelta::hours(2)));
        assert!(usual.refresh_at < usual.access_expires_at && usual.refresh_at.is_some());
        let not_renewable = stored(None, None);
        assert_eq!(lives(&not_renewable), None, "nobody said when it ends");
        assert_eq!(not_renewable.refresh_at, None);
    }
}
