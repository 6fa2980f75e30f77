//! What became of an attempt, in one transaction: the delivery, what is held against the endpoint, and
//! who is next in its queue.

use chrono::TimeDelta;
use latchkey_shared::db::webhook_deliveries::{self, AttemptResult, DeliveryStatus};
use latchkey_shared::db::webhook_endpoints::{self, DisabledReason};
use latchkey_shared::db::{self, DbError};
use latchkey_shared::messages::Command;
use latchkey_shared::work::Work;

use super::Request;
use super::schedule::next_attempt;
use super::send::{Answer, Sent};

/// After so long with nothing but failure an endpoint is disabled.
const PATIENCE: TimeDelta = TimeDelta::days(5);
/// "The resource is gone": nobody wants to hear of anything there.
const GONE: u16 = 410;

/// Writes it down. The endpoint comes first, as wherever both are locked.
pub(super) async fn write(work: &mut Work, request: &Request, sent: &Sent) -> Result<(), DbError> {
    let endpoint = &request.endpoint;
    let result = judge(request, sent);
    let took_it = result.status == DeliveryStatus::Delivered;
    webhook_endpoints::note_attempt(work, endpoint, took_it, sent.pace).await?;
    let reason = match &sent.answer {
        _ if took_it => None,
        Answer::Status { status: GONE, .. } => Some(DisabledReason::Gone),
        _ => Some(DisabledReason::Failing),
    };
    webhook_deliveries::end_attempt(work, &request.delivery, &result).await?;
    if let Some(reason) = reason {
        disable(work, request, reason).await?;
    }
    if let Some(next) = webhook_deliveries::take_next(work, endpoint).await? {
        work.nudge(Command::WebhookDue(next));
    }
    count(work, request, &result).await
}

/// Disables an endpoint if there is reason enough, and tells the others.
async fn disable(
    work: &mut Work,
    request: &Request,
    reason: DisabledReason,
) -> Result<(), DbError> {
    let disabled = webhook_endpoints::disable(
        work,
        &request.endpoint.organisation_id,
        &request.endpoint.id,
        reason,
        PATIENCE,
    )
    .await?;
    if let Some(endpoint) = disabled {
        let word = reason.as_str();
        tracing::warn!(endpoint.id = %endpoint.id, reason = word, "a webhook endpoint is disabled");
        metrics::counter!("latchkey_webhook_endpoints_disabled_total", "reason" => word)
            .increment(1);
        work.emit(endpoint.disabled_event()).await?;
    }
    Ok(())
}

fn judge<'a>(request: &Request, sent: &'a Sent) -> AttemptResult<'a> {
    let (http_status, error, retry_after, answer) = match &sent.answer {
        Answer::Status { status, retry_after, beginning } => {
            let error = (!(200..300).contains(status)).then_some("the endpoint did not answer 2xx");
            (Some(*status), error, *retry_after, Some(beginning.as_str()))
        }
        Answer::None(why) => (None, Some(why.as_str()), None, None),
    };
    let made = request.attempt - request.delivery.round_start;
    let next = error.and_then(|_| next_attempt(made, retry_after));
    let next = next.filter(|_| http_status != Some(GONE));
    AttemptResult {
        number: request.attempt,
        status: match (error, next) {
            (None, _) => DeliveryStatus::Delivered,
            (Some(_), Some(_)) => DeliveryStatus::Pending,
            (Some(_), None) => DeliveryStatus::Failed,
        },
        next,
        duration_ms: i32::try_from(sent.took.as_millis()).unwrap_or(i32::MAX),
        http_status: http_status.map(i32::from),
        error,
        answer,
    }
}

async fn count(
    work: &mut Work,
    request: &Request,
    result: &AttemptResult<'_>,
) -> Result<(), DbError> {
    let word = result.status.as_str();
    metrics::counter!("latchkey_webhook_attempts_total", "result" => word).increment(1);
    // One that was sent again says nothing of how long the first took.
    let first_round = request.delivery.round_start == 0;
    if first_round && result.status == DeliveryStatus::Delivered {
        let after = db::read_now(work).await? - request.delivery.event_at;
        let after = after.to_std().unwrap_or_default();
        metrics::histogram!("latchkey_webhook_delivery_seconds").record(after);
    }
    Ok(())
}
