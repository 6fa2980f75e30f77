//! Deleted workspaces: hidden at once, emptied little by little, and in the end destroyed. Who names one
//! here has hidden it before.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Interval, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::accounts::{Account, AccountStatus};
use super::schema::{accounts, apps, data_keys, webhook_endpoints, workspaces};
use super::{DbError, Yes, app_now};
use crate::ids::{ConnectId, GrantId, OrganisationId, WorkspaceId};

/// Hides a workspace from now on, and revokes the keys that reach it alone. False when there is none.
///
/// # Errors
/// When a query fails.
pub async fn hide(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    id: &WorkspaceId,
) -> Result<bool, DbError> {
    let row = diesel::update(workspaces::table)
        .filter(workspaces::organisation_id.eq(organisation))
        .filter(workspaces::id.eq(id))
        .filter(workspaces::deleted_at.is_null())
        .set(workspaces::deleted_at.eq(app_now().nullable()));
    let hidden = row.execute(conn).await? == 1;
    if hidden {
        revoke_keys(conn, id).await?;
    }
    Ok(hidden)
}

async fn revoke_keys(conn: &mut AsyncPgConnection, workspace: &WorkspaceId) -> Result<(), DbError> {
    let query = sql_query(
        "UPDATE api_keys SET revoked_at = app_now() WHERE workspace_id = $1 AND revoked_at IS NULL",
    )
    .bind::<Text, _>(workspace);
    query.execute(conn).await?;
    Ok(())
}

/// Whether a workspace is hidden, or never was.
///
/// # Errors
/// When the query fails.
pub async fn is_hidden(conn: &mut AsyncPgConnection, id: &WorkspaceId) -> Result<bool, DbError> {
    let seen = workspaces::table.find(id).filter(workspaces::deleted_at.is_null());
    let seen: bool = diesel::select(diesel::dsl::exists(seen)).get_result(conn).await?;
    Ok(!seen)
}

/// Workspaces that are hidden and not destroyed, in no order, so that those who wait for a platform do not
/// hold up the others. Across tenants: for the sweep.
///
/// # Errors
/// When the query fails.
pub async fn hidden(conn: &mut AsyncPgConnection, limit: i64) -> Result<Vec<WorkspaceId>, DbError> {
    #[derive(QueryableByName)]
    struct Hidden {
        #[diesel(sql_type = Text)]
        id: WorkspaceId,
    }
    let query = sql_query(
        "SELECT id FROM workspaces WHERE deleted_at IS NOT NULL AND destroyed_at IS NULL
         ORDER BY random() LIMIT $1",
    );
    let rows: Vec<Hidden> = query.bind::<BigInt, _>(limit).load(conn).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Connects to be cancelled: open ones, save those whose worker may be waiting for an answer. It ends them
/// itself, or its lease does.
///
/// # Errors
/// When the query fails.
pub async fn connects_to_cancel(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    limit: i64,
) -> Result<Vec<ConnectId>, DbError> {
    #[derive(QueryableByName)]
    struct Open {
        #[diesel(sql_type = Text)]
        id: ConnectId,
    }
    let query = sql_query(
        "SELECT id FROM connects
         WHERE workspace_id = $1 AND status IN ('pending', 'authorized', 'exchanging', 'selecting', 'claiming')
           AND NOT (status = 'exchanging' AND lease_until > app_now()) LIMIT $2",
    )
    .bind::<Text, _>(workspace)
    .bind::<BigInt, _>(limit);
    let rows: Vec<Open> = query.load(conn).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Accounts to be disconnected.
///
/// # Errors
/// When the query fails.
pub async fn accounts_to_disconnect(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    limit: i64,
) -> Result<Vec<Account>, DbError> {
    let rows = accounts::table
        .filter(accounts::workspace_id.eq(workspace))
        .filter(accounts::status.ne(AccountStatus::Disconnected))
        .limit(limit);
    Ok(rows.select(Account::as_select()).load(conn).await?)
}

/// Grants that neither an open connect nor an account in use has any more, and that nobody released.
///
/// # Errors
/// When the query fails.
pub async fn grants_to_release(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    limit: i64,
) -> Result<Vec<GrantId>, DbError> {
    #[derive(QueryableByName)]
    struct Left {
        #[diesel(sql_type = Text)]
        id: GrantId,
    }
    let query = sql_query(
        "SELECT id FROM grants WHERE workspace_id = $1 AND status IN ('pending', 'active', 'expired')
           AND NOT EXISTS (SELECT FROM connects c WHERE c.workspace_id = $1 AND c.grant_id = grants.id
               AND c.status IN ('pending', 'authorized', 'exchanging', 'selecting', 'claiming'))
           AND NOT EXISTS (SELECT FROM accounts a WHERE a.grant_id = grants.id AND a.status <> 'disconnected')
         LIMIT $2",
    )
    .bind::<Text, _>(workspace)
    .bind::<BigInt, _>(limit);
    let rows: Vec<Left> = query.load(conn).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Whether nothing of a workspace is under way: no connect, no account in use, no revocation, no delivery to
/// an endpoint of its own; and it has been hidden for long enough that no request still goes on that began
/// before.
///
/// # Errors
/// When the query fails.
pub async fn is_settled(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    hidden_for: TimeDelta,
) -> Result<bool, DbError> {
    let query = sql_query(
        "SELECT EXISTS (SELECT FROM workspaces WHERE id = $1 AND deleted_at <= app_now() - $2)
           AND NOT EXISTS (SELECT FROM connects WHERE workspace_id = $1
               AND status IN ('pending', 'authorized', 'exchanging', 'selecting', 'claiming'))
           AND NOT EXISTS (SELECT FROM accounts WHERE workspace_id = $1 AND status <> 'disconnected')
           AND NOT EXISTS (SELECT FROM grants WHERE workspace_id = $1 AND status IN ('pending', 'active', 'expired', 'releasing'))
           AND NOT EXISTS (SELECT FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id
               WHERE e.workspace_id = $1 AND d.next_attempt_at IS NOT NULL) AS yes",
    )
    .bind::<Text, _>(workspace)
    .bind::<Interval, _>(hidden_for);
    let settled: Yes = query.get_result(conn).await?;
    Ok(settled.yes)
}

/// Destroys the data keys of a workspace: whatever was sealed in it opens no more, here or in a copy of
/// these tables made from now on.
///
/// # Errors
/// When the query fails.
pub async fn destroy_keys(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
) -> Result<(), DbError> {
    diesel::delete(data_keys::table.filter(data_keys::workspace_id.eq(workspace)))
        .execute(conn)
        .await?;
    Ok(())
}

/// What is destroyed in batches, each table before those that it names.
const BATCHES: [&str; 5] = [
    "DELETE FROM connects WHERE id IN (SELECT id FROM connects WHERE workspace_id = $1 LIMIT $2)",
    "WITH batch AS MATERIALIZED (SELECT id FROM accounts WHERE workspace_id = $1 ORDER BY id LIMIT $2),
          history AS (DELETE FROM account_history WHERE account_id IN (SELECT id FROM batch))
     DELETE FROM accounts WHERE id IN (SELECT id FROM batch)",
    "DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE workspace_id = $1 LIMIT $2)",
    "DELETE FROM requests WHERE (producer, message_id) IN
         (SELECT producer, message_id FROM requests WHERE workspace_id = $1 LIMIT $2)",
    "DELETE FROM profiles WHERE id IN (SELECT id FROM profiles WHERE workspace_id = $1 LIMIT $2)",
];

/// Destroys some of the rows of a workspace; answers whether there may be more.
///
/// # Errors
/// When a query fails.
pub async fn destroy_rows(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    limit: i64,
) -> Result<bool, DbError> {
    for batch in BATCHES {
        let query = sql_query(batch).bind::<Text, _>(workspace).bind::<BigInt, _>(limit);
        if query.execute(conn).await? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Destroys the last of it: its apps, its endpoints with their deliveries, its name. The row stays, since
/// events and revoked keys name it.
///
/// # Errors
/// When a query fails.
pub async fn finish(conn: &mut AsyncPgConnection, workspace: &WorkspaceId) -> Result<(), DbError> {
    revoke_keys(conn, workspace).await?;
    diesel::delete(apps::table.filter(apps::workspace_id.eq(workspace))).execute(conn).await?;
    let endpoints = webhook_endpoints::table.filter(webhook_endpoints::workspace_id.eq(workspace));
    diesel::delete(endpoints).execute(conn).await?;
    diesel::update(workspaces::table)
        .filter(workspaces::id.eq(workspace))
        .filter(workspaces::deleted_at.is_not_null())
        .filter(workspaces::destroyed_at.is_null())
        .set((
            workspaces::name.eq("deleted"),
            workspaces::redirect_allowlist.eq(Vec::<String>::new()),
            workspaces::destroyed_at.eq(app_now().nullable()),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
