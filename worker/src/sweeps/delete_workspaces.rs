//! Empties and destroys the workspaces that were deleted: connects are cancelled and accounts disconnected, each
//! in a transaction of its own; once the platforms have been told, the data key goes, then the rows. A run
//! that is cut leaves the rest to the next.

use chrono::TimeDelta;
use latchkey_shared::db::workspace_deletion as deletion;
use latchkey_shared::events::DisconnectedBy;
use latchkey_shared::ids::{ConnectKey, GrantKey, WorkspaceId};
use latchkey_shared::keyring::KeyOwner;
use latchkey_shared::release;

use super::each;
use crate::context::Context;
use crate::outcome::Failure;

/// How many workspaces one run looks at.
const WORKSPACES: i64 = 100;
/// How many rows of each kind one run deals with in a workspace.
const BATCH: i64 = 200;
/// How many rows one statement destroys.
const DESTROYED_AT_ONCE: i64 = 1000;
/// How many such statements one run makes in a workspace.
const BATCHES: usize = 20;
/// After this no request goes on that began before the workspace was hidden.
const HIDDEN_FOR: TimeDelta = TimeDelta::minutes(2);

pub(super) async fn run(context: &Context) -> Result<usize, Failure> {
    let hidden = {
        let mut conn = context.store.conn().await?;
        deletion::hidden(&mut conn, WORKSPACES).await?
    };
    let delete = async |workspace| match empty(context, workspace).await? {
        0 => destroy(context, workspace).await,
        emptied => Ok(emptied),
    };
    each(&hidden, delete).await
}

/// Takes out of use what is in use; answers how many rows it dealt with.
async fn empty(context: &Context, workspace: &WorkspaceId) -> Result<usize, Failure> {
    let (connects, accounts, grants) = {
        let mut conn = context.store.conn().await?;
        let connects = deletion::connects_to_cancel(&mut conn, workspace, BATCH).await?;
        let accounts = deletion::accounts_to_disconnect(&mut conn, workspace, BATCH).await?;
        // Until then they are looked through in vain.
        let grants = if accounts.is_empty() {
            deletion::grants_to_release(&mut conn, workspace, BATCH).await?
        } else {
            Vec::new()
        };
        (connects, accounts, grants)
    };
    for connect in &connects {
        let mut work = context.store.begin().await?;
        if release::cancel(&mut work, ConnectKey { workspace_id: workspace, id: connect })
            .await?
            .is_some()
        {
            work.commit().await?;
        }
    }
    for account in &accounts {
        let mut work = context.store.begin().await?;
        // One that changed meanwhile is there in the next run.
        if release::disconnect(&mut work, account, DisconnectedBy::WorkspaceDeletion, None).await? {
            work.commit().await?;
        }
    }
    for grant in &grants {
        let mut work = context.store.begin().await?;
        if release::release(
            &mut work,
            GrantKey { workspace_id: workspace, id: grant },
            "workspace_deleted",
        )
        .await?
        {
            work.commit().await?;
        }
    }
    Ok(connects.len() + accounts.len() + grants.len())
}

/// Destroys what nobody needs any more: the key first, since without it nothing opens that a cut leaves.
async fn destroy(context: &Context, workspace: &WorkspaceId) -> Result<usize, Failure> {
    let mut conn = context.store.conn().await?;
    if !deletion::is_settled(&mut conn, workspace, HIDDEN_FOR).await? {
        return Ok(0);
    }
    deletion::destroy_keys(&mut conn, workspace).await?;
    context.store.keys().forget(KeyOwner::workspace(workspace));
    drop(conn);
    for _ in 0..BATCHES {
        let mut conn = context.store.conn().await?;
        if !deletion::destroy_rows(&mut conn, workspace, DESTROYED_AT_ONCE).await? {
            drop(conn);
            let mut work = context.store.begin().await?;
            deletion::finish(&mut work, workspace).await?;
            work.commit().await?;
            tracing::info!(workspace.id = %workspace, "a deleted workspace was destroyed");
            break;
        }
    }
    Ok(1)
}
