//! Accounts: the connected social accounts.

mod life;

pub use life::{change_scopes, disconnect, expire, recover, rename};

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::grants::Grant;
use super::schema::{accounts, grants};
use super::{DbError, Page, Session, app_now, text_enum};
use crate::events::AboutAccount;
use crate::ids::{AccountId, AccountKey, AppId, GrantId, ProfileId, WorkspaceId};

text_enum! {
    /// What an account is good for.
    AccountStatus {
        /// Its token is kept alive.
        Connected = "connected",
        /// Only the person can help, by connecting again.
        TokenExpired = "token_expired",
        /// Taken out of use by the application. The id stays.
        Disconnected = "disconnected",
    }
}

/// A connected account.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = accounts)]
pub struct Account {
    /// Id.
    pub id: AccountId,
    /// Where it belongs.
    pub workspace_id: WorkspaceId,
    /// Which platform.
    pub platform: String,
    /// The platform's id of the person or page.
    pub platform_user_id: String,
    /// Through which of the customer's apps.
    pub app_id: Option<AppId>,
    /// The customer's end user.
    pub profile_id: Option<ProfileId>,
    /// What keeps it alive.
    pub grant_id: Option<GrantId>,
    /// The handle.
    pub username: Option<String>,
    /// The name people see.
    pub display_name: Option<String>,
    /// A picture.
    pub avatar_url: Option<String>,
    /// What it is good for.
    pub status: AccountStatus,
    /// Why, when it is not `connected`.
    pub status_reason: Option<String>,
    /// What the person granted.
    pub scopes: Vec<String>,
    /// What was asked for and not granted.
    pub missing_scopes: Vec<String>,
    /// Whatever the application gave with the connect.
    pub metadata: Value,
    /// What became of the tokens after a disconnect.
    pub revocation: Option<Value>,
    /// When it was connected last.
    pub connected_at: DateTime<Utc>,
    /// When only the person could help.
    pub token_expired_at: Option<DateTime<Utc>>,
    /// When it was disconnected.
    pub disconnected_at: Option<DateTime<Utc>>,
    /// Its own access token, where a platform gives one.
    pub sealed_token: Option<Vec<u8>>,
    /// When the platform is asked next whether that still works.
    pub next_check_at: Option<DateTime<Utc>>,
    /// Checks in a row that brought no answer.
    pub check_failures: i32,
    /// Since when the platform says that its own token does not work.
    pub check_refused_since: Option<DateTime<Utc>>,
    /// In which words.
    pub check_refused_as: Option<String>,
    /// Since when the platform wants the person to act there.
    pub action_needed_since: Option<DateTime<Utc>>,
    /// When it was connected first.
    pub created_at: DateTime<Utc>,
}

impl Account {
    /// Its workspace and id.
    #[must_use]
    pub fn key(&self) -> AccountKey<'_> {
        AccountKey { workspace_id: &self.workspace_id, id: &self.id }
    }

    /// What every event of an account says of it.
    #[must_use]
    pub fn about(&self) -> AboutAccount {
        AboutAccount {
            account_id: self.id.clone(),
            platform: self.platform.clone(),
            platform_user_id: self.platform_user_id.clone(),
            username: self.username.clone(),
            profile_id: self.profile_id.clone(),
            metadata: self.metadata.clone(),
        }
    }

    /// Whether it is in use for another profile than the one that a connect names: a profile is a person of the
    /// application's, and another person's connect must not take the account away.
    #[must_use]
    pub fn is_of_another(&self, profile: Option<&ProfileId>) -> bool {
        let (Some(own), Some(asked)) = (&self.profile_id, profile) else { return false };
        own != asked && self.status != AccountStatus::Disconnected
    }

    /// How people and applications tell it apart: `@ann (acc_…)`.
    #[must_use]
    pub fn called(&self) -> String {
        let name = self.username.as_ref().map(|name| format!("@{}", name.trim_start_matches('@')));
        let name = name.or_else(|| self.display_name.clone());
        format!("{} ({})", name.as_ref().unwrap_or(&self.platform_user_id), self.id)
    }
}

/// What a platform says of an account.
#[derive(Debug, Eq, PartialEq)]
pub struct Identity<'a> {
    /// The platform's id.
    pub platform_user_id: &'a str,
    /// The handle.
    pub username: Option<&'a str>,
    /// The name people see.
    pub display_name: Option<&'a str>,
    /// A picture.
    pub avatar_url: Option<&'a str>,
}

impl<'a> Identity<'a> {
    /// As it is known.
    #[must_use]
    pub fn of(account: &'a Account) -> Self {
        Self {
            platform_user_id: &account.platform_user_id,
            username: account.username.as_deref(),
            display_name: account.display_name.as_deref(),
            avatar_url: account.avatar_url.as_deref(),
        }
    }
}

/// An account about to be added or brought back.
#[derive(Debug)]
pub struct Upsert<'a> {
    /// Where it belongs.
    pub workspace_id: &'a WorkspaceId,
    /// Which platform.
    pub platform: &'a str,
    /// Who it is there.
    pub identity: Identity<'a>,
    /// Through which of the customer's apps.
    pub app_id: Option<&'a AppId>,
    /// The customer's end user; `None` leaves what is there.
    pub profile_id: Option<&'a ProfileId>,
    /// What keeps it alive from now on.
    pub grant_id: &'a GrantId,
    /// What the person granted.
    pub scopes: &'a [String],
    /// What was asked for and not granted.
    pub missing_scopes: &'a [String],
    /// Whatever the application gave with the connect; without any, what it gave before stays.
    pub metadata: Option<&'a Value>,
    /// Whether it takes its platform's one slot in the workspace for as long as it is in use.
    pub exclusive: bool,
}

/// The second guard of exclusive connects; the first is the lock on the workspace's row.
pub const SLOT_KEY: &str = "accounts_slot_key";

/// One account of a workspace.
///
/// # Errors
/// When the query fails.
pub async fn find(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &AccountId,
) -> Result<Option<Account>, DbError> {
    let row =
        accounts::table.filter(accounts::workspace_id.eq(workspace)).filter(accounts::id.eq(id));
    Ok(row.select(Account::as_select()).first(conn).await.optional()?)
}

/// One account of a workspace with its grant, as they were at one moment.
///
/// # Errors
/// When the query fails.
pub async fn find_with_grant(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &AccountId,
) -> Result<Option<(Account, Option<Grant>)>, DbError> {
    let row = accounts::table
        .left_join(grants::table.on(accounts::grant_id.eq(grants::id.nullable())))
        .filter(accounts::workspace_id.eq(workspace))
        .filter(accounts::id.eq(id))
        .select((Account::as_select(), Option::<Grant>::as_select()));
    Ok(row.first(conn).await.optional()?)
}

/// One account of a workspace, its row locked until the transaction ends.
///
/// # Errors
/// When the query fails.
pub async fn lock(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &AccountId,
) -> Result<Option<Account>, DbError> {
    let row =
        accounts::table.filter(accounts::workspace_id.eq(workspace)).filter(accounts::id.eq(id));
    Ok(row.select(Account::as_select()).for_update().first(conn).await.optional()?)
}

/// The account of a platform identity.
///
/// # Errors
/// When the query fails.
pub async fn find_by_identity(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    platform: &str,
    platform_user_id: &str,
) -> Result<Option<Account>, DbError> {
    let row = accounts::table
        .filter(accounts::workspace_id.eq(workspace))
        .filter(accounts::platform.eq(platform))
        .filter(accounts::platform_user_id.eq(platform_user_id));
    Ok(row.select(Account::as_select()).first(conn).await.optional()?)
}

/// The accounts of some of a platform's identities.
///
/// # Errors
/// When the query fails.
pub async fn of_identities(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    platform: &str,
    platform_user_ids: &[&str],
) -> Result<Vec<Account>, DbError> {
    let rows = accounts::table
        .filter(accounts::workspace_id.eq(workspace))
        .filter(accounts::platform.eq(platform))
        .filter(accounts::platform_user_id.eq_any(platform_user_ids));
    Ok(rows.select(Account::as_select()).load(conn).await?)
}

/// The accounts of a platform that are not disconnected; two are enough to know that it is not one.
///
/// # Errors
/// When the query fails.
pub async fn in_use(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    platform: &str,
) -> Result<Vec<Account>, DbError> {
    let rows = accounts::table
        .filter(accounts::workspace_id.eq(workspace))
        .filter(accounts::platform.eq(platform))
        .filter(accounts::status.ne(AccountStatus::Disconnected))
        .order(accounts::id)
        .limit(2);
    Ok(rows.select(Account::as_select()).load(conn).await?)
}

/// The platforms that have more than one account in use. The workspace must be locked.
///
/// # Errors
/// When the query fails.
pub async fn crowded_platforms(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
) -> Result<Vec<String>, DbError> {
    let rows = accounts::table
        .filter(accounts::workspace_id.eq(workspace))
        .filter(accounts::status.ne(AccountStatus::Disconnected))
        .group_by(accounts::platform)
        .having(diesel::dsl::count_star().gt(1))
        .order(accounts::platform)
        .select(accounts::platform);
    Ok(rows.load(conn).await?)
}

/// Gives every account in use its platform's one slot. The workspace must be locked, and have one of
/// each platform.
///
/// # Errors
/// When the query fails.
pub async fn take_slots(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
) -> Result<(), DbError> {
    diesel::update(accounts::table)
        .filter(accounts::workspace_id.eq(workspace))
        .filter(accounts::status.ne(AccountStatus::Disconnected))
        .set(accounts::exclusive.eq(true))
        .execute(conn)
        .await?;
    Ok(())
}

/// Adds the account of an identity, or brings it back under the id that it always had.
///
/// # Errors
/// When the query fails.
pub async fn upsert(session: &mut Session, new: &Upsert<'_>) -> Result<Account, DbError> {
    let state = (
        accounts::grant_id.eq(new.grant_id),
        accounts::app_id.eq(new.app_id),
        accounts::username.eq(new.identity.username),
        accounts::display_name.eq(new.identity.display_name),
        accounts::avatar_url.eq(new.identity.avatar_url),
        accounts::status.eq(AccountStatus::Connected),
        accounts::scopes.eq(new.scopes),
        accounts::missing_scopes.eq(new.missing_scopes),
        new.metadata.map(|metadata| accounts::metadata.eq(metadata)),
        accounts::connected_at.eq(app_now()),
        accounts::exclusive.eq(new.exclusive),
        new.profile_id.map(|profile| accounts::profile_id.eq(profile)),
    );
    let cleared = (
        accounts::status_reason.eq(None::<String>),
        accounts::revocation.eq(None::<Value>),
        accounts::token_expired_at.eq(None::<DateTime<Utc>>),
        accounts::disconnected_at.eq(None::<DateTime<Utc>>),
        accounts::sealed_token.eq(None::<Vec<u8>>),
        accounts::next_check_at.eq(None::<DateTime<Utc>>),
        accounts::check_failures.eq(0),
    );
    let row = diesel::insert_into(accounts::table)
        .values((
            accounts::id.eq(AccountId::new(session.clock())),
            accounts::workspace_id.eq(new.workspace_id),
            accounts::platform.eq(new.platform),
            accounts::platform_user_id.eq(new.identity.platform_user_id),
            accounts::created_at.eq(app_now()),
            state,
        ))
        .on_conflict((accounts::workspace_id, accounts::platform, accounts::platform_user_id))
        .do_update()
        .set((state, cleared))
        .returning(Account::as_returning());
    Ok(row.get_result(session).await?)
}

/// What a reader of accounts wants.
#[derive(Debug, Default)]
pub struct AccountFilter<'a> {
    /// Of this platform only.
    pub platform: Option<&'a str>,
    /// In this status only.
    pub status: Option<AccountStatus>,
    /// Of this end user only.
    pub profile: Option<&'a ProfileId>,
}

/// The accounts of a workspace with their grants.
///
/// # Errors
/// When the query fails.
pub async fn list(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    filter: &AccountFilter<'_>,
    page: Page<'_>,
) -> Result<Vec<(Account, Option<Grant>)>, DbError> {
    let mut rows = accounts::table
        .left_join(grants::table.on(accounts::grant_id.eq(grants::id.nullable())))
        .filter(accounts::workspace_id.eq(workspace))
        .filter(accounts::id.gt(page.after()))
        .select((Account::as_select(), Option::<Grant>::as_select()))
        .order(accounts::id)
        .limit(page.limit)
        .into_boxed();
    if let Some(platform) = filter.platform {
        rows = rows.filter(accounts::platform.eq(platform));
    }
    if let Some(status) = filter.status {
        rows = rows.filter(accounts::status.eq(status));
    }
    if let Some(profile) = filter.profile {
        rows = rows.filter(accounts::profile_id.eq(profile));
    }
    Ok(rows.load(conn).await?)
}

/// The accounts that a grant keeps alive, their rows locked until the transaction ends.
///
/// # Errors
/// When the query fails.
pub async fn lock_of_grant(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    grant: &GrantId,
) -> Result<Vec<Account>, DbError> {
    let rows = accounts::table
        .filter(accounts::workspace_id.eq(workspace))
        .filter(accounts::grant_id.eq(grant))
        .order(accounts::id);
    Ok(rows.select(Account::as_select()).for_update().load(conn).await?)
}

/// Writes what became of the tokens on the accounts that were disconnected from this grant.
///
/// # Errors
/// When the query fails.
pub async fn set_receipt(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    grant: &GrantId,
    receipt: &Value,
) -> Result<Vec<Account>, DbError> {
    let rows = diesel::update(accounts::table)
        .filter(accounts::workspace_id.eq(workspace))
        .filter(accounts::grant_id.eq(grant))
        .filter(accounts::status.eq(AccountStatus::Disconnected))
        .set(accounts::revocation.eq(receipt))
        .returning(Account::as_returning());
    Ok(rows.get_results(conn).await?)
}

/// Whether a grant still keeps an account alive that is not disconnected. The grant's row must be
/// locked, so that two disconnects do not each see the other's account.
///
/// # Errors
/// When the query fails.
pub async fn grant_is_in_use(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    grant: &GrantId,
) -> Result<bool, DbError> {
    let used = accounts::table
        .filter(accounts::workspace_id.eq(workspace))
        .filter(accounts::grant_id.eq(grant))
        .filter(accounts::status.ne(AccountStatus::Disconnected));
    Ok(diesel::select(diesel::dsl::exists(used)).get_result(conn).await?)
}
