//! Apps: OAuth clients that customers registered at a platform themselves. Their secrets are in
//! `app_secrets`.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::apps;
use super::{DbError, Page, Session, Yes, app_now, text_enum};
use crate::ids::{AppId, OrganisationId, WorkspaceId};

text_enum! {
    /// Through whose API an app was made: that says which redirect URI its owner was told to register.
    AppDoor {
        /// Ours.
        Native = "native",
        /// The PostPeer dialect.
        Postpeer = "postpeer",
    }
}

/// An app.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = apps)]
pub struct App {
    /// Id.
    pub id: AppId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// The one workspace that may use it; `None`: every workspace of the organisation.
    pub workspace_id: Option<WorkspaceId>,
    /// The platform that it is registered at.
    pub platform: String,
    /// What people call it.
    pub name: String,
    /// The client id.
    pub client_id: String,
    /// What connects through it ask for unless they say otherwise; `None`: the platform's.
    pub scopes: Option<Vec<String>>,
    /// Through whose API it was made.
    pub door: AppDoor,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl App {
    /// Whether a key that is limited to a workspace sees it.
    fn is_within(&self, only: Option<&WorkspaceId>) -> bool {
        only.is_none_or(|only| self.workspace_id.as_ref() == Some(only))
    }
}

/// An app about to be added.
#[derive(Debug)]
pub struct NewApp<'a> {
    /// Whose it is.
    pub organisation_id: &'a OrganisationId,
    /// The one workspace that may use it.
    pub workspace_id: Option<&'a WorkspaceId>,
    /// The platform.
    pub platform: &'a str,
    /// What people call it.
    pub name: &'a str,
    /// The client id.
    pub client_id: &'a str,
    /// What connects through it ask for; `None`: the platform's.
    pub scopes: Option<&'a [String]>,
    /// Through whose API it is made.
    pub door: AppDoor,
}

/// Adds an app.
///
/// # Errors
/// When the query fails.
pub async fn insert(session: &mut Session, app: &NewApp<'_>) -> Result<App, DbError> {
    let row = diesel::insert_into(apps::table)
        .values((
            apps::id.eq(AppId::new(session.clock())),
            apps::organisation_id.eq(app.organisation_id),
            apps::workspace_id.eq(app.workspace_id),
            apps::platform.eq(app.platform),
            apps::name.eq(app.name),
            apps::client_id.eq(app.client_id),
            apps::scopes.eq(app.scopes),
            apps::door.eq(app.door),
            apps::created_at.eq(app_now()),
        ))
        .returning(App::as_returning());
    Ok(row.get_result(session).await?)
}

/// The oldest app of an organisation that is this client at one of these platforms. Until the
/// transaction ends nobody else asks of the same client: of two that are added one sees the other.
///
/// # Errors
/// When a query fails.
pub async fn first_of_client(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    platforms: &[&str],
    client_id: &str,
) -> Result<Option<App>, DbError> {
    sql_query("SELECT pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0))")
        .bind::<Text, _>(organisation)
        .bind::<Text, _>(client_id)
        .execute(conn)
        .await?;
    let row = apps::table
        .filter(apps::organisation_id.eq(organisation))
        .filter(apps::client_id.eq(client_id))
        .filter(apps::platform.eq_any(platforms))
        .order(apps::id)
        .select(App::as_select());
    Ok(row.first(conn).await.optional()?)
}

/// An app that this workspace of the organisation may use.
///
/// # Errors
/// When the query fails.
pub async fn find(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    workspace: &WorkspaceId,
    id: &AppId,
) -> Result<Option<App>, DbError> {
    let row = apps::table
        .filter(apps::organisation_id.eq(organisation))
        .filter(apps::workspace_id.is_null().or(apps::workspace_id.eq(workspace)))
        .filter(apps::id.eq(id))
        .select(App::as_select());
    Ok(row.first(conn).await.optional()?)
}

/// The apps of an organisation, or those of the one workspace that a key reaches.
///
/// # Errors
/// When the query fails.
pub async fn list(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    only: Option<&WorkspaceId>,
    page: Page<'_>,
) -> Result<Vec<App>, DbError> {
    let mut rows = apps::table
        .filter(apps::organisation_id.eq(organisation))
        .filter(apps::id.gt(page.after()))
        .select(App::as_select())
        .order(apps::id)
        .limit(page.limit)
        .into_boxed();
    if let Some(only) = only {
        rows = rows.filter(apps::workspace_id.eq(only));
    }
    Ok(rows.load(conn).await?)
}

/// One app of an organisation, or of the one workspace that a key reaches.
///
/// # Errors
/// When the query fails.
pub async fn get(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    only: Option<&WorkspaceId>,
    id: &AppId,
) -> Result<Option<App>, DbError> {
    let row = apps::table.filter(apps::organisation_id.eq(organisation)).filter(apps::id.eq(id));
    let app: Option<App> = row.select(App::as_select()).first(conn).await.optional()?;
    Ok(app.filter(|app| app.is_within(only)))
}

/// The same, its row locked until the transaction ends: of two changes one waits, and nobody begins
/// to use it meanwhile.
///
/// # Errors
/// When the query fails.
pub async fn lock(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    only: Option<&WorkspaceId>,
    id: &AppId,
) -> Result<Option<App>, DbError> {
    let row = apps::table.filter(apps::organisation_id.eq(organisation)).filter(apps::id.eq(id));
    let app: Option<App> =
        row.select(App::as_select()).for_update().first(conn).await.optional()?;
    Ok(app.filter(|app| app.is_within(only)))
}

/// Gives an app another name.
///
/// # Errors
/// When the query fails.
pub async fn rename(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    id: &AppId,
    name: &str,
) -> Result<App, DbError> {
    let row = diesel::update(apps::table)
        .filter(apps::organisation_id.eq(organisation))
        .filter(apps::id.eq(id))
        .set(apps::name.eq(name))
        .returning(App::as_returning());
    Ok(row.get_result(conn).await?)
}

/// Whether an account lives by the app.
///
/// # Errors
/// When the query fails.
pub async fn has_accounts(conn: &mut AsyncPgConnection, app: &App) -> Result<bool, DbError> {
    let query = sql_query(
        "SELECT EXISTS (SELECT 1 FROM accounts WHERE app_id = $1 AND status <> 'disconnected') AS yes",
    );
    Ok(query.bind::<Text, _>(&app.id).get_result::<Yes>(conn).await?.yes)
}

/// Whether anything still needs the app: an account that is not disconnected, a connect that has not
/// ended, tokens that are not destroyed. The app must be locked, as its tenant's.
///
/// # Errors
/// When the query fails.
pub async fn is_in_use(conn: &mut AsyncPgConnection, app: &App) -> Result<bool, DbError> {
    let query = sql_query(
        "SELECT EXISTS (SELECT 1 FROM accounts WHERE app_id = $1 AND status <> 'disconnected')
             OR EXISTS (SELECT 1 FROM grants WHERE app_id = $1 AND status NOT IN ('revoked', 'superseded'))
             OR EXISTS (SELECT 1 FROM connects WHERE app_id = $1
                        AND status NOT IN ('connected', 'failed', 'expired', 'cancelled')) AS yes",
    );
    Ok(query.bind::<Text, _>(&app.id).get_result::<Yes>(conn).await?.yes)
}

/// Deletes an app, locked as its tenant's, with its secrets. What has ended forgets it; what has not
/// refuses the deletion.
///
/// # Errors
/// When a query fails, also when the app is still in use.
pub async fn delete(conn: &mut AsyncPgConnection, app: &App) -> Result<(), DbError> {
    for statement in [
        "UPDATE connects SET app_id = NULL WHERE app_id = $1
             AND status IN ('connected', 'failed', 'expired', 'cancelled')",
        "UPDATE grants SET app_id = NULL WHERE app_id = $1 AND status IN ('revoked', 'superseded')",
        "UPDATE accounts SET app_id = NULL WHERE app_id = $1 AND status = 'disconnected'",
        "DELETE FROM apps WHERE id = $1",
    ] {
        sql_query(statement).bind::<Text, _>(&app.id).execute(conn).await?;
    }
    Ok(())
}
