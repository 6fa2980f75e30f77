//! An app as the API shows it. Never a secret.

use std::collections::HashMap;

use latchkey_shared::db::app_secrets::{self, AppSecret};
use latchkey_shared::db::apps;
use latchkey_shared::ids::{AppId, AppSecretId, WorkspaceId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::pagination::{List, Wanted};
use crate::problem::Problem;
use crate::state::App;
use latchkey_shared::timestamp::Timestamp;

/// An OAuth client of your own.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = App)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AppView {
    #[schema(value_type = String, example = "app_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    pub(crate) id: AppId,
    /// The one workspace that may use it; null: every workspace.
    #[schema(value_type = Option<String>)]
    workspace_id: Option<WorkspaceId>,
    #[schema(example = "SANDBOX")]
    pub(crate) platform: String,
    /// What people call it.
    pub(crate) name: String,
    /// The platform's id of the client.
    pub(crate) client_id: String,
    /// What connects through it ask for unless they say otherwise; null: the platform's default scopes.
    scopes: Option<Vec<String>>,
    /// Its secrets without themselves, the newest first: that one is presented first.
    secrets: Vec<SecretView>,
    pub(crate) created_at: Timestamp,
}

/// A client secret, without itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AppSecret)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SecretView {
    #[schema(value_type = String, example = "sec_01JCZ5M2V8Q4T6W8Y0A2B4C6D8")]
    id: AppSecretId,
    created_at: Timestamp,
}

impl From<AppSecret> for SecretView {
    fn from(row: AppSecret) -> Self {
        Self { id: row.id, created_at: row.created_at.into() }
    }
}

impl AppView {
    pub(super) fn of(row: apps::App, secrets: Vec<AppSecret>) -> Self {
        Self {
            id: row.id,
            workspace_id: row.workspace_id,
            platform: row.platform,
            name: row.name,
            client_id: row.client_id,
            scopes: row.scopes,
            secrets: secrets.into_iter().map(Into::into).collect(),
            created_at: row.created_at.into(),
        }
    }
}

pub(crate) async fn find(app: &App, caller: &Caller, id: &AppId) -> Result<AppView, Problem> {
    let mut conn = app.conn().await?;
    let (organisation, only) = (&caller.organisation_id, caller.workspace_id.as_ref());
    let found = apps::get(&mut conn, organisation, only, id).await?;
    let found = found.ok_or_else(Problem::not_found)?;
    let secrets = app_secrets::of_apps(&mut conn, organisation, &[&found.id]).await?;
    Ok(AppView::of(found, secrets))
}

pub(crate) async fn list(
    app: &App,
    caller: &Caller,
    wanted: &Wanted,
) -> Result<List<AppView>, Problem> {
    let mut conn = app.conn().await?;
    let (organisation, only) = (&caller.organisation_id, caller.workspace_id.as_ref());
    let rows = apps::list(&mut conn, organisation, only, wanted.page()).await?;
    let ids: Vec<&AppId> = rows.iter().map(|row| &row.id).collect();
    let mut secrets: HashMap<AppId, Vec<AppSecret>> = HashMap::new();
    for secret in app_secrets::of_apps(&mut conn, organisation, &ids).await? {
        secrets.entry(secret.app_id.clone()).or_default().push(secret);
    }
    Ok(wanted.list(
        rows,
        |row| row.id.to_string(),
        |row| {
            let own = secrets.remove(&row.id).unwrap_or_default();
            AppView::of(row, own)
        },
    ))
}
