//! What a refusal leaves behind: a step on the connect's timeline, a count, a line in the log. Never the
//! state, the code or the link.

use latchkey_shared::db::connects::{self, Connect};

use crate::code::Code;
use crate::problem::Problem;
use crate::state::App;

/// A refusal at a connect's first page, or at its callback where the connect stays as it is. What is a
/// failure of ours is none.
pub(super) async fn note(app: &App, connect: &Connect, code: Code) {
    if !matches!(
        code,
        Code::LinkUsed | Code::StateUsed | Code::StateExpired | Code::CallbackIncomplete
    ) {
        return;
    }
    let noted = async {
        let key = connect.key();
        let mut conn = app.conn().await?;
        connects::note_refusal(&mut conn, key, code.as_str()).await?;
        Ok::<_, Problem>(())
    };
    let reason = code.as_str();
    tracing::warn!(connect.id = %connect.id, platform.id = connect.platform, reason, "a browser was refused");
    // The refusal stands, whether or not it is noted.
    if let Err(problem) = noted.await {
        tracing::warn!(connect.id = %connect.id, "a refusal is not on its timeline: {problem:?}");
    }
}

/// The same at the callback.
pub(super) async fn note_callback(app: &App, connect: &Connect, code: Code) {
    note(app, connect, code).await;
    if matches!(code, Code::StateUsed | Code::StateExpired | Code::CallbackIncomplete) {
        count(code.as_str());
    }
}

/// A refused callback that ended its connect.
pub(super) fn ended(connect: &Connect, reason: &'static str) {
    tracing::warn!(connect.id = %connect.id, platform.id = connect.platform, reason, "a callback was refused, and its connect ended");
    count(reason);
}

/// A callback that belongs to no connect. Its path may say anything.
pub(super) fn unknown(app: &App, platform: &str) {
    let platform = platform.to_ascii_uppercase();
    let platform = if app.platforms.is_known(&platform) { &platform } else { "unknown" };
    let reason = Code::StateUnknown.as_str();
    tracing::warn!(platform.id = platform, reason, "a callback was refused");
    count(reason);
}

fn count(reason: &'static str) {
    let reason = reason.to_ascii_lowercase();
    metrics::counter!("latchkey_callbacks_refused_total", "reason" => reason).increment(1);
}
