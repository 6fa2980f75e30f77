//! The same callback once more: browsers are impatient, reload, and restore their tabs. Who brought it first is led
//! to the same end. The code proves that it is the same callback; the connect's cookie, that it is the same browser.

use axum::http::HeaderMap;
use latchkey_shared::db::Session;
use latchkey_shared::db::connects::{self, Binding, Connect, ConnectStatus};
use latchkey_shared::keyring::KeyOwner;

use super::answer::{Code, Outcome};
use super::cookie::{self, PageCookie};
use crate::problem::Problem;
use crate::state::App;
use crate::waiting;

/// What a callback is known by when it comes again.
pub(super) struct Trace {
    pub(super) code_hash: Vec<u8>,
    /// The cookie of a browser that had none: the same for a callback that is still being answered.
    pub(super) cookie: PageCookie,
}

impl Trace {
    pub(super) async fn of(
        session: &mut Session,
        connect: &Connect,
        code: &Code,
    ) -> Result<Self, Problem> {
        let key = session.encryption_key(KeyOwner::workspace(&connect.workspace_id)).await?;
        let hash = |what| key.hash(&[what, connect.id.as_str(), &code.0]);
        Ok(Self { code_hash: hash("code"), cookie: PageCookie::derived(&hash("cookie")) })
    }
}

/// Where a callback leads that came before, and the cookie that its browser lacks. `None`: it is another one, or comes
/// from another browser.
pub(super) async fn find_end(
    app: &App,
    seen: &Connect,
    outcome: Option<&Outcome>,
    headers: &HeaderMap,
) -> Result<Option<(Connect, Option<PageCookie>)>, Problem> {
    let waiter = app.waiters.wait_for(&seen.id);
    let mut conn = app.conn().await?;
    let Some(connect) = connects::find(&mut conn, &seen.workspace_id, &seen.id).await? else {
        return Ok(None);
    };
    let shown = cookie::hash_of(headers, &connect.id, &app.public_url);
    let held = shown.is_some() && shown == connect.page_hash;
    let cookie = match (outcome, &connect.code_hash) {
        (Some(Outcome::Approved(code)), Some(known)) => {
            let trace = Trace::of(&mut conn, &connect, code).await?;
            if trace.code_hash != *known || !(held || is_early(&connect, &trace, shown.as_deref()))
            {
                return Ok(None);
            }
            trace.cookie
        }
        // The person said no, and says it again.
        (Some(Outcome::Refused(_)), None) if held && connect.status == ConnectStatus::Failed => {
            return Ok(Some((connect, None)));
        }
        _ => return Ok(None),
    };
    drop(conn);
    let settled = waiting::until_settled(app, connect, &waiter).await;
    Ok(Some((settled, (!held).then_some(cookie))))
}

/// Whether the first has no answer yet, so that its browser could not have got the cookie. Where a browser must press
/// the button first, it has one.
fn is_early(connect: &Connect, trace: &Trace, shown: Option<&[u8]>) -> bool {
    let under_way = matches!(connect.status, ConnectStatus::Authorized | ConnectStatus::Exchanging);
    let without_cookie = shown.is_none() && connect.binding != Binding::Browser;
    under_way && without_cookie && connect.page_hash.as_ref() == Some(&trace.cookie.hash())
}
