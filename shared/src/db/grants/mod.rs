//! Grants: what platforms gave us. One token set each, sealed.
//!
//! The lease says who may call the platform, the generation says who may store. A refresh commits
//! its intent before it calls, so that a call whose answer nobody read is known as in doubt.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::app_health::AppKey;
use super::schema::grants;
use super::{DbError, app_now, text_enum};
use crate::ids::{AppId, GrantId, GrantKey, WorkspaceId};
use crate::keyring::Aad;

/// One grant of a workspace, about to be changed.
macro_rules! one {
    ($key:expr) => {
        diesel::update(grants::table)
            .filter(grants::workspace_id.eq($key.workspace_id))
            .filter(grants::id.eq($key.id))
    };
}

mod calls;
mod due;
mod holders;
mod life;
mod reauth;

pub use calls::{
    FailedCall, Lease, Refused, begin_call, give_back, make_due, note_action_needed, note_overdue,
    put_back, put_off, store_answer, trade_in, wait_for_lease,
};
pub(super) use due::REFRESHED_APPS;
pub use due::{DueGrant, PlanLimits, ended, lapsed, take_due};
pub use holders::{holder_has_another, last_revocation, lock_holder, releasing_of_holder};
pub use life::{
    activate, adopt_refresh_token, expire, finish_release, name_holder, note_error,
    note_revocation_sent, release, revive, supersede,
};
pub use reauth::{noticeable, set_reauth, take_notice};

text_enum! {
    /// Where a grant is in its life.
    GrantStatus {
        /// Stored, whose it is is not known yet.
        Pending = "pending",
        /// In use, and kept alive.
        Active = "active",
        /// Dead at the platform, or nothing can renew it.
        Expired = "expired",
        /// Out of use; the platform is to be told.
        Releasing = "releasing",
        /// The platform was told, or we gave up telling it. The tokens are destroyed.
        Revoked = "revoked",
        /// Destroyed without telling the platform.
        Superseded = "superseded",
    }
}

/// Whether a refresh may be asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallState {
    /// Nobody calls.
    Free,
    /// Somebody calls, or has called and is gone.
    UnderWay,
    /// The token may be spent; it is presented again then.
    InDoubt(DateTime<Utc>),
}

/// A grant, its tokens sealed.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = grants)]
pub struct Grant {
    /// Id.
    pub id: GrantId,
    /// Whose it is.
    pub workspace_id: WorkspaceId,
    /// Which platform gave it.
    pub platform: String,
    /// Through which of the customer's apps; `None`: the installation's.
    pub app_id: Option<AppId>,
    /// Where it is in its life.
    pub status: GrantStatus,
    /// Counts token sets.
    pub generation: i64,
    /// The token set of this generation.
    pub sealed_tokens: Option<Vec<u8>>,
    /// Whether it holds what a refresh presents.
    pub renewable: bool,
    /// What the person granted.
    pub scopes: Vec<String>,
    /// Finds other grants of the same person through the same app.
    pub holder_hash: Option<Vec<u8>>,
    /// The database's time before the call that brought these tokens.
    pub issued_at: DateTime<Utc>,
    /// When the access token ends.
    pub access_expires_at: Option<DateTime<Utc>>,
    /// When the refresh token ends.
    pub refresh_expires_at: Option<DateTime<Utc>>,
    /// When the next refresh is due.
    pub refresh_at: Option<DateTime<Utc>>,
    /// Failures since the last success.
    pub attempts: i32,
    /// Until when somebody may be calling.
    pub lease_until: Option<DateTime<Utc>>,
    /// The generation whose token was presented last.
    pub calling_generation: Option<i64>,
    /// Since when nobody knows whether the refresh token was spent.
    pub in_doubt_since: Option<DateTime<Utc>>,
    /// Since when the access token has ended while the refresh keeps failing.
    pub overdue_since: Option<DateTime<Utc>>,
    /// When it was refreshed last.
    pub last_refreshed_at: Option<DateTime<Utc>>,
    /// What went wrong last.
    pub last_error_code: Option<String>,
    /// When.
    pub last_error_at: Option<DateTime<Utc>>,
    /// When it was released.
    pub released_at: Option<DateTime<Utc>>,
    /// By when the person must consent again, where no refresh moves that end.
    pub reauth_at: Option<DateTime<Utc>>,
    /// Who holds the lease.
    pub lease_holder: Option<String>,
    /// Since when the platform refuses it in the same words.
    pub refused_since: Option<DateTime<Utc>>,
    /// Those words.
    pub refused_as: Option<String>,
    /// Since when the platform wants the person to act there.
    pub action_needed_since: Option<DateTime<Utc>>,
}

impl Grant {
    /// The platform app that it belongs to.
    #[must_use]
    pub fn app_key(&self) -> AppKey {
        AppKey::new(&self.platform, self.app_id.as_ref())
    }

    /// Whether a refresh may be asked for now. A request neither presents a token in doubt early nor changes
    /// a lease.
    #[must_use]
    pub fn call_state(&self, now: DateTime<Utc>) -> CallState {
        let in_doubt = self.in_doubt_since.is_some();
        match self.refresh_at {
            _ if self.lease_until.is_some_and(|until| until > now) => CallState::UnderWay,
            Some(next) if in_doubt && next > now => CallState::InDoubt(next),
            // Its worker is gone, and the next to look at it decides what that means.
            _ if self.is_unanswered() && !in_doubt => CallState::UnderWay,
            _ => CallState::Free,
        }
    }

    /// Its workspace and id.
    #[must_use]
    pub fn key(&self) -> GrantKey<'_> {
        GrantKey { workspace_id: &self.workspace_id, id: &self.id }
    }

    /// Where the tokens of this grant's current generation stand.
    #[must_use]
    pub fn tokens_aad(&self) -> Aad<'_> {
        tokens_aad(self.key(), self.generation)
    }

    /// Whether the token of the current generation was presented and no answer was stored.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        self.calling_generation == Some(self.generation)
    }
}

/// Where the tokens of a generation of a grant stand.
#[must_use]
pub fn tokens_aad(key: GrantKey<'_>, generation: i64) -> Aad<'_> {
    Aad::of_workspace("grants.sealed_tokens", key.workspace_id, key.id.as_str())
        .with_generation(generation)
}

/// A token set about to be stored.
#[derive(Clone, Debug)]
pub struct NewTokens {
    /// Sealed for its place.
    pub sealed: Vec<u8>,
    /// Whether it holds what a refresh presents.
    pub renewable: bool,
    /// What the person granted.
    pub scopes: Vec<String>,
    /// The database's time before the call.
    pub issued_at: DateTime<Utc>,
    /// When the access token ends.
    pub access_expires_at: Option<DateTime<Utc>>,
    /// When the refresh token ends.
    pub refresh_expires_at: Option<DateTime<Utc>>,
    /// When to refresh.
    pub refresh_at: Option<DateTime<Utc>>,
    /// By when the person must consent again, and when applications are told of it first.
    pub reauth: Option<Reauth>,
}

/// An end that no refresh moves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reauth {
    /// By when the person must consent again.
    pub at: DateTime<Utc>,
    /// When applications are told of it next.
    pub notice_at: Option<DateTime<Utc>>,
}

impl Reauth {
    /// How many days before the end applications are told.
    const NOTICE_DAYS: [i64; 3] = [14, 7, 1];

    /// An end, seen from a moment: what should have been told before it is told no more.
    #[must_use]
    pub fn new(at: DateTime<Utc>, seen_from: DateTime<Utc>) -> Self {
        let notices = Self::NOTICE_DAYS.map(|days| at - TimeDelta::days(days));
        Self { at, notice_at: notices.into_iter().find(|notice| *notice > seen_from) }
    }
}

/// A grant about to be added.
#[derive(Debug)]
pub struct NewGrant<'a> {
    /// A new id: the seal is bound to it.
    pub id: GrantId,
    /// Whose it is.
    pub workspace_id: &'a WorkspaceId,
    /// Which platform gave it.
    pub platform: &'a str,
    /// Through which of the customer's apps.
    pub app_id: Option<&'a AppId>,
    /// `Pending`, or `Releasing` when it is not wanted any more.
    pub status: GrantStatus,
    /// Generation 1.
    pub tokens: &'a NewTokens,
}

/// Adds a grant. Durable before anything else happens to the answer.
///
/// # Errors
/// When the query fails.
pub async fn insert(conn: &mut AsyncPgConnection, new: &NewGrant<'_>) -> Result<(), DbError> {
    let tokens = new.tokens;
    diesel::insert_into(grants::table)
        .values((
            (
                grants::id.eq(&new.id),
                grants::workspace_id.eq(new.workspace_id),
                grants::platform.eq(new.platform),
                grants::app_id.eq(new.app_id),
                grants::status.eq(new.status),
                grants::generation.eq(1),
                grants::created_at.eq(app_now()),
                (new.status == GrantStatus::Releasing)
                    .then(|| grants::released_at.eq(app_now().nullable())),
            ),
            (
                grants::sealed_tokens.eq(&tokens.sealed),
                grants::renewable.eq(tokens.renewable),
                grants::scopes.eq(&tokens.scopes),
                grants::issued_at.eq(tokens.issued_at),
                grants::access_expires_at.eq(tokens.access_expires_at),
                grants::refresh_expires_at.eq(tokens.refresh_expires_at),
                grants::refresh_at.eq(tokens.refresh_at),
                grants::reauth_at.eq(tokens.reauth.map(|reauth| reauth.at)),
                grants::reauth_notice_at.eq(tokens.reauth.and_then(|reauth| reauth.notice_at)),
            ),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// One grant of a workspace.
///
/// # Errors
/// When the query fails.
pub async fn find(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &GrantId,
) -> Result<Option<Grant>, DbError> {
    let row = grants::table.filter(grants::workspace_id.eq(workspace)).filter(grants::id.eq(id));
    Ok(row.select(Grant::as_select()).first(conn).await.optional()?)
}

/// One grant of a workspace, its row locked until the transaction ends.
///
/// # Errors
/// When the query fails.
pub async fn lock(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &GrantId,
) -> Result<Option<Grant>, DbError> {
    let row = grants::table.filter(grants::workspace_id.eq(workspace)).filter(grants::id.eq(id));
    Ok(row.select(Grant::as_select()).for_update().first(conn).await.optional()?)
}
