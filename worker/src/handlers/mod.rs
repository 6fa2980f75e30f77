//! Handlers: one reacts to one command.
//!
//! Always: load and guard, prepare, one external call outside any transaction, one transaction, done.
//! The two matches below are the list; a command without a handler does not compile.

mod callback_received;
mod changes;
mod check_due;
mod expiry;
mod new_tokens;
mod reauth;
mod refresh_due;
mod revocation_due;
mod webhook_due;

pub use webhook_due::REQUEST_TIMEOUT as WEBHOOK_TIMEOUT;

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::clock::Clock;
use latchkey_shared::credentials::Credentials;
use latchkey_shared::db::{DbError, app_pauses};
use latchkey_shared::failpoint;
use latchkey_shared::ids::AppId;
use latchkey_shared::messages::{CallbackReceived, Command, CommandKind};
use latchkey_shared::platforms::Platform;
use latchkey_shared::work::Work;

use crate::context::Context;
use crate::outcome::{Failure, Outcome, Terms};

/// Terms of the handler of a command.
#[must_use]
pub fn terms(kind: CommandKind) -> Terms {
    match kind {
        CommandKind::CallbackReceived => callback_received::TERMS,
        CommandKind::RefreshDue => refresh_due::TERMS,
        CommandKind::CheckDue => check_due::TERMS,
        CommandKind::RevocationDue => revocation_due::TERMS,
        CommandKind::WebhookDue => webhook_due::TERMS,
    }
}

/// Handles a command.
///
/// # Errors
/// [`Failure`].
pub async fn handle(context: &Context, command: &Command) -> Result<Outcome, Failure> {
    failpoint::reach("handle", || command.body().to_string()).await;
    match command {
        Command::CallbackReceived(message) => callback_received::handle(context, message).await,
        Command::RefreshDue(message) => refresh_due::handle(context, message).await,
        Command::CheckDue(message) => check_due::handle(context, message).await,
        Command::RevocationDue(message) => revocation_due::handle(context, message).await,
        Command::WebhookDue(message) => webhook_due::handle(context, message).await,
    }
}

/// Ends a connect that nobody finished; for the sweep.
///
/// # Errors
/// [`Failure`].
pub async fn expire_connect(
    context: &Context,
    message: &CallbackReceived,
) -> Result<Outcome, Failure> {
    callback_received::expire(context, message).await
}

/// Ends a grant that nothing can renew; for the sweep.
///
/// # Errors
/// [`Failure`].
pub async fn expire_grant(
    context: &Context,
    grant: &latchkey_shared::messages::GrantRef,
) -> Result<Outcome, Failure> {
    refresh_due::expire_ended(context, grant).await
}

/// Tells of an end that no refresh moves; for the sweep.
///
/// # Errors
/// [`Failure`].
pub async fn notice_reauth(
    context: &Context,
    grant: &latchkey_shared::messages::GrantRef,
) -> Result<Outcome, Failure> {
    reauth::notice(context, grant).await
}

/// While we are wrong ourselves, asking more often helps nobody.
const OUR_FAULT_PAUSE: Duration = Duration::from_secs(300);
/// For one account's sake others are not held back longer; then the next one finds out.
const MAX_APP_PAUSE: Duration = Duration::from_secs(900);

/// Leaves a platform app alone, as the platform asked. Not where each person's host speaks for itself
/// alone: there one host could hold up everybody.
async fn pause_app(
    work: &mut Work,
    clock: &Clock,
    (platform, app): (&Platform, Option<&AppId>),
    (wait, reason): (Duration, &str),
) -> Result<(), DbError> {
    if platform.quirks.own_host {
        return Ok(());
    }
    let wait = TimeDelta::from_std(wait.min(MAX_APP_PAUSE)).unwrap_or(TimeDelta::minutes(15));
    app_pauses::pause(work, clock, (&platform.id, app), (wait, reason)).await
}

/// An app's newest secret does not work, and its older one is about to be presented: not for long, if
/// the platform is just slow to learn it.
fn note_refused_secret(client: &Credentials) {
    tracing::warn!(
        client.id = client.client_id,
        "the newest client secret is refused: trying the older one"
    );
}

/// How long a platform's answer is held while the database is away.
const STORE_PATIENCE: Duration = Duration::from_secs(60);

/// Repeats a unit of work while the database is away: what it stores cannot be had a second time.
/// The work must guard itself against having been committed by an earlier try.
async fn until_stored<T, F, Fut>(work: F) -> Result<T, DbError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, DbError>>,
{
    let begun = tokio::time::Instant::now();
    loop {
        match work().await {
            Err(error) if begun.elapsed() < STORE_PATIENCE => {
                tracing::warn!("a platform's answer is not stored yet, trying again: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            result => return result,
        }
    }
}
