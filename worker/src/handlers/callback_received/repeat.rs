//! How often the calls of a connect are repeated, and when the next comes: a person waits in front of a browser.

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::db::connects::{self, Connect};
use latchkey_shared::platforms::Platform;
use serde_json::json;

use super::end::{Reason, give_up};
use super::identify;
use crate::context::Context;
use crate::oauth::CallError;
use crate::outcome::{Failure, Outcome};

/// Until then, or for as long as the platform asked, neither a redelivery nor the sweep tries again.
pub(super) const ASK_AGAIN: TimeDelta = TimeDelta::seconds(2);
/// How often the database may refuse what a platform said.
const MAX_REFUSALS: i32 = 3;
/// Each rest between two calls is so many times the one before: five of them last four minutes.
const LONGER: i32 = 3;
/// How often a call that brought no answer is repeated.
const MAX_REPEATS: i32 = 5;
/// For longer than this nobody waits in front of a browser.
const LONGEST_REST: TimeDelta = TimeDelta::minutes(10);

/// How long a connect rests after a call that brought no answer. `None`: the platform will give none that anybody
/// waits for.
pub(super) fn rest(connect: &Connect, platform: &Platform, error: &CallError) -> Option<TimeDelta> {
    let repeats = u32::try_from(connect.tries).unwrap_or_default();
    let own = ASK_AGAIN * LONGER.saturating_pow(repeats);
    let asked =
        error.asked_patience().map(|wait| TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX));
    let rest = asked.unwrap_or(own).max(ASK_AGAIN);
    let hopeless = connect.tries >= MAX_REPEATS || error.is_used_up(platform);
    (!hopeless && rest <= LONGEST_REST).then_some(rest)
}

/// What is asked with the new token brought no answer: it is asked again, or the connect ends with this reason.
pub(super) async fn ask_again(
    context: &Context,
    connect: &Connect,
    platform: &Platform,
    error: CallError,
    code: &'static str,
) -> Result<Outcome, Failure> {
    let Some(rest) = rest(connect, platform, &error) else {
        let reason = Reason { code, platform_error: Some(error.to_json()) };
        return give_up(context, connect, &reason).await;
    };
    let mut conn = context.store.conn().await?;
    let key = connect.key();
    connects::note_try(&mut conn, key, rest).await?;
    Err(Failure::Later(error.into()))
}

/// Others are to end something first. Until then the connect is nobody's; answers how soon it is looked
/// whether they have.
pub(super) async fn look_again_soon(
    context: &Context,
    connect: &Connect,
) -> Result<Duration, Failure> {
    let mut conn = context.store.conn().await?;
    let key = connect.key();
    connects::set_lease(&mut conn, key, ASK_AGAIN).await?;
    Ok(ASK_AGAIN.to_std().unwrap_or(Duration::from_secs(2)))
}

/// What the database refuses three times is refused for ever: the connect ends, and what it brought is let go.
pub(super) async fn end_if_refused(
    context: &Context,
    connect: &Connect,
    ended: Result<Outcome, Failure>,
) -> Result<Outcome, Failure> {
    let failure = match ended {
        Err(failure) if failure.is_of_the_values() => failure,
        ended => return ended,
    };
    if connect.tries + 1 < MAX_REFUSALS {
        let mut conn = context.store.conn().await?;
        let key = connect.key();
        connects::note_try(&mut conn, key, ASK_AGAIN).await?;
        return Err(failure);
    }
    let error = anyhow::Error::from(failure);
    tracing::error!(connect.id = %connect.id, "what the platform said cannot be stored: {error:#}");
    let platform_error = Some(json!({ "cause": "not_storable" }));
    give_up(context, connect, &Reason { code: identify::FAILED, platform_error }).await
}
