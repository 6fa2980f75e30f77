//! Using an account's token: opened for one call of the caller's, fresh enough or refreshed first by a worker.
//! No token leaves this file but into that call, and nothing here talks to a platform.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use secrecy::SecretString;
use tokio::time::Instant;

use super::TokenSet;
use crate::db::accounts::{self, Account, AccountStatus};
use crate::db::grants::{self, CallState, Grant, GrantStatus};
use crate::db::{
    self, DbError, Session, account_checks, app_health, app_pauses, workspace_deletion,
};
use crate::ids::{AccountKey, GrantId};
use crate::keyring::SealError;
use crate::messages::{Command, GrantRef, RefreshDue};
use crate::work::Store;

/// How long a refresh is waited for.
pub const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why there is no token to be used.
#[derive(Debug, thiserror::Error)]
pub enum NoAccess {
    /// The workspace has no such account.
    #[error("the workspace has no such account")]
    NotFound,
    /// The account was taken out of use: it is to be connected again, if anybody wants it.
    #[error("the account is disconnected")]
    Disconnected,
    /// Only the person can help, by connecting again.
    #[error("the account's token has expired ({reason}): its person must connect it again")]
    TokenExpired {
        /// Why, as the account's `statusReason` says it; `ends_too_soon` where nothing renews a token that
        /// lives, but not for as long as was asked.
        reason: String,
    },
    /// The token must be refreshed, and the platform's app is left alone for a while.
    #[error("the platform's app is left alone until {until}")]
    Paused {
        /// Until then at least.
        until: DateTime<Utc>,
    },
    /// The token is being refreshed, or will be, and was not in time: try again later.
    #[error("the token was not refreshed within {} s", PATIENCE.as_secs())]
    Busy,
    /// The platform refused the token, and the one that came after it, or there is none after it.
    #[error("the platform refuses the account's token")]
    Refused,
    /// The database failed.
    #[error("the account could not be read")]
    Database(#[from] DbError),
    /// What is stored cannot be opened.
    #[error("the token could not be opened")]
    Sealed(#[from] SealError),
}

/// How a use of a token fails.
#[derive(Debug)]
pub enum UseError<E> {
    /// The platform says that the token is not good (401).
    Unauthorized,
    /// Anything else; it is handed on.
    Other(E),
}

impl<E> From<E> for UseError<E> {
    fn from(error: E) -> Self {
        Self::Other(error)
    }
}

/// What came of it, if not what was wanted.
#[derive(Debug, thiserror::Error)]
pub enum AccessError<E> {
    /// There is no token to be used.
    #[error(transparent)]
    No(#[from] NoAccess),
    /// The use failed with this.
    #[error("the token was opened, and its use failed")]
    Failed(E),
}

/// Calls `act` with the access token of an account: one that lives for `min_validity` longer, refreshed
/// first by a worker where it does not. However many wait for the same account, it is refreshed once. A
/// token that was refreshed just now is used however short it lives.
///
/// Where `act` says that the platform refused the token, it is refreshed, once for all who say so, and
/// `act` is called once more. An account with a token of its own (a Facebook page) has nothing to
/// refresh: then the platform is asked about the token, and the account expires if it is dead.
///
/// ```
/// use std::time::Duration;
///
/// use latchkey_shared::ids::{AccountId, WorkspaceId};
/// use latchkey_shared::tokens::{AccessError, NoAccess, UseError, with_access};
/// use latchkey_shared::work::Store;
/// use secrecy::{ExposeSecret as _, SecretString};
///
/// async fn publish(store: &Store, workspace: &WorkspaceId, account: &AccountId, text: &str) {
///     let act = |token: SecretString| async move {
///         match post(token.expose_secret(), text).await? {
///             401 => Err(UseError::Unauthorized),
///             status => Ok(status),
///         }
///     };
///     match with_access(store, AccountKey { workspace_id: workspace, id: account }, Duration::from_secs(60), act).await {
///         Ok(status) => println!("the platform answered {status}"),
///         Err(AccessError::No(NoAccess::TokenExpired { reason })) => println!("ask the person: {reason}"),
///         Err(AccessError::No(why)) => println!("not now: {why}"),
///         Err(AccessError::Failed(error)) => println!("the call failed: {error}"),
///     }
/// }
///
/// # async fn post(_: &str, _: &str) -> Result<u16, std::io::Error> { Ok(200) }
/// ```
///
/// # Errors
/// [`AccessError`].
pub async fn with_access<T, E, F>(
    store: &Store,
    account: AccountKey<'_>,
    min_validity: Duration,
    act: impl Fn(SecretString) -> F,
) -> Result<T, AccessError<E>>
where
    F: Future<Output = Result<T, UseError<E>>>,
{
    let min_validity = TimeDelta::from_std(min_validity).unwrap_or(TimeDelta::MAX);
    let first = open(store, account, &Wanted { min_validity, refused: None }).await?;
    match act(first.token).await {
        Ok(done) => return Ok(done),
        Err(UseError::Other(error)) => return Err(AccessError::Failed(error)),
        Err(UseError::Unauthorized) => {}
    }
    let Some(refused) = first.of else {
        let mut conn = store.conn().await.map_err(NoAccess::from)?;
        let hastened = account_checks::hasten(&mut conn, account).await;
        return Err(hastened.map_or_else(NoAccess::from, |()| NoAccess::Refused).into());
    };
    let second = open(store, account, &Wanted { min_validity, refused: Some(refused) }).await?;
    match act(second.token).await {
        Ok(done) => Ok(done),
        Err(UseError::Other(error)) => Err(AccessError::Failed(error)),
        Err(UseError::Unauthorized) => Err(NoAccess::Refused.into()),
    }
}

/// A grant and the generation of its tokens.
type Generation = (GrantId, i64);

struct Wanted {
    min_validity: TimeDelta,
    /// Any but this one.
    refused: Option<Generation>,
}

struct Opened {
    token: SecretString,
    /// `None`: the account's own.
    of: Option<Generation>,
}

/// Opens a token that is as wanted; waits for one, but not for long.
async fn open(store: &Store, at: AccountKey<'_>, wanted: &Wanted) -> Result<Opened, NoAccess> {
    let until = Instant::now() + PATIENCE;
    let mut asked: Option<Generation> = None;
    loop {
        let mut conn = store.conn().await?;
        let (account, grant) = find(&mut conn, at).await?;
        if account.sealed_token.is_some() {
            return decrypt_own(&mut conn, &account).await;
        }
        let active = |grant: &Grant| grant.status == GrantStatus::Active;
        let grant = grant.filter(active).ok_or(NoAccess::Disconnected)?;
        let now = db::read_now(&mut conn).await?;
        let of = (grant.id.clone(), grant.generation);
        // What came of our own asking is as fresh as can be had.
        let enough = match &asked {
            Some(before) if *before != of => TimeDelta::milliseconds(1),
            _ => wanted.min_validity,
        };
        let ends_too_soon =
            grant.access_expires_at.is_some_and(|end| end.signed_duration_since(now) < enough);
        if !ends_too_soon && wanted.refused.as_ref() != Some(&of) {
            return decrypt_granted(&mut conn, &grant).await;
        }
        drop(conn);
        if !grant.renewable {
            return Err(if ends_too_soon {
                NoAccess::TokenExpired { reason: "ends_too_soon".to_owned() }
            } else {
                NoAccess::Refused
            });
        }
        if asked.is_none() {
            ask(store, &grant).await?;
            asked = Some(of);
        }
        if Instant::now() >= until {
            return Err(NoAccess::Busy);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The account, if it can be used.
async fn find(
    conn: &mut AsyncPgConnection,
    key: AccountKey<'_>,
) -> Result<(Account, Option<Grant>), NoAccess> {
    let found = accounts::find_with_grant(conn, key.workspace_id, key.id).await?;
    let (account, grant) = found.ok_or(NoAccess::NotFound)?;
    if workspace_deletion::is_hidden(conn, key.workspace_id).await? {
        return Err(NoAccess::NotFound);
    }
    match account.status {
        AccountStatus::Connected => Ok((account, grant)),
        AccountStatus::Disconnected => Err(NoAccess::Disconnected),
        AccountStatus::TokenExpired => {
            Err(NoAccess::TokenExpired { reason: account.status_reason.unwrap_or_default() })
        }
    }
}

async fn decrypt_own(session: &mut Session, account: &Account) -> Result<Opened, NoAccess> {
    let sealed = account.sealed_token.as_deref().unwrap_or_default();
    let aad = account_checks::token_aad(account.key());
    let token = session.decrypt_text(aad, sealed).await?;
    Ok(Opened { token, of: None })
}

async fn decrypt_granted(session: &mut Session, grant: &Grant) -> Result<Opened, NoAccess> {
    let sealed = grant.sealed_tokens.as_deref().unwrap_or_default();
    let token = TokenSet::decrypt(session, grant.tokens_aad(), sealed).await?.access_token;
    Ok(Opened { token, of: Some((grant.id.clone(), grant.generation)) })
}

/// Has a worker refresh the grant, unless that is under way: somebody calls, or it is due and will be
/// dispatched. A try that failed is waited for, not hurried: the platform was asked a moment ago.
async fn ask(store: &Store, seen: &Grant) -> Result<(), NoAccess> {
    let mut work = store.begin().await?;
    let Some(grant) = grants::lock(&mut work, &seen.workspace_id, &seen.id).await? else {
        return Ok(());
    };
    // Others who asked held the lock until a moment ago: what they made due is due.
    let now = db::read_clock(&mut work).await?;
    if grant.generation != seen.generation {
        return Ok(());
    }
    match grant.call_state(now) {
        CallState::UnderWay => return Ok(()),
        CallState::InDoubt(_) => return Err(NoAccess::Busy),
        CallState::Free => {}
    }
    if let Some(until) = paused_until(&mut work, &grant).await? {
        return Err(NoAccess::Paused { until });
    }
    let patience = TimeDelta::from_std(PATIENCE).unwrap_or(TimeDelta::MAX);
    match grant.refresh_at {
        Some(at) if at <= now => return Ok(()),
        Some(at) if grant.attempts > 0 && at > now + patience => return Err(NoAccess::Busy),
        Some(_) if grant.attempts > 0 => return Ok(()),
        _ => {}
    }
    grants::make_due(&mut work, &grant, now).await?;
    let due = GrantRef { workspace_id: grant.workspace_id, grant_id: grant.id };
    let command = RefreshDue { platform: grant.platform, grants: vec![due] };
    work.send(&Command::RefreshDue(command)).await?;
    work.commit().await?;
    Ok(())
}

/// Until when the grant's app is left alone: because the platform asked for it, or until the next probe of an
/// app whose brake is on.
async fn paused_until(
    conn: &mut AsyncPgConnection,
    grant: &Grant,
) -> Result<Option<DateTime<Utc>>, DbError> {
    let app = grant.app_key();
    if let Some(until) = app_pauses::until(conn, &app, &grant.workspace_id).await? {
        return Ok(Some(until));
    }
    let health = app_health::find(conn, &app).await?;
    let braked = health.filter(|health| health.braked_since.is_some());
    Ok(braked.and_then(|health| health.probe_at))
}
