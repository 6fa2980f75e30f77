//! One consent, many accounts: what there is to choose from waits, sealed, until somebody has chosen.

use chrono::TimeDelta;
use latchkey_shared::candidates::{self, Candidate};
use latchkey_shared::db::accounts;
use latchkey_shared::db::connects::{self, Advance, Connect, ConnectStatus, ResultFormat};
use latchkey_shared::db::grants::Grant;
use latchkey_shared::events::EventData;
use latchkey_shared::tokens::TokenSet;
use serde_json::json;

use super::consent;
use super::{Reason, finish, give_up};
use crate::context::Context;
use crate::outcome::{Failure, Outcome};

/// How long a person may take to choose.
const PATIENCE: TimeDelta = TimeDelta::hours(24);

/// Connects what there is no choice about, or lays the choice before the person.
///
/// # Errors
/// [`Failure`].
pub async fn run(
    context: &Context,
    connect: &Connect,
    grant: &Grant,
    tokens: &TokenSet,
    candidates: Vec<Candidate>,
) -> Result<Outcome, Failure> {
    if let Some(wanted) = reconnected(context, connect).await? {
        return match candidates.into_iter().find(|candidate| candidate.id == wanted) {
            None => give_up(context, connect, &Reason::new("IDENTITY_MISMATCH")).await,
            Some(Candidate { ineligible: Some(why), .. }) => {
                let platform_error = Some(json!({ "cause": why }));
                let reason = Reason { code: "NO_ACCOUNTS", platform_error };
                give_up(context, connect, &reason).await
            }
            Some(wanted) => finish::run(context, connect, grant, tokens, &[wanted]).await,
        };
    }
    let good = candidates.iter().filter(|candidate| candidate.ineligible.is_none()).count();
    match (good, candidates.len()) {
        (0, listed) => {
            let platform_error =
                Some(json!({ "cause": format!("none of {listed} listed can be connected") }));
            give_up(context, connect, &Reason { code: "NO_ACCOUNTS", platform_error }).await
        }
        (1, 1) if !is_always_asked(connect) => {
            finish::run(context, connect, grant, tokens, &candidates).await
        }
        _ => lay_out(context, connect, grant, &candidates).await,
    }
}

/// Clients of this product are promised a choice, of one as well.
fn is_always_asked(connect: &Connect) -> bool {
    connect.result_format == ResultFormat::Woopsocial
}

/// The platform's id of the account that a connect is to reconnect, if it names one.
async fn reconnected(context: &Context, connect: &Connect) -> Result<Option<String>, Failure> {
    let Some(account) = &connect.account_id else {
        return Ok(None);
    };
    let mut conn = context.store.conn().await?;
    let account = accounts::find(&mut conn, &connect.workspace_id, account).await?;
    Ok(account.map(|account| account.platform_user_id))
}

async fn lay_out(
    context: &Context,
    connect: &Connect,
    grant: &Grant,
    candidates: &[Candidate],
) -> Result<Outcome, Failure> {
    let (workspace, id) = (&connect.workspace_id, &connect.id);
    let mut work = context.store.begin().await?;
    let Some(now) = connects::lock(&mut work, workspace, id).await? else {
        return Ok(Outcome::Stale("no such connect"));
    };
    if now.status != ConnectStatus::Exchanging || now.grant_id.as_ref() != Some(&grant.id) {
        return Ok(Outcome::Stale("ended meanwhile"));
    }
    let aad = connects::candidates_aad(connect.key());
    let sealed = candidates::encrypt(&mut work, aad, candidates).await?;
    let step = Advance::to(ConnectStatus::Selecting, &[ConnectStatus::Exchanging]);
    let Some(selecting) = connects::advance(&mut work, connect.key(), &step).await? else {
        return Ok(Outcome::Stale("ended meanwhile"));
    };
    connects::set_candidates(&mut work, connect.key(), &sealed, PATIENCE).await?;
    work.emit(selecting.event(EventData::ConnectSelecting)).await?;
    work.commit().await?;
    Ok(Outcome::Done)
}

/// Goes on with what was chosen, or claimed.
///
/// # Errors
/// [`Failure`].
pub async fn resume(context: &Context, connect: &Connect) -> Result<Outcome, Failure> {
    let (Some((grant, tokens)), Some(sealed)) =
        (consent::load(context, connect).await?, &connect.sealed_candidates)
    else {
        return Ok(Outcome::Stale("its tokens are gone"));
    };
    let mut chosen = {
        let mut session = context.store.conn().await?;
        let aad = connects::candidates_aad(connect.key());
        candidates::decrypt(&mut session, aad, sealed).await?
    };
    // What is claimed without having been chosen was all that there was.
    let selection = connect.selection.as_ref();
    chosen.retain(|candidate| {
        candidate.ineligible.is_none()
            && selection.is_none_or(|selection| selection.contains(&candidate.id))
    });
    if chosen.is_empty() {
        return give_up(context, connect, &Reason::new("NO_ACCOUNTS")).await;
    }
    finish::run(context, connect, &grant, &tokens, &chosen).await
}
