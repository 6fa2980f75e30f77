//! What a consent brought, and whose it is.

use latchkey_shared::credentials;
use latchkey_shared::db::connects::Connect;
use latchkey_shared::db::grants::{self, Grant, GrantStatus};
use latchkey_shared::db::{self, accounts};
use latchkey_shared::ids::GrantKey;
use latchkey_shared::keyring::KeyOwner;
use latchkey_shared::platforms::{Platform, Reach};
use latchkey_shared::tokens::TokenSet;
use latchkey_shared::work::Work;

use super::{admit, lease};
use crate::context::Context;
use crate::handlers::open_grant;
use crate::outcome::Failure;
use crate::receipt;

/// The grant that a connect brought, with its tokens.
///
/// # Errors
/// [`Failure`].
pub async fn load(
    context: &Context,
    connect: &Connect,
) -> Result<Option<(Grant, TokenSet)>, Failure> {
    let Some(grant) = &connect.grant_id else { return Ok(None) };
    open_grant(context, GrantKey { workspace_id: &connect.workspace_id, id: grant }).await
}

/// The hash of a person at a platform.
///
/// # Errors
/// [`Failure`].
pub async fn hash(
    context: &Context,
    connect: &Connect,
    platform: &Platform,
    person: &str,
) -> Result<Vec<u8>, Failure> {
    let mut session = context.store.conn().await?;
    let client = credentials::resolve(
        &mut session,
        platform,
        &connect.workspace_id,
        connect.app_id.as_ref(),
    )
    .await?;
    let key = session.encryption_key(KeyOwner::Installation).await?;
    Ok(key.hash(&[platform.vendor(), &client.client_id, person]))
}

/// What became of a grant as it was named.
pub enum Named {
    /// It is this person's.
    Yes(Grant),
    /// It is, and the platform was told meanwhile to end what the person consented to before: this consent
    /// may have ended with it.
    InDoubt(Grant),
    /// The same, and the platform may still be at it.
    NotYet,
    /// It is not waiting for a name any more.
    Gone,
}

/// Writes down whose grant it is before anything is decided about it: from now on nobody lets go of this
/// person's consent without seeing this one, and what was to be let go of is spared.
///
/// # Errors
/// [`Failure`].
pub async fn name(
    context: &Context,
    connect: &Connect,
    grant: Grant,
    tokens: &TokenSet,
    holder: Vec<u8>,
) -> Result<Named, Failure> {
    let platform = context.platform(&grant.platform)?;
    let mut work = context.store.begin().await?;
    if admit::lock_waiting(&mut work, connect, &grant).await?.is_none() {
        return Ok(Named::Gone);
    }
    grants::lock_holder(&mut work, &holder).await?;
    let key = work.encryption_key(KeyOwner::workspace(&grant.workspace_id)).await?;
    let sealed = tokens.encrypt(&key, grant.tokens_aad())?;
    if !grants::name_holder(&mut work, &grant, &holder, &sealed).await? {
        return Ok(Named::Gone);
    }
    let mut told = None;
    if !reaches_one_token(platform) {
        spare_releasing(&mut work, context, &holder).await?;
        told = grants::last_revocation(&mut work, &holder).await?;
    }
    let now = db::read_now(&mut work).await?;
    work.commit().await?;
    let grant = Grant { holder_hash: Some(holder), ..grant };
    let lands_within = lease(context.http.timeouts().other);
    Ok(match told {
        Some((at, GrantStatus::Releasing)) if at + lands_within > now => Named::NotYet,
        Some((at, _)) if at + lands_within > connect.created_at => Named::InDoubt(grant),
        _ => Named::Yes(grant),
    })
}

/// A new consent of the same person stops a revocation that was not sent yet, where the platform
/// would end the new consent with it.
async fn spare_releasing(work: &mut Work, context: &Context, holder: &[u8]) -> Result<(), Failure> {
    for old in grants::releasing_of_holder(work, holder).await? {
        grants::supersede(work, &old.workspace_id, &old.grant_id, "kept_for_other_accounts")
            .await?;
        let receipt = receipt::new(context.clock(), "kept_for_other_accounts", None);
        accounts::set_receipt(work, &old.workspace_id, &old.grant_id, &receipt).await?;
    }
    Ok(())
}

/// Whether a revocation ends one token alone.
pub fn reaches_one_token(platform: &Platform) -> bool {
    platform.reach == Reach::Token
}
