//! What changed about an account: by a new consent, by a refresh, or as the platform says when it is asked.

use latchkey_shared::db::DbError;
use latchkey_shared::db::accounts::{self, Account};
use latchkey_shared::events::{AccountFact, AccountUpdated, EventData, NewEvent};
use latchkey_shared::ids::GrantKey;
use latchkey_shared::work::Work;
use url::Url;

/// Tells what is other than `before`, if anything is.
///
/// # Errors
/// When the database fails.
pub async fn tell_changes(work: &mut Work, before: &Account, now: &Account) -> Result<(), DbError> {
    let changed = differences(before, now);
    if changed.is_empty() {
        return Ok(());
    }
    let moved = changed.contains(&AccountFact::ProfileId);
    let updated = EventData::AccountUpdated(AccountUpdated {
        account: now.about(),
        display_name: now.display_name.clone(),
        avatar_url: now.avatar_url.clone(),
        scopes: now.scopes.clone(),
        missing_scopes: now.missing_scopes.clone(),
        changed,
        previous_profile_id: before.profile_id.clone().filter(|_| moved),
    });
    work.emit(NewEvent::of_workspace(&now.workspace_id, updated)).await.map(drop)
}

fn differences(before: &Account, now: &Account) -> Vec<AccountFact> {
    let facts = [
        (AccountFact::Username, before.username != now.username),
        (AccountFact::DisplayName, before.display_name != now.display_name),
        (AccountFact::AvatarUrl, picture(before) != picture(now)),
        (AccountFact::Scopes, before.scopes != now.scopes),
        (AccountFact::ProfileId, before.profile_id != now.profile_id),
    ];
    facts.into_iter().filter(|(_, other)| *other).map(|(fact, _)| fact).collect()
}

/// The name of the picture's file. Platforms sign its address anew each time, and serve it from another host.
fn picture(account: &Account) -> Option<String> {
    let url = account.avatar_url.as_ref()?;
    let parsed = Url::parse(url).ok();
    let file = parsed.as_ref().and_then(|url| url.path_segments()?.next_back());
    Some(file.filter(|file| !file.is_empty()).unwrap_or(url).to_owned())
}

/// The platform grants more or less than before. Part of the transaction that stores what it said.
///
/// # Errors
/// When the database fails.
pub async fn change_scopes(
    work: &mut Work,
    key: GrantKey<'_>,
    scopes: &[String],
) -> Result<(), DbError> {
    for before in accounts::lock_of_grant(work, key.workspace_id, key.id).await? {
        let now = accounts::change_scopes(work, &before, scopes).await?;
        tell_changes(work, &before, &now).await?;
    }
    Ok(())
}
