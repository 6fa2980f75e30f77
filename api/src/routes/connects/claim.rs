//! Claiming a connect: the application's backend brings back what the redirect carried, and so says that
//! the person who consented is the one it has signed in.

use axum::http::StatusCode;
use latchkey_shared::authorize;
use latchkey_shared::db::Session;
use latchkey_shared::db::connects::{self, Connect, ConnectStatus};
use latchkey_shared::operations::handover;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use utoipa::ToSchema;

use super::ConnectView;
use crate::code::Code;
use crate::idempotency::Once;
use crate::problem::Problem;
use crate::state::App;
use crate::waiting;

/// What the redirect carried.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Claim {
    /// The redirect's parameter `claim`. No answer shows it.
    #[schema(value_type = String, write_only)]
    pub(super) claim: SecretString,
}

/// Claims the connect, has a worker go on, and waits a little for what comes of it.
///
/// # Errors
/// When there is nothing to claim, or the claim is another's.
pub(super) async fn run(
    app: &App,
    once: &Once,
    connect: &Connect,
    claim: &SecretString,
) -> Result<ConnectView, Problem> {
    let key = connect.key();
    let wanted = decrypt(&mut app.conn().await?, connect).await?;
    let wanted = wanted.ok_or_else(|| not_claiming(connect))?;
    if authorize::hash(wanted.expose_secret()) != authorize::hash(claim.expose_secret()) {
        refused(app, connect).await?;
        return Err(Problem::new(
            Code::ClaimWrong,
            "Send the parameter `claim` of the redirect that brought your signed-in person back from \
             this connect. If somebody else was brought back, cancel the connect.",
        ));
    }
    let waiter = app.waiters.wait_for(&connect.id);
    let mut work = app.store.begin().await?;
    let claimed = connects::claim(&mut work, key).await?;
    let now = connects::find(&mut work, key.workspace_id, key.id).await?;
    let now = now.ok_or_else(Problem::not_found)?;
    if !claimed {
        return Err(not_claiming(&now));
    }
    handover::go_on(&mut work, key).await?;
    once.keep(&mut work, StatusCode::OK, &ConnectView::from(now.clone())).await?;
    work.commit().await?;
    let view = ConnectView::from(waiting::until_settled(app, now, &waiter).await);
    once.complete(app, StatusCode::OK, &view).await;
    Ok(view)
}

/// The claim that the redirect carries, while there is something to claim.
///
/// # Errors
/// When it cannot be decrypted.
pub(crate) async fn decrypt(
    session: &mut Session,
    connect: &Connect,
) -> Result<Option<SecretString>, Problem> {
    let waits = connect.status == ConnectStatus::Claiming && connect.claimed_at.is_none();
    let Some(sealed) = connect.sealed_claim.as_ref().filter(|_| waits) else {
        return Ok(None);
    };
    Ok(Some(session.decrypt_text(connects::claim_aad(connect.key()), sealed).await?))
}

async fn refused(app: &App, connect: &Connect) -> Result<(), Problem> {
    let code = Code::ClaimWrong.as_str();
    tracing::warn!(connect.id = %connect.id, platform.id = connect.platform, reason = code, "a claim was refused");
    let key = connect.key();
    Ok(connects::note_refusal(&mut *app.conn().await?, key, code).await?)
}

fn not_claiming(connect: &Connect) -> Problem {
    let detail = match (connect.status, connect.claimed_at) {
        (ConnectStatus::Claiming, Some(_)) => {
            "It was claimed already; `GET` the connect to see how it goes on.".to_owned()
        }
        (ConnectStatus::Claiming, None) => {
            "The time to claim is over, and the connect is about to expire: start another one."
                .to_owned()
        }
        (status, _) => format!(
            "The connect is `{status}`; there is something to claim only while it is `{}`.",
            ConnectStatus::Claiming
        ),
    };
    Problem::new(Code::ConnectNotClaiming, detail)
}
