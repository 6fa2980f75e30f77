//! A grant was released: tell the platform, destroy the tokens, write the receipt.
//!
//! Revocation beats a refresh in flight: it waits for the call to end, so that the newest token is
//! the one that is revoked.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::backoff::Policy;
use latchkey_shared::credentials::{self, Credentials};
use latchkey_shared::db::app_health::AppKey;
use latchkey_shared::db::grants::{self, Grant, GrantStatus};
use latchkey_shared::db::{self, DbError, accounts, connects};
use latchkey_shared::events::{AccountRevoked, EventData, NewEvent};
use latchkey_shared::messages::RevocationDue;
use latchkey_shared::platforms::{DiscoveryError, Endpoints, Platform, Reach};
use latchkey_shared::tokens::TokenSet;
use latchkey_shared::work::Work;
use serde_json::{Value, json};
use url::Url;

use super::note_refused_secret;
use crate::context::Context;
use crate::oauth::CallError;
use crate::oauth::revoke::{Revoked, revoke};
use crate::outcome::{Failure, Outcome, Terms};
use crate::receipt;

/// A platform may be away for days. The week below ends it; the attempts are only a last guard.
pub const TERMS: Terms = Terms {
    timeout: Duration::from_secs(120),
    retry: Policy::new(Duration::from_secs(5), Duration::from_secs(3600)),
    max_attempts: 2000,
};

/// After this the tokens are destroyed without the platform's word.
const GIVE_UP_AFTER: TimeDelta = TimeDelta::days(7);
/// How long it waits for others to be named, of whom one may be this very person: the platform would end
/// the new consent, too.
const WAIT_FOR_NAMES: TimeDelta = TimeDelta::seconds(30);
/// How often a refresh in flight, or who is not named yet, is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

enum Step {
    Call(Box<Call>),
    Over(Outcome),
}

struct Call {
    grant: Grant,
    tokens: TokenSet,
    client: Credentials,
    endpoint: Url,
}

/// Revokes one grant.
///
/// # Errors
/// [`Failure`].
pub async fn handle(context: &Context, message: &RevocationDue) -> Result<Outcome, Failure> {
    let Some(app) = app_of(context, message).await? else {
        return Ok(Outcome::Stale("no such grant"));
    };
    let Some(_permit) = context.permit_for_one(&app).await else {
        return Ok(Outcome::Snooze(Duration::from_secs(1)));
    };
    let Some(endpoints) = endpoints(context, message).await? else {
        return Ok(Outcome::Stale("no such grant"));
    };
    let call = match prepare(context, message, endpoints).await? {
        Step::Call(call) => call,
        Step::Over(outcome) => return Ok(outcome),
    };
    let platform = context.platform(&call.grant.platform)?;
    let (status, platform_answer) = match tell(context, platform, &call).await {
        Ok(Revoked::Yes { status }) => ("revoked", json!({ "httpStatus": status })),
        Ok(Revoked::Unsupported) => ("not_supported", json!({ "error": "unsupported_token_type" })),
        Ok(Revoked::Refused(refusal)) => {
            return Err(Failure::Later(anyhow::anyhow!(
                "the platform refused to revoke: {}",
                refusal.code
            )));
        }
        Err(error) => {
            return Err(match error.asked_patience() {
                Some(wait) => Failure::NotBefore(wait, error.into()),
                None => Failure::Later(error.into()),
            });
        }
    };
    let mut work = context.store.begin().await?;
    finish(&mut work, context, &call.grant, status, Some(platform_answer)).await?;
    work.commit().await?;
    Ok(Outcome::Done)
}

async fn app_of(context: &Context, message: &RevocationDue) -> Result<Option<AppKey>, DbError> {
    let mut conn = context.store.conn().await?;
    let grant = grants::find(&mut conn, &message.workspace_id, &message.grant_id).await?;
    Ok(grant.map(|grant| grant.app_key()))
}

/// Calls once, and once more where only the client's newest secret was refused.
async fn tell(context: &Context, platform: &Platform, call: &Call) -> Result<Revoked, CallError> {
    let Call { endpoint, client, tokens, .. } = call;
    let answer = revoke(&context.http, platform, endpoint, client, tokens).await?;
    let refused =
        matches!(&answer, Revoked::Refused(refusal) if refusal.is_of_the_client(platform));
    match client.older().filter(|_| refused) {
        Some(older) => {
            note_refused_secret(&older);
            revoke(&context.http, platform, endpoint, &older, tokens).await
        }
        None => Ok(answer),
    }
}

type Discovered = Result<Arc<Endpoints>, DiscoveryError>;

/// What the platform says of its endpoints, before any transaction begins.
async fn endpoints(
    context: &Context,
    message: &RevocationDue,
) -> Result<Option<Discovered>, Failure> {
    let grant = {
        let mut conn = context.store.conn().await?;
        grants::find(&mut conn, &message.workspace_id, &message.grant_id).await?
    };
    let Some(grant) = grant else { return Ok(None) };
    let platform = context.platform(&grant.platform)?;
    Ok(Some(context.endpoints(platform).await))
}

/// Loads, guards, and decides whether the platform is to be told at all: under the holder's lock,
/// since that depends on what else the person consented to.
async fn prepare(
    context: &Context,
    message: &RevocationDue,
    endpoints: Discovered,
) -> Result<Step, Failure> {
    let (workspace, id) = (&message.workspace_id, &message.grant_id);
    let mut work = context.store.begin().await?;
    let Some(seen) = grants::find(&mut work, workspace, id).await? else {
        return Ok(Step::Over(Outcome::Stale("no such grant")));
    };
    if let Some(holder) = &seen.holder_hash {
        grants::lock_holder(&mut work, holder).await?;
    }
    let Some(grant) = grants::lock(&mut work, workspace, id).await? else {
        return Ok(Step::Over(Outcome::Stale("no such grant")));
    };
    if grant.status != GrantStatus::Releasing {
        return Ok(Step::Over(Outcome::Stale("not being released")));
    }
    let now = db::read_now(&mut work).await?;
    if grant.lease_until.is_some_and(|until| until > now) {
        return Ok(Step::Over(Outcome::Snooze(LOOK_AGAIN)));
    }
    let platform = context.platform(&grant.platform)?;
    let given_up = grant.released_at.is_some_and(|at| at + GIVE_UP_AFTER <= now);
    let way = way(&mut work, platform, &grant, endpoints).await?;
    let status = match way {
        Way::Through(_) if might_end_another(&mut work, platform, &grant, now).await? => {
            return Ok(Step::Over(Outcome::Snooze(LOOK_AGAIN)));
        }
        Way::Through(endpoint) if !given_up => {
            let call = open(&mut work, platform, grant, endpoint).await?;
            grants::note_revocation_sent(&mut work, &call.grant).await?;
            work.commit().await?;
            return Ok(Step::Call(Box::new(call)));
        }
        Way::Undiscovered(error) if !given_up => return Err(error.into()),
        Way::Through(_) | Way::Undiscovered(_) => "given_up",
        Way::None(status) => status,
    };
    finish(&mut work, context, &grant, status, None).await?;
    work.commit().await?;
    Ok(Step::Over(Outcome::Done))
}

/// How the platform can be told.
enum Way {
    Through(Url),
    /// Not now: it does not say where.
    Undiscovered(DiscoveryError),
    /// Not at all, and why.
    None(&'static str),
}

async fn way(
    work: &mut Work,
    platform: &Platform,
    grant: &Grant,
    endpoints: Discovered,
) -> Result<Way, DbError> {
    let way = match endpoints {
        Ok(endpoints) => match &endpoints.revoke_url {
            Some(url) => Way::Through(url.clone()),
            None => return Ok(Way::None("not_supported")),
        },
        Err(error) => Way::Undiscovered(error),
    };
    if platform.reach == Reach::Token {
        return Ok(way);
    }
    let spares = match &grant.holder_hash {
        Some(holder) => grants::holder_has_another(work, holder, &grant.id).await?,
        // Whose it is was never found out: revoking could end somebody's living consent.
        None => true,
    };
    Ok(if spares { Way::None("kept_for_other_accounts") } else { way })
}

/// Whether this person may have consented again, and not be named yet.
async fn might_end_another(
    work: &mut Work,
    platform: &Platform,
    grant: &Grant,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let fresh = grant.released_at.is_some_and(|at| at + WAIT_FOR_NAMES > now);
    Ok(platform.reach != Reach::Token
        && fresh
        && connects::somebody_came_back(work, &grant.workspace_id).await?)
}

async fn open(
    work: &mut Work,
    platform: &Platform,
    grant: Grant,
    endpoint: Url,
) -> Result<Call, Failure> {
    let sealed = grant.sealed_tokens.as_deref().unwrap_or_default();
    let tokens = TokenSet::decrypt(work, grant.tokens_aad(), sealed).await?;
    let client =
        credentials::resolve(work, platform, &grant.workspace_id, grant.app_id.as_ref()).await?;
    Ok(Call { grant, tokens, client, endpoint })
}

/// Destroys the tokens and writes the receipt on the accounts that were disconnected from them.
async fn finish(
    work: &mut Work,
    context: &Context,
    grant: &Grant,
    status: &str,
    platform_answer: Option<Value>,
) -> Result<(), DbError> {
    let (workspace, id) = (&grant.workspace_id, &grant.id);
    let ended = match status {
        "revoked" | "given_up" => grants::finish_release(work, workspace, id, status).await?,
        _ => grants::supersede(work, workspace, id, status).await?,
    };
    if !ended {
        return Ok(());
    }
    metrics::counter!("latchkey_revocations_total", "platform" => grant.platform.clone(), "result" => status.to_owned())
        .increment(1);
    let receipt = receipt::new(context.clock(), status, platform_answer);
    for account in accounts::set_receipt(work, workspace, id, &receipt).await? {
        let revocation = receipt.clone();
        let told =
            EventData::AccountRevoked(AccountRevoked { account: account.about(), revocation });
        work.emit(NewEvent::of_workspace(workspace, told)).await?;
    }
    Ok(())
}
