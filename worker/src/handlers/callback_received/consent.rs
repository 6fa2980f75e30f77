//! What a consent brought, and whose it is.

use latchkey_shared::credentials;
use latchkey_shared::db::accounts;
use latchkey_shared::db::connects::Connect;
use latchkey_shared::db::grants::{self, Grant};
use latchkey_shared::keyring::Owner;
use latchkey_shared::platforms::{Platform, Reach};
use latchkey_shared::tokens::TokenSet;
use latchkey_shared::work::Work;

use super::{Reason, admit, fail};
use crate::context::Context;
use crate::outcome::{Failure, Outcome};
use crate::receipt;

/// The grant that a connect brought, with its tokens.
///
/// # Errors
/// [`Failure`].
pub async fn load(
    context: &Context,
    connect: &Connect,
) -> Result<Option<(Grant, TokenSet)>, Failure> {
    let Some(grant_id) = &connect.grant_id else {
        return Ok(None);
    };
    let workspace = &connect.workspace_id;
    let mut conn = context.store.conn().await?;
    let Some(grant) = grants::find(&mut conn, workspace, grant_id).await? else {
        return Ok(None);
    };
    let Some(sealed) = &grant.sealed_tokens else {
        return Ok(None);
    };
    let key =
        context.store.vault().opening_key(&mut conn, Owner::workspace(workspace), sealed).await?;
    let tokens = TokenSet::open(&key, grant.tokens_place(), sealed)?;
    Ok(Some((grant, tokens)))
}

/// The person who consented.
pub struct Holder {
    /// What the consent brought, naming the person where calls must.
    pub tokens: TokenSet,
    /// The same for every grant of one person through one OAuth client, in the whole installation.
    pub hash: Vec<u8>,
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
    let mut conn = context.store.conn().await?;
    let vault = context.store.vault();
    let app = (&connect.workspace_id, connect.app_id.as_ref());
    let client = credentials::resolve(&mut conn, vault, platform, app).await?;
    let key = vault.sealing_key(&mut conn, Owner::Installation).await?;
    Ok(key.hash(&[platform.vendor(), &client.client_id, person]))
}

/// Writes down whose grant it is, and spares what was released of the same person. The holder must be
/// locked. False when the grant is not waiting for it any more.
///
/// # Errors
/// [`Failure`].
pub async fn name_holder(
    work: &mut Work,
    context: &Context,
    (grant, holder): (&Grant, &Holder),
) -> Result<bool, Failure> {
    let owner = Owner::workspace(&grant.workspace_id);
    let key = context.store.vault().sealing_key(work, owner).await?;
    let sealed = holder.tokens.seal(&key, grant.tokens_place())?;
    if !grants::name_holder(work, grant, &holder.hash, &sealed).await? {
        return Ok(false);
    }
    let platform = context.platform(&grant.platform)?;
    spare_releasing(work, context, &holder.hash, platform).await?;
    Ok(true)
}

/// Ends a connect whose consent cannot be used. Whose it is is written down first: by that it is decided
/// whether the platform is told, and nobody else's consent ends with it.
///
/// # Errors
/// [`Failure`].
pub async fn refuse(
    context: &Context,
    connect: &Connect,
    brought: (&Grant, &Holder),
    reason: &Reason,
) -> Result<Outcome, Failure> {
    let mut work = context.store.begin().await?;
    let Some(connect) = admit::lock_waiting(&mut work, connect, brought.0).await? else {
        return Ok(Outcome::Stale("ended meanwhile"));
    };
    refuse_in(&mut work, context, &connect, brought, reason).await?;
    work.commit().await?;
    Ok(Outcome::Done)
}

/// The same in the caller's transaction, which has locked the connect.
///
/// # Errors
/// [`Failure`].
pub async fn refuse_in(
    work: &mut Work,
    context: &Context,
    connect: &Connect,
    (grant, holder): (&Grant, &Holder),
    reason: &Reason,
) -> Result<(), Failure> {
    grants::lock_holder(work, &holder.hash).await?;
    name_holder(work, context, (grant, holder)).await?;
    Ok(fail(work, context, connect, reason).await?)
}

/// A new consent of the same person stops a revocation that was not sent yet, where the platform
/// would end the new consent with it.
async fn spare_releasing(
    work: &mut Work,
    context: &Context,
    holder: &[u8],
    platform: &Platform,
) -> Result<(), Failure> {
    if reaches_one_token(platform) {
        return Ok(());
    }
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
