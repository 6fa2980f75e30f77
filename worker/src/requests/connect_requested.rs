//! `connect.requested`: starts a connect, and answers with the URL to send the person to. What the answer
//! holds stands sealed in its row and goes to its asker alone.

use latchkey_shared::messages::requests::{ConnectReady, ConnectRequested};
use latchkey_shared::operations::Unable;
use latchkey_shared::operations::start_connect::{
    self, AskedThrough, Door, StartConnect, StartedConnect,
};

use super::ending::{Done, Ending};
use super::{Asked, Parts};

pub(super) async fn handle(
    parts: &Parts,
    asked: &Asked,
    request: ConnectRequested,
) -> Result<Option<Ending>, Unable> {
    let workspace = asked.caller.workspace(parts, &request.workspace_id).await?;
    let wanted = AskedThrough { request: wanted(request), door: Door::NATIVE };
    // May ask the platform where its endpoints are: before the transaction.
    let prepared = start_connect::prepare(parts.means(), &workspace, wanted).await?;

    let mut work = parts.context.store.begin().await?;
    let ready = ready(prepared.write(&mut work).await?);
    let subject = ready.connect_id.to_string();
    parts
        .conclude(work, asked, Done { workspace: &workspace.id, subject: &subject, reply: &ready })
        .await
}

/// The same as the operation takes it. A password never travels over a queue.
fn wanted(request: ConnectRequested) -> StartConnect {
    StartConnect {
        platform: request.platform,
        redirect_url: request.redirect_url,
        profile_id: request.profile_id,
        app_id: request.app_id,
        account_id: request.account_id,
        scopes: request.scopes,
        metadata: request.metadata,
        credentials: None,
        binding: request.binding,
    }
}

fn ready(started: StartedConnect) -> ConnectReady {
    ConnectReady {
        connect_id: started.connect_id,
        authorize_url: started.authorize_url,
        connect_url: started.connect_url,
        state: started.state,
        expires_at: started.expires_at,
    }
}
