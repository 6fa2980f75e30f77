//! Who the person is, asked with the tokens that are stored already.

use chrono::TimeDelta;
use latchkey_shared::db::connects::{self, Connect};
use latchkey_shared::db::grants::{self, Grant};
use latchkey_shared::keyring::Owner;
use latchkey_shared::tokens::TokenSet;
use serde_json::json;

use super::{Reason, fail, finish};
use crate::context::Context;
use crate::oauth::CallError;
use crate::oauth::identity::{IdentityError, identify};
use crate::outcome::{Failure, Outcome};

/// Until then, or for as long as the platform asked, neither a redelivery nor the sweep asks again.
const ASK_AGAIN: TimeDelta = TimeDelta::seconds(2);

/// Finds out who it is and connects the account.
///
/// # Errors
/// [`Failure`].
pub async fn run(context: &Context, connect: &Connect) -> Result<Outcome, Failure> {
    let platform = context.platform(&connect.platform)?;
    let Some((grant, tokens)) = load(context, connect).await? else {
        return Ok(Outcome::Stale("its tokens are gone"));
    };
    let identified = match context.endpoints(platform).await {
        Ok(endpoints) => identify(&context.http, (platform, &endpoints), &tokens).await,
        Err(error) => Err(CallError::from(error).into()),
    };
    match identified {
        Ok(identity) => finish::run(context, connect, &grant, (&identity, &tokens)).await,
        Err(IdentityError::Call(error)) => {
            let asked = error.asked_patience().and_then(|wait| TimeDelta::from_std(wait).ok());
            let lease = asked.unwrap_or(ASK_AGAIN).max(ASK_AGAIN);
            let mut conn = context.store.conn().await?;
            let key = (&connect.workspace_id, &connect.id);
            connects::set_lease(&mut conn, context.clock(), key, Some(lease)).await?;
            Err(Failure::Later(error.into()))
        }
        Err(error) => {
            let platform_error = Some(match &error {
                IdentityError::Said(refusal) => refusal.to_json(),
                other => json!({ "cause": other.to_string() }),
            });
            let mut work = context.store.begin().await?;
            let Some(now) = connects::lock(&mut work, &connect.workspace_id, &connect.id).await?
            else {
                return Ok(Outcome::Stale("no such connect"));
            };
            fail(&mut work, context, &now, &Reason { code: "IDENTITY_REFUSED", platform_error })
                .await?;
            work.commit().await?;
            Ok(Outcome::Done)
        }
    }
}

async fn load(context: &Context, connect: &Connect) -> Result<Option<(Grant, TokenSet)>, Failure> {
    let Some(grant_id) = &connect.grant_id else {
        return Ok(None);
    };
    let workspace = &connect.workspace_id;
    let mut conn = context.store.conn().await?;
    let Some(grant) = grants::find(&mut conn, workspace, grant_id).await? else {
        return Ok(None);
    };
    let Some(sealed) = &grant.sealed_tokens else {
        return Ok(None);
    };
    let key =
        context.store.vault().opening_key(&mut conn, Owner::workspace(workspace), sealed).await?;
    let tokens = TokenSet::open(&key, grant.tokens_place(), sealed)?;
    Ok(Some((grant, tokens)))
}
