//! How the calls through each platform app go, and whether its brake is on: then only probes call, and no
//! account expires. Across tenants: a platform app serves many.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Interval, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::schema::app_health;
use super::{DbError, app_now, app_now_plus, text_enum};
use crate::ids::{AppId, OrganisationId, WorkspaceId};

/// A platform app: what shares a client, a budget and a fate.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AppKey {
    /// Which platform.
    pub platform: String,
    /// The customer's own app; empty: the installation's; `@host`: a person's own host; `org_…`: the installation's,
    /// for one organisation.
    pub app: String,
}

impl AppKey {
    /// The app of a row; `None`: the installation's.
    #[must_use]
    pub fn new(platform: &str, app: Option<&AppId>) -> Self {
        Self { platform: platform.to_owned(), app: app.map_or("", AppId::as_str).to_owned() }
    }

    /// A person's own host, which speaks for itself alone.
    #[must_use]
    pub fn of_host(platform: &str, host: &str) -> Self {
        Self { platform: platform.to_owned(), app: format!("@{host}") }
    }

    /// The installation's app as far as one organisation uses it.
    #[must_use]
    pub fn of_organisation(platform: &str, organisation: &OrganisationId) -> Self {
        Self { platform: platform.to_owned(), app: organisation.to_string() }
    }

    /// The one organisation that it is limited to.
    #[must_use]
    pub fn organisation(&self) -> Option<OrganisationId> {
        self.app.parse().ok()
    }

    /// The app in logs and metrics.
    #[must_use]
    pub fn label(&self) -> &str {
        let installation = self.app.is_empty() || self.organisation().is_some();
        if installation { "installation" } else { &self.app }
    }
}

text_enum! {
    /// What a failed call says about the app.
    Cause {
        /// The platform did not do what it was asked to.
        Failures = "failures",
        /// The platform refused the grant in clear words.
        Refusals = "refusals",
        /// The platform refused our client.
        Client = "client",
    }
}

text_enum! {
    /// The event that is still to be sent.
    Announcement {
        /// `platform.degraded`.
        Degraded = "degraded",
        /// `platform.recovered`.
        Recovered = "recovered",
    }
}

/// How the calls through one app go.
#[derive(AsChangeset, Clone, Debug, Insertable, PartialEq, Queryable, Selectable)]
#[diesel(table_name = app_health, treat_none_as_null = true, primary_key(platform, app_id))]
pub struct AppHealth {
    /// Which platform.
    pub platform: String,
    /// Which app, as in [`AppKey::app`].
    pub app_id: String,
    /// The grants whose calls failed since the last success, each with its last reason.
    pub failing: Value,
    /// Since when calls fail without a success in between.
    pub failing_since: Option<DateTime<Utc>>,
    /// What the last failure was.
    pub cause: Option<Cause>,
    /// Its code.
    pub reason: Option<String>,
    /// Since when every failure was a refusal of a grant in clear words.
    pub refused_since: Option<DateTime<Utc>>,
    /// Grants that were refused lately and not refreshed since, halved every ten minutes.
    pub recent_refusals: f64,
    /// Calls that brought tokens lately, halved alike.
    pub recent_successes: f64,
    /// When the two were brought up to date.
    pub recent_at: Option<DateTime<Utc>>,
    /// When the newest call that brought tokens was begun.
    pub succeeded_at: Option<DateTime<Utc>>,
    /// Since when the brake is on.
    pub braked_since: Option<DateTime<Utc>>,
    /// When the next probe may call.
    pub probe_at: Option<DateTime<Utc>>,
    /// When the brake was taken off last.
    pub opened_at: Option<DateTime<Utc>>,
    /// Whether it was taken off because the refusals are true.
    pub refusals_believed: bool,
    /// The event that is still to be sent.
    pub announce: Option<Announcement>,
    /// When the failure that is announced began.
    pub announce_since: Option<DateTime<Utc>>,
}

impl AppHealth {
    /// Of an app whose calls never failed.
    #[must_use]
    pub fn good(key: &AppKey) -> Self {
        Self {
            platform: key.platform.clone(),
            app_id: key.app.clone(),
            failing: Value::Object(serde_json::Map::new()),
            failing_since: None,
            cause: None,
            reason: None,
            refused_since: None,
            recent_refusals: 0.0,
            recent_successes: 0.0,
            recent_at: None,
            succeeded_at: None,
            braked_since: None,
            probe_at: None,
            opened_at: None,
            refusals_believed: false,
            announce: None,
            announce_since: None,
        }
    }

    /// The app.
    #[must_use]
    pub fn key(&self) -> AppKey {
        AppKey { platform: self.platform.clone(), app: self.app_id.clone() }
    }
}

/// One app's row, if it has one yet.
///
/// # Errors
/// When the query fails.
pub async fn find(
    conn: &mut AsyncPgConnection,
    key: &AppKey,
) -> Result<Option<AppHealth>, DbError> {
    let row = app_health::table.find((&key.platform, &key.app)).select(AppHealth::as_select());
    Ok(row.first(conn).await.optional()?)
}

/// One app's row, locked until the transaction ends.
///
/// # Errors
/// When the query fails.
pub async fn lock(conn: &mut AsyncPgConnection, key: &AppKey) -> Result<AppHealth, DbError> {
    diesel::insert_into(app_health::table)
        .values(AppHealth::good(key))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    let row = app_health::table.find((&key.platform, &key.app)).select(AppHealth::as_select());
    Ok(row.for_update().first(conn).await?)
}

/// Writes a row that is locked.
///
/// # Errors
/// When the query fails.
pub async fn save(conn: &mut AsyncPgConnection, health: &AppHealth) -> Result<(), DbError> {
    diesel::update(app_health::table.find((&health.platform, &health.app_id)))
        .set(health)
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes the right to probe a braked app, and puts the next probe `interval` ahead. False when somebody else
/// has it.
///
/// # Errors
/// When the query fails.
pub async fn take_probe(
    conn: &mut AsyncPgConnection,
    key: &AppKey,
    interval: TimeDelta,
) -> Result<bool, DbError> {
    let rows = diesel::update(app_health::table.find((&key.platform, &key.app)))
        .filter(app_health::braked_since.is_not_null())
        .filter(app_health::probe_at.le(app_now().nullable()))
        .set(app_health::probe_at.eq(app_now_plus(interval).nullable()))
        .execute(conn);
    Ok(rows.await? == 1)
}

/// Has the planner dispatch little of an app for a while: the workers have no permits left for it.
///
/// # Errors
/// When the query fails.
pub async fn note_busy(
    conn: &mut AsyncPgConnection,
    key: &AppKey,
    wait: TimeDelta,
) -> Result<(), DbError> {
    let query = sql_query(
        "INSERT INTO app_health (platform, app_id, busy_until) VALUES ($1, $2, app_now() + $3)
         ON CONFLICT (platform, app_id) DO UPDATE SET busy_until = excluded.busy_until
         WHERE app_health.busy_until IS NULL OR app_health.busy_until < app_now()",
    )
    .bind::<Text, _>(&key.platform)
    .bind::<Text, _>(&key.app)
    .bind::<Interval, _>(wait);
    query.execute(conn).await?;
    Ok(())
}

/// Brings the next attempts of those forward that wait for their app, each once: a call of the app that was
/// begun after they failed has succeeded, or the app's brake was taken off. Spread over `spread`.
///
/// # Errors
/// When the query fails.
pub async fn wake(
    conn: &mut AsyncPgConnection,
    spread: TimeDelta,
    limit: i64,
) -> Result<usize, DbError> {
    let query = sql_query(
        "WITH woken AS (
             SELECT g.id, app_now() + $1 * random() AS at FROM app_health h JOIN grants g
               ON g.platform = h.platform AND coalesce(g.app_id, '') = h.app_id
             WHERE g.status = 'active' AND g.wake_at IS NOT NULL AND g.next_attempt_at > app_now() + $1
               AND (g.lease_until IS NULL OR g.lease_until <= app_now()) AND h.braked_since IS NULL
               AND (h.opened_at > g.last_error_at OR (h.succeeded_at > g.last_error_at AND g.wake_at <= app_now()))
             LIMIT $2 FOR UPDATE OF g SKIP LOCKED)
         UPDATE grants SET wake_at = NULL, refresh_at = woken.at, next_attempt_at = woken.at, dispatches = 0
         FROM woken WHERE grants.id = woken.id",
    )
    .bind::<Interval, _>(spread)
    .bind::<BigInt, _>(limit);
    Ok(query.execute(conn).await?)
}

/// The apps of which an event is still to be sent, locked until the transaction ends.
///
/// # Errors
/// When the query fails.
pub async fn lock_announcements(
    conn: &mut AsyncPgConnection,
    limit: i64,
) -> Result<Vec<AppHealth>, DbError> {
    let rows = app_health::table
        .filter(app_health::announce.is_not_null())
        .select(AppHealth::as_select())
        .limit(limit)
        .for_update()
        .skip_locked();
    Ok(rows.load(conn).await?)
}

/// The organisation of a workspace, if others have accounts through the app, too.
///
/// # Errors
/// When the query fails.
pub async fn sharer(
    conn: &mut AsyncPgConnection,
    key: &AppKey,
    workspace: &WorkspaceId,
) -> Result<Option<OrganisationId>, DbError> {
    // Only the installation's app serves several.
    if !key.app.is_empty() {
        return Ok(None);
    }
    let query = sql_query(
        "SELECT own.organisation_id AS id FROM workspaces own WHERE own.id = $2 AND EXISTS (
             SELECT FROM organisations o WHERE o.id <> own.organisation_id AND EXISTS (
                 SELECT FROM workspaces w JOIN accounts a ON a.workspace_id = w.id
                 WHERE w.organisation_id = o.id AND a.platform = $1 AND a.app_id IS NULL
                   AND a.status = 'connected'))",
    )
    .bind::<Text, _>(&key.platform)
    .bind::<Text, _>(workspace);
    let row: Option<Concerned> = query.get_result(conn).await.optional()?;
    Ok(row.map(|row| row.id))
}

#[derive(QueryableByName)]
struct Concerned {
    #[diesel(sql_type = Text)]
    id: OrganisationId,
}

/// The organisations that have accounts through an app.
///
/// # Errors
/// When the query fails.
pub async fn organisations_of(
    conn: &mut AsyncPgConnection,
    key: &AppKey,
) -> Result<Vec<OrganisationId>, DbError> {
    let query = sql_query(
        "SELECT o.id FROM organisations o WHERE EXISTS (
             SELECT FROM workspaces w JOIN accounts a ON a.workspace_id = w.id
             WHERE w.organisation_id = o.id AND a.platform = $1 AND coalesce(a.app_id, '') = $2
               AND a.status = 'connected')
         ORDER BY o.id",
    )
    .bind::<Text, _>(&key.platform)
    .bind::<Text, _>(&key.app);
    let rows: Vec<Concerned> = query.load(conn).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// Counts the due grants of an app, dispatched or not. Reads at most `limit` rows.
///
/// # Errors
/// When the query fails.
pub async fn count_due(
    conn: &mut AsyncPgConnection,
    key: &AppKey,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<i64, DbError> {
    let query = sql_query(
        "SELECT count(*) FILTER (WHERE refresh_at <= $3) AS n FROM (SELECT refresh_at FROM grants
             WHERE platform = $1 AND coalesce(app_id, '') = $2 AND status = 'active' AND next_attempt_at IS NOT NULL
               AND next_attempt_at <= $3 + interval '130 min' ORDER BY next_attempt_at LIMIT $4) AS planned",
    )
    .bind::<Text, _>(&key.platform)
    .bind::<Text, _>(&key.app)
    .bind::<Timestamptz, _>(now)
    .bind::<BigInt, _>(limit);
    let row: Count = query.get_result(conn).await?;
    Ok(row.n)
}
