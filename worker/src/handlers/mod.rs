//! Handlers: one reacts to one command.
//!
//! Always: load and guard, prepare, one external call outside any transaction, one transaction, done.
//! The two matches below are the list; a command without a handler does not compile.

mod callback_received;
mod changes;
mod check_due;
mod expiry;
mod judge;
mod look;
mod new_tokens;
mod page_name;
mod pause;
mod reauth;
mod refresh_due;
mod revocation_due;
mod webhook_due;

pub use webhook_due::Receivers;

use futures_util::future::BoxFuture;
use latchkey_shared::credentials::Credentials;
use latchkey_shared::db::grants::{self, Grant};
use latchkey_shared::failpoint;
use latchkey_shared::ids::GrantKey;
use latchkey_shared::messages::{CallbackReceived, Command, CommandKind, GrantRef};
use latchkey_shared::tokens::TokenSet;

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
    // The largest would be part of every future that calls this one: on the heap it takes no stack.
    let handling: BoxFuture<'_, _> = match command {
        Command::CallbackReceived(message) => Box::pin(callback_received::handle(context, message)),
        Command::RefreshDue(message) => Box::pin(refresh_due::handle(context, message)),
        Command::CheckDue(message) => Box::pin(check_due::handle(context, message)),
        Command::RevocationDue(message) => Box::pin(revocation_due::handle(context, message)),
        Command::WebhookDue(message) => Box::pin(webhook_due::handle(context, message)),
    };
    handling.await
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
pub async fn expire_grant(context: &Context, grant: &GrantRef) -> Result<Outcome, Failure> {
    refresh_due::expire_ended(context, grant).await
}

/// Notices that an access token has ended; for the sweep.
///
/// # Errors
/// [`Failure`].
pub async fn note_lapsed(context: &Context, grant: &GrantRef) -> Result<Outcome, Failure> {
    refresh_due::note_lapsed(context, grant).await
}

/// Tells of an end that no refresh moves; for the sweep.
///
/// # Errors
/// [`Failure`].
pub async fn notice_reauth(context: &Context, grant: &GrantRef) -> Result<Outcome, Failure> {
    reauth::notice(context, grant).await
}

/// A grant with its tokens. `None`: it has none any more.
async fn open_grant(
    context: &Context,
    key: GrantKey<'_>,
) -> Result<Option<(Grant, TokenSet)>, Failure> {
    let mut conn = context.store.conn().await?;
    let Some(grant) = grants::find(&mut conn, key.workspace_id, key.id).await? else {
        return Ok(None);
    };
    let Some(sealed) = &grant.sealed_tokens else { return Ok(None) };
    let tokens = TokenSet::decrypt(&mut conn, grant.tokens_aad(), sealed).await?;
    Ok(Some((grant, tokens)))
}

/// An app's newest secret does not work, and its older one is about to be presented: not for long, if
/// the platform is just slow to learn it.
fn note_refused_secret(client: &Credentials) {
    tracing::warn!(
        client.id = client.client_id,
        "the newest client secret is refused: trying the older one"
    );
}
