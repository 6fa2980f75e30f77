//! `/v1/refresh-debt`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use latchkey_shared::db::refresh_debt::{self, DebtFilter, RefreshDebt};
use latchkey_shared::ids::AppId;
use latchkey_shared::timestamp::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Viewer;
use crate::problem::Problem;
use crate::state::App;

/// What refreshes are owed, by platform app.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefreshDebtView {
    /// One entry for each platform app with accounts that the key reaches.
    data: Vec<AppDebtView>,
}

/// What refreshes one platform app owes. A count of 100000 says that there are at least so many.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AppDebtView {
    /// Which platform.
    #[schema(example = "X")]
    platform: String,
    /// Through which of the customer's apps; null: through the operator's.
    #[schema(value_type = Option<String>)]
    app_id: Option<AppId>,
    /// Whether the platform is called.
    state: AppState,
    /// Grants whose refresh is due and not done.
    due: i64,
    /// Those of them that have been due for more than 5 minutes.
    overdue: i64,
    /// Grants whose access token has ended and is not renewed: their accounts cannot be used now.
    lapsed: i64,
    /// Grants of which nobody knows whether the platform spent the refresh token.
    in_doubt: i64,
    /// Since when the oldest of those that are due is due.
    oldest_due_at: Option<Timestamp>,
    /// Grants that come due within the next hour.
    due_next_hour: i64,
}

/// Whether a platform is called.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "name", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub(crate) enum AppState {
    /// It is.
    Open,
    /// The platform asked to be left alone.
    Paused {
        /// Until then.
        until: Timestamp,
        /// What it said.
        reason: String,
    },
    /// Its calls fail in a row: only probes call, and no account expires.
    Braked {
        /// Since then.
        since: Timestamp,
        /// What the calls fail with.
        reason: String,
        /// When the next probe may call.
        next_probe_at: Option<Timestamp>,
    },
}

impl From<RefreshDebt> for AppDebtView {
    fn from(debt: RefreshDebt) -> Self {
        let state = match (debt.braked_since, debt.paused_until) {
            (Some(since), _) => AppState::Braked {
                since: since.into(),
                reason: debt.brake_reason.unwrap_or_default(),
                next_probe_at: debt.probe_at.map(Into::into),
            },
            (None, Some(until)) => AppState::Paused {
                until: until.into(),
                reason: debt.pause_reason.unwrap_or_default(),
            },
            (None, None) => AppState::Open,
        };
        Self {
            platform: debt.platform,
            app_id: debt.app.parse().ok(),
            state,
            due: debt.due,
            overdue: debt.overdue,
            lapsed: debt.lapsed,
            in_doubt: debt.in_doubt,
            oldest_due_at: debt.oldest_due_at.map(Into::into),
            due_next_hour: debt.due_next_hour,
        }
    }
}

/// Get what refreshes are owed, by platform app: due, overdue, lapsed, in doubt, and to come within the hour; and
/// whether each app's platform is called, paused or braked.
#[utoipa::path(
    get, path = "/v1/refresh-debt", tag = "accounts", operation_id = "getRefreshDebt",
    security(("apiKey" = ["viewer"])),
    responses((status = OK, description = "The debt of each platform app", body = RefreshDebtView)),
)]
pub(crate) async fn get(
    Viewer(caller): Viewer,
    State(app): State<Arc<App>>,
) -> Result<Json<RefreshDebtView>, Problem> {
    let filter = DebtFilter {
        organisation: Some(&caller.organisation_id),
        workspace: caller.workspace_id.as_ref(),
    };
    let rows = refresh_debt::list(&mut *app.conn().await?, filter).await?;
    Ok(Json(RefreshDebtView { data: rows.into_iter().map(Into::into).collect() }))
}
