//! Whole lists, for answers that know no pages: the native lists, page after page.

use latchkey_shared::db::accounts::AccountStatus;
use latchkey_shared::db::workspaces::Workspace;
use latchkey_shared::ids::{AppId, ProfileId};

use crate::auth::Caller;
use crate::pagination::{Limit, PageQuery, Wanted};
use crate::problem::Problem;
use crate::routes::accounts::{self, AccountView, AccountsQuery};
use crate::routes::apps::{self, AppView};
use crate::routes::profiles::{self, ProfileView, ProfilesQuery};
use crate::routes::workspaces::{self, WorkspaceView};
use crate::state::App;

/// The accounts of a workspace that are in use, oldest first. A product has no word for a disconnected one.
pub(super) async fn accounts(
    app: &App,
    caller: &Caller,
    workspace: &Workspace,
    profile_id: Option<ProfileId>,
) -> Result<Vec<AccountView>, Problem> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let query = AccountsQuery {
            profile_id: profile_id.clone(),
            cursor,
            limit: Some(Limit::MOST),
            ..AccountsQuery::default()
        };
        let page = accounts::page(app, caller, &workspace.id, query).await?;
        all.extend(page.data.into_iter().filter(is_in_use));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}

fn is_in_use(account: &AccountView) -> bool {
    account.status != AccountStatus::Disconnected
}

/// The workspaces that a key reaches.
pub(super) async fn workspaces(app: &App, caller: &Caller) -> Result<Vec<WorkspaceView>, Problem> {
    let mut all = Vec::new();
    let mut query = PageQuery { cursor: None, limit: Some(Limit::MOST) };
    loop {
        let page = workspaces::page(app, caller, &query).await?;
        all.extend(page.data);
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            return Ok(all);
        }
    }
}

/// The apps that a key reaches.
pub(super) async fn apps(app: &App, caller: &Caller) -> Result<Vec<AppView>, Problem> {
    let mut all = Vec::new();
    let mut query = PageQuery { cursor: None, limit: Some(Limit::MOST) };
    loop {
        let page = apps::view::list(app, caller, &Wanted::of::<AppId>(&query)?).await?;
        all.extend(page.data);
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            return Ok(all);
        }
    }
}

/// The profiles of a workspace.
pub(super) async fn profiles(
    app: &App,
    caller: &Caller,
    workspace: &Workspace,
) -> Result<Vec<ProfileView>, Problem> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let query = ProfilesQuery { cursor, limit: Some(Limit::MOST), ..ProfilesQuery::default() };
        let page = profiles::page(app, caller, &workspace.id, query).await?;
        all.extend(page.data);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}
