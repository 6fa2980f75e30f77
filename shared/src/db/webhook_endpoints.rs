//! Webhook endpoints: where applications want to hear of events, and how they have answered so far.
//!
//! Whoever locks an endpoint and its deliveries takes the endpoint first: deleting it does, too.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::webhook_endpoints;
use super::{DbError, Page, app_now, app_now_plus, text_enum};
use crate::events::{EventData, NewEvent, Scope, WebhookEndpointDisabled};
use crate::ids::{EndpointId, OrganisationId, WorkspaceId};
use crate::keyring::Aad;

text_enum! {
    /// How long an endpoint took the last time.
    Pace {
        /// Not long.
        Prompt = "prompt",
        /// It answered, after seconds.
        Slow = "slow",
        /// It did not answer at all in time.
        Silent = "silent",
    }
}

impl Pace {
    /// Of a URL that has not answered yet.
    pub const UNKNOWN: Self = Self::Silent;
}

text_enum! {
    /// Why nothing is delivered to an endpoint.
    DisabledReason {
        /// It answered 410.
        Gone = "gone",
        /// For five days nothing came of anything.
        Failing = "failing",
        /// Its owner wants it so.
        Requested = "requested",
    }
}

/// An endpoint, its secrets sealed.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = webhook_endpoints)]
pub struct Endpoint {
    /// Id.
    pub id: EndpointId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// Whose events it hears; `None`: every workspace of the organisation.
    pub workspace_id: Option<WorkspaceId>,
    /// Where it is.
    pub url: String,
    /// Which types it hears; empty: all.
    pub event_types: Vec<String>,
    /// The signing secret, sealed with the organisation's data key.
    pub sealed_secret: Vec<u8>,
    /// How often the secret was rotated.
    pub secret_generation: i64,
    /// The secret before it.
    pub sealed_old_secret: Option<Vec<u8>>,
    /// Until when that one signs along.
    pub old_secret_until: Option<DateTime<Utc>>,
    /// Since when nothing but failure came of it.
    pub failing_since: Option<DateTime<Utc>>,
    /// How long it took the last time.
    pub pace: Pace,
    /// Since when nothing is delivered to it.
    pub disabled_at: Option<DateTime<Utc>>,
    /// Why.
    pub disabled_reason: Option<DisabledReason>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl Endpoint {
    /// What the secret is encrypted with.
    #[must_use]
    pub fn secret_aad(&self) -> Aad<'_> {
        secret_aad(&self.organisation_id, &self.id, self.secret_generation)
    }

    /// Where the secret stood that signs along.
    #[must_use]
    pub fn old_secret_aad(&self) -> Aad<'_> {
        secret_aad(&self.organisation_id, &self.id, self.secret_generation - 1)
    }

    /// Tells, where it listens, that nothing is delivered to it any more.
    #[must_use]
    pub fn disabled_event(&self) -> NewEvent {
        let reason = self.disabled_reason.unwrap_or(DisabledReason::Requested);
        let since = self.failing_since.filter(|_| reason == DisabledReason::Failing);
        let data = EventData::WebhookEndpointDisabled(WebhookEndpointDisabled {
            endpoint_id: self.id.clone(),
            url: self.url.clone(),
            reason: reason.to_string(),
            failing_since: since.map(Into::into),
        });
        let scope = match &self.workspace_id {
            Some(workspace) => Scope::Workspace(workspace.clone()),
            None => Scope::Organisation(self.organisation_id.clone()),
        };
        NewEvent { scope, data }
    }

    fn is_within(&self, only: Option<&WorkspaceId>) -> bool {
        only.is_none() || self.workspace_id.as_ref() == only
    }
}

/// An endpoint about to be added.
#[derive(Debug)]
pub struct NewEndpoint<'a> {
    /// A new id: the seal is bound to it.
    pub id: EndpointId,
    /// Whose it is.
    pub organisation_id: &'a OrganisationId,
    /// Whose events it hears.
    pub workspace_id: Option<&'a WorkspaceId>,
    /// Where it is.
    pub url: &'a str,
    /// Which types it hears.
    pub event_types: &'a [String],
    /// The sealed signing secret, of generation 0.
    pub sealed_secret: &'a [u8],
}

/// Where a secret of an endpoint stands: each rotation is a generation.
#[must_use]
pub fn secret_aad<'a>(
    organisation: &'a OrganisationId,
    id: &'a EndpointId,
    generation: i64,
) -> Aad<'a> {
    Aad::of_organisation("webhook_endpoints.sealed_secret", organisation, id.as_str())
        .with_generation(generation)
}

/// Adds an endpoint.
///
/// # Errors
/// When the query fails.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    new: &NewEndpoint<'_>,
) -> Result<Endpoint, DbError> {
    let row = diesel::insert_into(webhook_endpoints::table)
        .values((
            webhook_endpoints::id.eq(&new.id),
            webhook_endpoints::organisation_id.eq(new.organisation_id),
            webhook_endpoints::workspace_id.eq(new.workspace_id),
            webhook_endpoints::url.eq(new.url),
            webhook_endpoints::event_types.eq(new.event_types),
            webhook_endpoints::sealed_secret.eq(new.sealed_secret),
            webhook_endpoints::pace.eq(Pace::UNKNOWN),
            webhook_endpoints::created_at.eq(app_now()),
        ))
        .returning(Endpoint::as_returning());
    Ok(row.get_result(conn).await?)
}

/// How many endpoints an organisation has.
///
/// # Errors
/// When the query fails.
pub async fn count(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
) -> Result<i64, DbError> {
    let all = webhook_endpoints::table.filter(webhook_endpoints::organisation_id.eq(organisation));
    Ok(all.count().get_result(conn).await?)
}

/// One endpoint of an organisation, or of the one workspace that a key reaches.
///
/// # Errors
/// When the query fails.
pub async fn find(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    only: Option<&WorkspaceId>,
    id: &EndpointId,
) -> Result<Option<Endpoint>, DbError> {
    let row = webhook_endpoints::table
        .filter(webhook_endpoints::organisation_id.eq(organisation))
        .filter(webhook_endpoints::id.eq(id))
        .select(Endpoint::as_select());
    let found: Option<Endpoint> = row.first(conn).await.optional()?;
    Ok(found.filter(|endpoint| endpoint.is_within(only)))
}

/// The same, held until the transaction ends.
///
/// # Errors
/// When the query fails.
pub async fn lock(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    only: Option<&WorkspaceId>,
    id: &EndpointId,
) -> Result<Option<Endpoint>, DbError> {
    let row = webhook_endpoints::table
        .filter(webhook_endpoints::organisation_id.eq(organisation))
        .filter(webhook_endpoints::id.eq(id))
        .select(Endpoint::as_select());
    let found: Option<Endpoint> = row.for_no_key_update().first(conn).await.optional()?;
    Ok(found.filter(|endpoint| endpoint.is_within(only)))
}

/// The endpoints of an organisation, or those of the one workspace that a key reaches.
///
/// # Errors
/// When the query fails.
pub async fn list(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    only: Option<&WorkspaceId>,
    page: Page<'_>,
) -> Result<Vec<Endpoint>, DbError> {
    let mut rows = webhook_endpoints::table
        .filter(webhook_endpoints::organisation_id.eq(organisation))
        .filter(webhook_endpoints::id.gt(page.after()))
        .select(Endpoint::as_select())
        .order(webhook_endpoints::id)
        .limit(page.limit)
        .into_boxed();
    if let Some(only) = only {
        rows = rows.filter(webhook_endpoints::workspace_id.eq(only));
    }
    Ok(rows.load(conn).await?)
}

/// What an endpoint's owner may change; what is `None` stays.
#[derive(AsChangeset, Debug, Default)]
#[diesel(table_name = webhook_endpoints)]
pub struct EndpointChange<'a> {
    /// Where it is.
    pub url: Option<&'a str>,
    /// Which types it hears.
    pub event_types: Option<&'a [String]>,
    /// Since when it fails.
    pub failing_since: Option<Option<DateTime<Utc>>>,
    /// How long it takes.
    pub pace: Option<Pace>,
    /// Since when nothing is delivered to it.
    pub disabled_at: Option<Option<DateTime<Utc>>>,
    /// Why.
    pub disabled_reason: Option<Option<DisabledReason>>,
}

impl EndpointChange<'_> {
    /// Another chance: nothing is held against it any more. How long it takes is not known yet.
    pub fn forgive(&mut self) {
        self.failing_since = Some(None);
        self.pace = Some(Pace::UNKNOWN);
    }
}

/// Changes an endpoint; the change must change something.
///
/// # Errors
/// When the query fails.
pub async fn update(
    conn: &mut AsyncPgConnection,
    seen: &Endpoint,
    change: &EndpointChange<'_>,
) -> Result<Endpoint, DbError> {
    let row = diesel::update(webhook_endpoints::table)
        .filter(webhook_endpoints::organisation_id.eq(&seen.organisation_id))
        .filter(webhook_endpoints::id.eq(&seen.id))
        .set(change)
        .returning(Endpoint::as_returning());
    Ok(row.get_result(conn).await?)
}

/// Puts a secret, sealed for the generation after the one that was `seen`, in place of the endpoint's,
/// which signs along for `overlap`; one older than that is gone.
///
/// # Errors
/// When the query fails.
pub async fn rotate(
    conn: &mut AsyncPgConnection,
    seen: &Endpoint,
    sealed: &[u8],
    overlap: TimeDelta,
) -> Result<Endpoint, DbError> {
    let row = diesel::update(webhook_endpoints::table)
        .filter(webhook_endpoints::organisation_id.eq(&seen.organisation_id))
        .filter(webhook_endpoints::id.eq(&seen.id))
        .filter(webhook_endpoints::secret_generation.eq(seen.secret_generation))
        .set((
            webhook_endpoints::sealed_secret.eq(sealed),
            webhook_endpoints::secret_generation.eq(seen.secret_generation + 1),
            webhook_endpoints::sealed_old_secret.eq(&seen.sealed_secret),
            webhook_endpoints::old_secret_until.eq(app_now_plus(overlap).nullable()),
        ))
        .returning(Endpoint::as_returning());
    Ok(row.get_result(conn).await?)
}

/// Destroys old secrets that sign no more; answers how many. Across tenants: for pruning.
///
/// # Errors
/// When the query fails.
pub async fn forget_old_secrets(conn: &mut AsyncPgConnection) -> Result<usize, DbError> {
    let rows = diesel::update(webhook_endpoints::table)
        .filter(webhook_endpoints::old_secret_until.lt(app_now().nullable()))
        .set((
            webhook_endpoints::sealed_old_secret.eq(None::<Vec<u8>>),
            webhook_endpoints::old_secret_until.eq(None::<DateTime<Utc>>),
        ));
    Ok(rows.execute(conn).await?)
}

/// Notes how an endpoint did; nothing is written while that is as before.
///
/// # Errors
/// When the query fails.
pub async fn note_attempt(
    conn: &mut AsyncPgConnection,
    endpoint: &Endpoint,
    took_it: bool,
    pace: Pace,
) -> Result<(), DbError> {
    // An answer of the URL before says nothing of the one that took its place.
    let query = sql_query(
        "UPDATE webhook_endpoints SET pace = CASE WHEN url = $5 THEN $4 ELSE pace END,
             failing_since = CASE WHEN $3 THEN NULL ELSE coalesce(failing_since, app_now()) END
         WHERE organisation_id = $1 AND id = $2 AND (pace <> $4 OR (failing_since IS NOT NULL) = $3)",
    )
    .bind::<Text, _>(&endpoint.organisation_id)
    .bind::<Text, _>(&endpoint.id)
    .bind::<Bool, _>(took_it)
    .bind::<Text, _>(pace)
    .bind::<Text, _>(&endpoint.url);
    query.execute(conn).await?;
    Ok(())
}

/// Stops deliveries to an endpoint that said it is gone, or that has failed for as long as `patience`.
/// `None` when it is disabled already, or has not.
///
/// # Errors
/// When the query fails.
pub async fn disable(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    id: &EndpointId,
    reason: DisabledReason,
    patience: TimeDelta,
) -> Result<Option<Endpoint>, DbError> {
    let mut row = diesel::update(webhook_endpoints::table)
        .filter(webhook_endpoints::organisation_id.eq(organisation))
        .filter(webhook_endpoints::id.eq(id))
        .filter(webhook_endpoints::disabled_at.is_null())
        .into_boxed();
    if reason == DisabledReason::Failing {
        row = row.filter(webhook_endpoints::failing_since.le(app_now_plus(-patience).nullable()));
    }
    let row = row.set((
        webhook_endpoints::disabled_at.eq(app_now().nullable()),
        webhook_endpoints::disabled_reason.eq(reason),
    ));
    Ok(row.returning(Endpoint::as_returning()).get_result(conn).await.optional()?)
}

/// Deletes an endpoint with its deliveries; false when there is no such endpoint.
///
/// # Errors
/// When the query fails.
pub async fn delete(
    conn: &mut AsyncPgConnection,
    organisation: &OrganisationId,
    only: Option<&WorkspaceId>,
    id: &EndpointId,
) -> Result<bool, DbError> {
    let mut row = diesel::delete(webhook_endpoints::table)
        .filter(webhook_endpoints::organisation_id.eq(organisation))
        .filter(webhook_endpoints::id.eq(id))
        .into_boxed();
    if let Some(only) = only {
        row = row.filter(webhook_endpoints::workspace_id.eq(only));
    }
    Ok(row.execute(conn).await? == 1)
}
