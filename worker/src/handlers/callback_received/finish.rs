//! The last step of a connect: one transaction that gives the accounts their new grant.
//!
//! Locks are taken in one order everywhere: connect, workspace, holder, grants, accounts.

use std::collections::BTreeMap;

use latchkey_shared::candidates::Candidate;
use latchkey_shared::db::DbError;
use latchkey_shared::db::account_checks;
use latchkey_shared::db::accounts::{self, Account, Upsert};
use latchkey_shared::db::connects::{self, Advance, Connect, ConnectStatus};
use latchkey_shared::db::grants::{self, Grant, GrantStatus, Reauth};
use latchkey_shared::events::{AccountConnected, EventData, NewEvent};
use latchkey_shared::ids::GrantId;
use latchkey_shared::keyring::KeyOwner;
use latchkey_shared::platforms::{Brought, Platform, RefreshModel, missing_scopes};
use latchkey_shared::release;
use latchkey_shared::tokens::TokenSet;
use latchkey_shared::work::Work;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::super::changes::tell_changes;
use super::admit::{self, Ground, Verdict};
use super::consent::reaches_one_token;
use super::{Reason, claim, deselect, fail, give_up};
use crate::context::Context;
use crate::handlers::look::LOOKED_AT_EVERY;
use crate::oauth::schedule;
use crate::outcome::{Failure, Outcome};

/// Connects what was chosen, or has the application claim it first.
///
/// # Errors
/// [`Failure`].
pub async fn run(
    context: &Context,
    connect: &Connect,
    grant: &Grant,
    tokens: &TokenSet,
    chosen: &[Candidate],
) -> Result<Outcome, Failure> {
    if claim::is_due(connect) {
        return claim::run(context, connect, grant, chosen).await;
    }
    match connect_all(context, connect, grant, tokens, chosen).await {
        // Whoever added the other account did not take the workspace's lock.
        Err(failure) if is_of_the_slot(&failure) => {
            give_up(context, connect, &Reason::new(admit::ALREADY_CONNECTED)).await
        }
        result => result,
    }
}

fn is_of_the_slot(failure: &Failure) -> bool {
    let Failure::Later(error) = failure else { return false };
    error.downcast_ref::<DbError>().is_some_and(|error| error.violates(accounts::SLOT_KEY))
}

async fn connect_all(
    context: &Context,
    connect: &Connect,
    grant: &Grant,
    tokens: &TokenSet,
    chosen: &[Candidate],
) -> Result<Outcome, Failure> {
    let platform = context.platform(&connect.platform)?;
    let mut work = context.store.begin().await?;
    let Some(connect) = admit::lock_waiting(&mut work, connect, grant).await? else {
        return Ok(Outcome::Stale("ended meanwhile"));
    };
    let Ground { before, exclusive } = match admit::judge(&mut work, &connect, chosen).await? {
        Verdict::Admitted(ground) => ground,
        Verdict::Refused(code) => {
            fail(&mut work, &connect, &Reason::new(code)).await?;
            work.commit().await?;
            return Ok(Outcome::Done);
        }
    };
    if !grants::activate(&mut work, &grant.workspace_id, &grant.id).await? {
        return Ok(Outcome::Stale("its grant has moved on"));
    }
    let unticked = deselect::accounts(&mut work, &connect).await?;
    let had = before.values().chain(&unticked);
    let mut olds = lock_old_grants(&mut work, had, &grant.id).await?;
    let kept = keep_refresh_token(&mut work, context, &olds, grant, tokens).await?;
    let grant = &Grant { renewable: grant.renewable || kept, ..grant.clone() };
    if matches!(platform.refresh, RefreshModel::Rotating { .. }) && !grant.renewable {
        note_no_refresh_token(&mut work, grant).await?;
    }
    let mut ids = Vec::new();
    // In one order: two persons may administer the same pages.
    for one in in_order(chosen) {
        let account = upsert(&mut work, context, &connect, (grant, one, exclusive)).await?;
        tell(&mut work, &connect, &account, before.get(&one.id)).await?;
        ids.push(account.id.to_string());
    }
    deselect::disconnect(&mut work, &unticked).await?;
    // Theirs are settled.
    olds.retain(|old| !unticked.iter().any(|account| account.grant_id.as_ref() == Some(&old.id)));
    for old in &olds {
        retire(&mut work, old, platform).await?;
    }
    let step =
        Advance { account_ids: &ids, ..Advance::to(ConnectStatus::Connected, &admit::WAITING) };
    connects::advance(&mut work, connect.key(), &step).await?;
    work.commit().await?;
    for id in ids {
        tracing::info!(connect.id = %connect.id, account.id = id, platform.id = platform.id, "account connected");
    }
    Ok(Outcome::Done)
}

fn in_order(chosen: &[Candidate]) -> Vec<&Candidate> {
    let mut chosen: Vec<_> = chosen.iter().collect();
    chosen.sort_by(|one, other| one.id.cmp(&other.id));
    chosen
}

/// The grants that the accounts had, locked in one order.
async fn lock_old_grants(
    work: &mut Work,
    before: impl Iterator<Item = &Account>,
    new: &GrantId,
) -> Result<Vec<Grant>, Failure> {
    let had = before.filter_map(|account| Some((account.grant_id.as_ref()?, account)));
    let had: BTreeMap<&str, _> = had.map(|(id, account)| (id.as_str(), (id, account))).collect();
    let mut olds = Vec::new();
    for (id, account) in had.into_values().filter(|(id, _)| *id != new) {
        olds.extend(grants::lock(work, &account.workspace_id, id).await?);
    }
    olds.retain(|old| matches!(old.status, GrantStatus::Active | GrantStatus::Expired));
    Ok(olds)
}

/// Some platforms give a refresh token with the first consent only: an answer without one never
/// takes the place of one that is stored. Only of the same person's: another may have connected the
/// account before. Answers whether there was one to keep.
async fn keep_refresh_token(
    work: &mut Work,
    context: &Context,
    olds: &[Grant],
    new: &Grant,
    tokens: &TokenSet,
) -> Result<bool, Failure> {
    let same = |old: &&Grant| {
        old.renewable
            && !new.renewable
            && old.app_id == new.app_id
            && old.holder_hash == new.holder_hash
    };
    let Some((old, sealed)) =
        olds.iter().find(same).and_then(|old| Some((old, old.sealed_tokens.as_ref()?)))
    else {
        return Ok(false);
    };
    let kept = TokenSet::decrypt(work, old.tokens_aad(), sealed).await?.refresh_token;
    let both = TokenSet { refresh_token: kept, ..tokens.clone() };
    let platform = context.platform(&new.platform)?;
    let refresh_at = new
        .access_expires_at
        .map(|end| schedule::refresh_at(platform, &new.id, new.issued_at, end));
    let key = work.encryption_key(KeyOwner::workspace(&new.workspace_id)).await?;
    let sealed = both.encrypt(&key, new.tokens_aad())?;
    grants::adopt_refresh_token(work, new, &sealed, old.refresh_expires_at, refresh_at).await?;
    let reauth = old.reauth_at.map(|at| Reauth::new(at, new.issued_at));
    grants::set_reauth(work, new.key(), reauth).await?;
    Ok(true)
}

/// The platform is said to give refresh tokens and gave none: the account ends with its access token. The log
/// tells the operator, and the account's last error tells the application.
async fn note_no_refresh_token(work: &mut Work, grant: &Grant) -> Result<(), DbError> {
    tracing::warn!(
        platform.id = grant.platform,
        grant.id = %grant.id,
        "the platform gave no refresh token: the account ends with its access token. Ask for the scope that brings \
         one, or say `refresh = \"reconsent_only\"` in the platforms file"
    );
    let of = grant.key();
    grants::note_error(work, of, "no_refresh_token").await
}

async fn upsert(
    work: &mut Work,
    context: &Context,
    connect: &Connect,
    (grant, one, exclusive): (&Grant, &Candidate, bool),
) -> Result<Account, Failure> {
    let name = one.username.is_some() || one.display_name.is_some();
    let brought = Brought { refresh_token: grant.renewable, name };
    let missing = missing_scopes(&connect.scopes, &grant.scopes, brought);
    let new = Upsert {
        workspace_id: &connect.workspace_id,
        platform: &connect.platform,
        identity: accounts::Identity {
            platform_user_id: &one.id,
            username: one.username.as_deref(),
            display_name: one.display_name.as_deref(),
            avatar_url: one.avatar_url.as_deref(),
        },
        app_id: connect.app_id.as_ref(),
        profile_id: connect.profile_id.as_ref(),
        grant_id: &grant.id,
        scopes: &grant.scopes,
        missing_scopes: &missing,
        metadata: Some(&connect.metadata).filter(|given| **given != json!({})),
        exclusive,
    };
    let account = accounts::upsert(work, &new).await?;
    if let Some(token) = &one.token {
        let aad = account_checks::token_aad(account.key());
        let sealed = work.encrypt(aad, token.expose_secret().as_bytes()).await?;
        account_checks::set_token(work, &account, &sealed).await?;
    } else if context.platform(&account.platform)?.daily_look {
        let first = schedule::check_at(&account.id, account.connected_at, LOOKED_AT_EVERY);
        account_checks::schedule(work, &account, first).await?;
    }
    Ok(account)
}

/// The grant that a reconnect left without accounts: revoked where that ends it alone, else only
/// destroyed.
async fn retire(work: &mut Work, old: &Grant, platform: &Platform) -> Result<(), Failure> {
    let (workspace, id) = (&old.workspace_id, &old.id);
    if accounts::grant_is_in_use(work, workspace, id).await? {
        return Ok(());
    }
    if reaches_one_token(platform) && old.status == GrantStatus::Active {
        release::release(work, old.key(), "reconnected").await?;
    } else {
        grants::supersede(work, workspace, id, "reconnected").await?;
    }
    Ok(())
}

async fn tell(
    work: &mut Work,
    connect: &Connect,
    account: &Account,
    before: Option<&Account>,
) -> Result<(), Failure> {
    let connected = EventData::AccountConnected(AccountConnected {
        account: account.about(),
        connect_id: connect.id.clone(),
        display_name: account.display_name.clone(),
        avatar_url: account.avatar_url.clone(),
        scopes: account.scopes.clone(),
        missing_scopes: account.missing_scopes.clone(),
        first_time: before.is_none(),
        reconnected: before.is_some(),
    });
    work.emit(NewEvent::of_workspace(&account.workspace_id, connected)).await?;
    match before {
        Some(before) => Ok(tell_changes(work, before, account).await?),
        None => Ok(()),
    }
}
