//! Connects: attempts to connect an account, each with its timeline.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::accounts::Account;
use super::schema::connects;
use super::{DbError, Page, app_now, app_now_plus, text_enum};
use crate::events::{ConnectData, EventData, NewEvent};
use crate::ids::{AccountId, AppId, ConnectId, ConnectKey, GrantId, ProfileId, WorkspaceId};
use crate::keyring::Aad;

mod advance;
mod claim;
mod due;
mod link;
mod mismatch;
mod selection;

pub use advance::{Advance, advance, note_try, set_lease, shorten_lease, store_grant};
pub use claim::{claim, claim_aad, set_claim};
pub use due::{left_behind, open_of_app, overdue};
pub use link::{find_by_link, note_refusal, trade_link};
pub use mismatch::{IDENTITY_MISMATCH, was_another_person};
pub use selection::{candidates_aad, select, set_candidates};

text_enum! {
    /// How far a connect is.
    ConnectStatus {
        /// The person has not come back yet.
        Pending = "pending",
        /// The person approved; the code waits to be exchanged.
        Authorized = "authorized",
        /// The code was presented, or is about to be.
        Exchanging = "exchanging",
        /// The person chooses what to connect.
        Selecting = "selecting",
        /// The application must say that the person is who it thinks.
        Claiming = "claiming",
        /// The account is connected.
        Connected = "connected",
        /// It ended without an account; the reason says why.
        Failed = "failed",
        /// Nobody finished it in time.
        Expired = "expired",
        /// The application took it back.
        Cancelled = "cancelled",
    }
}

impl ConnectStatus {
    /// Those that a connect may still leave.
    pub const OPEN: [Self; 5] =
        [Self::Pending, Self::Authorized, Self::Exchanging, Self::Selecting, Self::Claiming];

    /// Whether nothing will change any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        !Self::OPEN.contains(&self)
    }
}

text_enum! {
    /// Who may finish a connect.
    Binding {
        /// Whoever opens the authorize URL.
        None = "none",
        /// The browser in which the button on our first page was pressed.
        Browser = "browser",
        /// Nobody, until the application's backend, which knows its signed-in person, claims it.
        Claim = "claim",
    }
}

text_enum! {
    /// In whose words the redirect tells the result.
    ResultFormat {
        /// Ours.
        Native = "native",
        /// PostPeer's.
        Postpeer = "postpeer",
        /// WoopSocial's.
        Woopsocial = "woopsocial",
    }
}

/// A connect, its secrets sealed.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = connects)]
pub struct Connect {
    /// Id.
    pub id: ConnectId,
    /// Where the account shall belong.
    pub workspace_id: WorkspaceId,
    /// Which platform.
    pub platform: String,
    /// Through which of the customer's apps.
    pub app_id: Option<AppId>,
    /// The customer's end user.
    pub profile_id: Option<ProfileId>,
    /// The account that is to be reconnected, if one was named.
    pub account_id: Option<AccountId>,
    /// What the exchange brought.
    pub grant_id: Option<GrantId>,
    /// How far it is.
    pub status: ConnectStatus,
    /// Why it ended, if not well.
    pub reason_code: Option<String>,
    /// What the platform said, redacted.
    pub platform_error: Option<Value>,
    /// Each status with its moment.
    pub timeline: Value,
    /// Where the application wants the browser back.
    pub redirect_url: Option<String>,
    /// The redirect URI sent to the platform.
    pub redirect_uri: String,
    /// What was asked for.
    pub scopes: Vec<String>,
    /// Whatever the application wants to find on the account.
    pub metadata: Value,
    /// The PKCE verifier.
    pub sealed_verifier: Option<Vec<u8>>,
    /// The code, or the app password.
    pub sealed_code: Option<Vec<u8>>,
    /// What the person may choose from.
    pub sealed_candidates: Option<Vec<u8>>,
    /// What was chosen.
    pub selection: Option<Vec<String>>,
    /// What was connected and is to be disconnected, since the person unticked it.
    pub deselection: Vec<String>,
    /// SHA-256 of the cookie that may see the page.
    pub page_hash: Option<Vec<u8>>,
    /// The accounts that it connected.
    pub account_ids: Vec<String>,
    /// Until when a worker may still be waiting for the answer.
    pub lease_until: Option<DateTime<Utc>>,
    /// Who was asked, if the platform has an issuer.
    pub issuer: Option<String>,
    /// Whether the browser must say whom it comes back from.
    pub iss_required: bool,
    /// Who may finish it.
    pub binding: Binding,
    /// Whether it adds an account only where no other of its platform is in use.
    pub exclusive: bool,
    /// In whose words the redirect tells the result.
    pub result_format: ResultFormat,
    /// The state, for the first page to lead to the platform with.
    pub sealed_state: Option<Vec<u8>>,
    /// What the redirect carries while it is claiming.
    pub sealed_claim: Option<Vec<u8>>,
    /// When the application claimed it.
    pub claimed_at: Option<DateTime<Utc>>,
    /// How many calls in a row brought no answer: of the exchange, and after it of what is asked with its token.
    pub tries: i32,
    /// What the code that the browser brought is known by.
    pub code_hash: Option<Vec<u8>>,
    /// When the person must have come back.
    pub expires_at: DateTime<Utc>,
    /// When it was started.
    pub created_at: DateTime<Utc>,
}

impl Connect {
    /// Its workspace and id.
    #[must_use]
    pub fn key(&self) -> ConnectKey<'_> {
        ConnectKey { workspace_id: &self.workspace_id, id: &self.id }
    }

    /// Whether it must leave an account alone that is in use for another profile: clients of PostPeer see no event
    /// that would tell them that it was taken.
    #[must_use]
    pub fn must_leave(&self, account: &Account) -> bool {
        self.result_format == ResultFormat::Postpeer
            && self.account_id.is_none()
            && account.is_of_another(self.profile_id.as_ref())
    }

    /// When the person came back with the code.
    #[must_use]
    pub fn authorized_at(&self) -> Option<DateTime<Utc>> {
        let mut steps = self.timeline.as_array()?.iter();
        let step = steps.find(|step| step["status"] == ConnectStatus::Authorized.as_str())?;
        DateTime::parse_from_rfc3339(step["at"].as_str()?).ok().map(|at| at.to_utc())
    }

    /// The event that something happened to this connect, as it is now. Every such event says the
    /// same things; never a state, a URL or a code.
    #[must_use]
    pub fn event(&self, kind: fn(ConnectData) -> EventData) -> NewEvent {
        let data = kind(ConnectData {
            connect_id: self.id.clone(),
            platform: self.platform.clone(),
            profile_id: self.profile_id.clone(),
            account_id: self.account_id.clone(),
            reason: self.reason_code.clone(),
            error: self.platform_error.clone(),
            metadata: self.metadata.clone(),
        });
        NewEvent::of_workspace(&self.workspace_id, data)
    }
}

/// A connect about to be started.
#[derive(Debug)]
pub struct NewConnect<'a> {
    /// A new id: the seals are bound to it.
    pub id: ConnectId,
    /// Where the account shall belong.
    pub workspace_id: &'a WorkspaceId,
    /// Which platform.
    pub platform: &'a str,
    /// Through which of the customer's apps.
    pub app_id: Option<&'a AppId>,
    /// The customer's end user.
    pub profile_id: Option<&'a ProfileId>,
    /// The account that is to be reconnected.
    pub account_id: Option<&'a AccountId>,
    /// Where the application wants the browser back.
    pub redirect_url: Option<&'a str>,
    /// The redirect URI sent to the platform.
    pub redirect_uri: &'a str,
    /// Who is asked, and whether the browser must say so when it comes back.
    pub issuer: (Option<&'a str>, bool),
    /// What is asked for.
    pub scopes: &'a [String],
    /// Whatever the application wants to find on the account.
    pub metadata: &'a Value,
    /// SHA-256 of the state.
    pub state_hash: &'a [u8],
    /// The sealed PKCE verifier.
    pub sealed_verifier: Option<&'a [u8]>,
    /// The sealed state.
    pub sealed_state: &'a [u8],
    /// SHA-256 of the link to its first page, if it has one.
    pub link_hash: Option<&'a [u8]>,
    /// Who may finish it.
    pub binding: Binding,
    /// Whether it adds an account only where no other of its platform is in use.
    pub exclusive: bool,
    /// In whose words the redirect tells the result.
    pub result_format: ResultFormat,
    /// How long the person has.
    pub lifetime: TimeDelta,
}

/// What a connect's PKCE verifier is encrypted with.
#[must_use]
pub fn verifier_aad(key: ConnectKey<'_>) -> Aad<'_> {
    Aad::of_workspace("connects.sealed_verifier", key.workspace_id, key.id.as_str())
}

/// What a connect's code is encrypted with.
#[must_use]
pub fn code_aad(key: ConnectKey<'_>) -> Aad<'_> {
    Aad::of_workspace("connects.sealed_code", key.workspace_id, key.id.as_str())
}

/// What a connect's state is encrypted with.
#[must_use]
pub fn state_aad(key: ConnectKey<'_>) -> Aad<'_> {
    Aad::of_workspace("connects.sealed_state", key.workspace_id, key.id.as_str())
}

/// Starts a connect.
///
/// # Errors
/// When the query fails.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    new: &NewConnect<'_>,
) -> Result<Connect, DbError> {
    let row = diesel::insert_into(connects::table)
        .values((
            (
                connects::id.eq(&new.id),
                connects::workspace_id.eq(new.workspace_id),
                connects::platform.eq(new.platform),
                connects::app_id.eq(new.app_id),
                connects::profile_id.eq(new.profile_id),
                connects::account_id.eq(new.account_id),
                connects::redirect_url.eq(new.redirect_url),
                connects::redirect_uri.eq(new.redirect_uri),
                connects::issuer.eq(new.issuer.0),
                connects::iss_required.eq(new.issuer.1),
                connects::scopes.eq(new.scopes),
                connects::metadata.eq(new.metadata),
            ),
            (
                connects::status.eq(ConnectStatus::Pending),
                connects::timeline.eq(Value::Array(Vec::new())),
                connects::state_hash.eq(new.state_hash),
                connects::sealed_verifier.eq(new.sealed_verifier),
                connects::sealed_state.eq(new.sealed_state),
                connects::link_hash.eq(new.link_hash),
                connects::binding.eq(new.binding),
                connects::exclusive.eq(new.exclusive),
                connects::result_format.eq(new.result_format),
                connects::status_at.eq(app_now()),
                connects::expires_at.eq(app_now_plus(new.lifetime)),
                connects::created_at.eq(app_now()),
            ),
        ))
        .returning(connects::id)
        .get_result::<ConnectId>(conn)
        .await?;
    advance(
        conn,
        ConnectKey { workspace_id: new.workspace_id, id: &row },
        &Advance::to(ConnectStatus::Pending, &[ConnectStatus::Pending]),
    )
    .await?
    .ok_or(DbError::Query(diesel::result::Error::NotFound))
}

/// One connect of a workspace.
///
/// # Errors
/// When the query fails.
pub async fn find(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &ConnectId,
) -> Result<Option<Connect>, DbError> {
    let row =
        connects::table.filter(connects::workspace_id.eq(workspace)).filter(connects::id.eq(id));
    Ok(row.select(Connect::as_select()).first(conn).await.optional()?)
}

/// One connect, its row locked until the transaction ends.
///
/// # Errors
/// When the query fails.
pub async fn lock(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    id: &ConnectId,
) -> Result<Option<Connect>, DbError> {
    let row =
        connects::table.filter(connects::workspace_id.eq(workspace)).filter(connects::id.eq(id));
    Ok(row.select(Connect::as_select()).for_update().first(conn).await.optional()?)
}

/// The connect whose state this is. A browser shows no key: the state is what it may be asked by.
///
/// # Errors
/// When the query fails.
pub async fn find_by_state(
    conn: &mut AsyncPgConnection,
    state_hash: &[u8],
) -> Result<Option<Connect>, DbError> {
    let row = connects::table.filter(connects::state_hash.eq(state_hash));
    Ok(row.select(Connect::as_select()).first(conn).await.optional()?)
}

/// The connect whose page this cookie may see. As above.
///
/// # Errors
/// When the query fails.
pub async fn find_by_page(
    conn: &mut AsyncPgConnection,
    id: &ConnectId,
    page_hash: &[u8],
) -> Result<Option<Connect>, DbError> {
    let row = connects::table.filter(connects::id.eq(id)).filter(connects::page_hash.eq(page_hash));
    Ok(row.select(Connect::as_select()).first(conn).await.optional()?)
}

/// The connects of a workspace.
///
/// # Errors
/// When the query fails.
pub async fn list(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    page: Page<'_>,
) -> Result<Vec<Connect>, DbError> {
    let rows = connects::table
        .filter(connects::workspace_id.eq(workspace))
        .filter(connects::id.gt(page.after()))
        .order(connects::id)
        .limit(page.limit);
    Ok(rows.select(Connect::as_select()).load(conn).await?)
}

/// Whether somebody has come back to this workspace of whom it may not be known yet who it is.
///
/// # Errors
/// When the query fails.
pub async fn somebody_came_back(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
) -> Result<bool, DbError> {
    let unknown = [ConnectStatus::Authorized, ConnectStatus::Exchanging];
    let came_back = connects::table
        .filter(connects::workspace_id.eq(workspace))
        .filter(connects::status.eq_any(unknown));
    Ok(diesel::select(diesel::dsl::exists(came_back)).get_result(conn).await?)
}

/// Whether fewer than `max` connects of a workspace are open: not ended, and still in time.
///
/// # Errors
/// When the query fails.
pub async fn has_room(
    conn: &mut AsyncPgConnection,
    workspace: &WorkspaceId,
    max: i64,
) -> Result<bool, DbError> {
    let last = connects::table
        .filter(connects::workspace_id.eq(workspace))
        .filter(connects::status.eq_any(ConnectStatus::OPEN))
        .filter(connects::expires_at.gt(app_now()))
        .offset((max - 1).max(0))
        .limit(1);
    let is_full: bool = diesel::select(diesel::dsl::exists(last)).get_result(conn).await?;
    Ok(max > 0 && !is_full)
}
