//! The last step of a connect: one transaction that gives the account its new grant.
//!
//! Locks are taken in one order everywhere: connect, holder, grants, accounts.

use latchkey_shared::credentials;
use latchkey_shared::db::accounts::{self, Account, Upsert};
use latchkey_shared::db::connects::{self, Advance, Connect, ConnectStatus};
use latchkey_shared::db::grants::{self, Grant, GrantStatus};
use latchkey_shared::events::{EventType, NewEvent};
use latchkey_shared::ids::{AccountId, GrantId};
use latchkey_shared::keyring::Owner;
use latchkey_shared::messages::{Command, RevocationDue};
use latchkey_shared::platforms::{Platform, Reach};
use latchkey_shared::tokens::TokenSet;
use latchkey_shared::work::Work;
use serde_json::json;

use super::{Reason, fail};
use crate::context::Context;
use crate::oauth::identity::Identity;
use crate::oauth::schedule;
use crate::outcome::{Failure, Outcome};
use crate::receipt;

/// Connects the account.
///
/// # Errors
/// [`Failure`].
pub async fn run(
    context: &Context,
    connect: &Connect,
    grant: &Grant,
    (identity, tokens): (&Identity, &TokenSet),
) -> Result<Outcome, Failure> {
    let platform = context.platform(&connect.platform)?;
    let holder = holder_hash(context, connect, platform, identity).await?;
    let mut work = context.store.begin().await?;
    let Some(connect) = connects::lock(&mut work, &connect.workspace_id, &connect.id).await? else {
        return Ok(Outcome::Stale("no such connect"));
    };
    if connect.status != ConnectStatus::Exchanging || connect.grant_id.as_ref() != Some(&grant.id) {
        return Ok(Outcome::Stale("ended meanwhile"));
    }
    grants::lock_holder(&mut work, &holder).await?;
    let before =
        accounts::find_by_identity(&mut work, &connect.workspace_id, &platform.id, &identity.id)
            .await?;
    if connect
        .account_id
        .as_ref()
        .is_some_and(|wanted| before.as_ref().map(|account| &account.id) != Some(wanted))
    {
        fail(&mut work, context, &connect, &Reason::new("IDENTITY_MISMATCH")).await?;
        work.commit().await?;
        return Ok(Outcome::Done);
    }
    if !grants::activate(&mut work, &grant.workspace_id, &grant.id, &holder).await? {
        return Ok(Outcome::Stale("its grant has moved on"));
    }
    spare_releasing(&mut work, context, &holder, platform).await?;
    let old = lock_old_grant(&mut work, before.as_ref(), &grant.id).await?;
    if let Some(old) = &old {
        keep_refresh_token(&mut work, context, (old, grant), tokens).await?;
    }
    let account = upsert(&mut work, context, &connect, (grant, identity)).await?;
    if let Some(old) = &old {
        retire(&mut work, context, old, platform).await?;
    }
    let ids = [account.id.to_string()];
    let step = Advance {
        account_ids: &ids,
        ..Advance::to(ConnectStatus::Connected, &[ConnectStatus::Exchanging])
    };
    connects::advance(&mut work, context.clock(), (&connect.workspace_id, &connect.id), &step)
        .await?;
    work.emit(connected(&connect, &account, before.as_ref())).await?;
    if let Some(before) = before.filter(|before| before.profile_id != account.profile_id) {
        work.emit(updated(&account, &before)).await?;
    }
    work.commit().await?;
    tracing::info!(connect.id = %connect.id, account.id = %account.id, platform.id = platform.id, "account connected");
    Ok(Outcome::Done)
}

/// The same for every grant of one person through one OAuth client, in the whole installation.
async fn holder_hash(
    context: &Context,
    connect: &Connect,
    platform: &Platform,
    identity: &Identity,
) -> Result<Vec<u8>, Failure> {
    let mut conn = context.store.conn().await?;
    let vault = context.store.vault();
    let app = (&connect.workspace_id, connect.app_id.as_ref());
    let client = credentials::resolve(&mut conn, vault, platform, app).await?;
    let key = vault.sealing_key(&mut conn, Owner::Installation).await?;
    Ok(key.hash(&[&platform.id, &client.client_id, &identity.id]))
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

fn reaches_one_token(platform: &Platform) -> bool {
    platform.reach == Reach::Token
}

async fn lock_old_grant(
    work: &mut Work,
    before: Option<&Account>,
    new: &GrantId,
) -> Result<Option<Grant>, Failure> {
    let Some((workspace, id)) =
        before.and_then(|account| Some((&account.workspace_id, account.grant_id.as_ref()?)))
    else {
        return Ok(None);
    };
    if id == new {
        return Ok(None);
    }
    let old = grants::lock(work, workspace, id).await?;
    Ok(old.filter(|old| matches!(old.status, GrantStatus::Active | GrantStatus::Expired)))
}

/// Some platforms give a refresh token with the first consent only: an answer without one never
/// takes the place of one that is stored.
async fn keep_refresh_token(
    work: &mut Work,
    context: &Context,
    (old, new): (&Grant, &Grant),
    tokens: &TokenSet,
) -> Result<(), Failure> {
    let Some(sealed) = old
        .sealed_tokens
        .as_ref()
        .filter(|_| old.renewable && !new.renewable && old.app_id == new.app_id)
    else {
        return Ok(());
    };
    let owner = Owner::workspace(&old.workspace_id);
    let key = context.store.vault().opening_key(work, owner, sealed).await?;
    let kept = TokenSet::open(&key, old.tokens_place(), sealed)?.refresh_token;
    let key = context.store.vault().sealing_key(work, owner).await?;
    let both = TokenSet { access_token: tokens.access_token.clone(), refresh_token: kept };
    let refresh_at =
        new.access_expires_at.map(|end| schedule::refresh_at(&new.id, new.issued_at, end));
    let sealed = both.seal(&key, new.tokens_place())?;
    grants::adopt_refresh_token(work, new, &sealed, (old.refresh_expires_at, refresh_at)).await?;
    Ok(())
}

async fn upsert(
    work: &mut Work,
    context: &Context,
    connect: &Connect,
    (grant, identity): (&Grant, &Identity),
) -> Result<Account, Failure> {
    let missing: Vec<String> =
        connect.scopes.iter().filter(|scope| !grant.scopes.contains(scope)).cloned().collect();
    let new = Upsert {
        workspace_id: &connect.workspace_id,
        platform: &connect.platform,
        identity: accounts::Identity {
            platform_user_id: &identity.id,
            username: identity.username.as_deref(),
            display_name: identity.display_name.as_deref(),
            avatar_url: identity.avatar_url.as_deref(),
        },
        app_id: connect.app_id.as_ref(),
        profile_id: connect.profile_id.as_ref(),
        grant_id: &grant.id,
        scopes: &grant.scopes,
        missing_scopes: &missing,
        metadata: &connect.metadata,
    };
    Ok(accounts::upsert(work, context.clock(), &new).await?)
}

/// The grant that a reconnect left without accounts: revoked where that ends it alone, else only
/// destroyed.
async fn retire(
    work: &mut Work,
    context: &Context,
    old: &Grant,
    platform: &Platform,
) -> Result<(), Failure> {
    let (workspace, id) = (&old.workspace_id, &old.id);
    if accounts::grant_is_in_use(work, workspace, id).await? {
        return Ok(());
    }
    if reaches_one_token(platform) && old.status == GrantStatus::Active {
        grants::release(work, context.clock(), workspace, id, "reconnected").await?;
        let command = RevocationDue { workspace_id: workspace.clone(), grant_id: id.clone() };
        work.send(&Command::RevocationDue(command)).await?;
    } else {
        grants::supersede(work, workspace, id, "reconnected").await?;
    }
    Ok(())
}

fn connected(connect: &Connect, account: &Account, before: Option<&Account>) -> NewEvent {
    let account_id: AccountId = account.id.clone();
    NewEvent {
        workspace_id: connect.workspace_id.clone(),
        kind: EventType::AccountConnected,
        data: json!({
            "accountId": account_id,
            "connectId": connect.id,
            "platform": account.platform,
            "platformUserId": account.platform_user_id,
            "username": account.username,
            "displayName": account.display_name,
            "profileId": account.profile_id,
            "scopes": account.scopes,
            "missingScopes": account.missing_scopes,
            "firstTime": before.is_none(),
            "reconnected": before.is_some(),
            "metadata": account.metadata,
        }),
        account_id: Some(account_id),
    }
}

/// The newest consent says whose the account is.
fn updated(account: &Account, before: &Account) -> NewEvent {
    NewEvent {
        workspace_id: account.workspace_id.clone(),
        kind: EventType::AccountUpdated,
        account_id: Some(account.id.clone()),
        data: json!({
            "accountId": account.id,
            "platform": account.platform,
            "username": account.username,
            "profileId": account.profile_id,
            "previousProfileId": before.profile_id,
        }),
    }
}
