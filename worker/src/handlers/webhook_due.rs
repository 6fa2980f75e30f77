//! A delivery is due: send the event to the endpoint, and write down how that went.
//!
//! At least once, with the same `webhook-id` every time. No order is promised: events carry a
//! sequence number.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::StreamExt as _;
use latchkey_shared::backoff::Policy;
use latchkey_shared::db::webhook_deliveries::{self, AttemptResult, Delivery, DeliveryStatus};
use latchkey_shared::db::webhook_endpoints::{self, Endpoint};
use latchkey_shared::keyring::{Owner, SealError};
use latchkey_shared::messages::WebhookDue;
use latchkey_shared::random;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use secrecy::SecretString;
use url::Url;

use crate::context::Context;
use crate::outcome::{Failure, Outcome, Terms};
use crate::signature;

/// One request of at most 15 s.
pub const TERMS: Terms = Terms {
    timeout: Duration::from_secs(75),
    retry: Policy::new(Duration::from_secs(1), Duration::from_secs(60)),
    max_attempts: 20,
};

/// Connecting, sending, and reading what is read of the answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// The request, and the time to write down its result.
const LEASE: TimeDelta = TimeDelta::seconds(30);
/// An answer's body says nothing to us; a little of it is read so that the connection can be reused.
const MAX_ANSWER: usize = 16 * 1024;
/// Between one attempt and the next; after the last the delivery has failed.
const SCHEDULE: [u64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// How far a `Retry-After` is believed.
const MAX_RETRY_AFTER: u64 = 86_400;

struct Request {
    delivery: Delivery,
    endpoint: Endpoint,
    body: String,
    secret: SecretString,
    attempt: i32,
}

enum Answer {
    Status { status: u16, retry_after: Option<u64> },
    None(String),
}

/// Makes one attempt.
///
/// # Errors
/// [`Failure`].
pub async fn handle(context: &Context, message: &WebhookDue) -> Result<Outcome, Failure> {
    let Some(_turn) = context.turn_to_call().await else {
        return Ok(Outcome::Stale("no turn: it comes due again"));
    };
    let Some(request) = prepare(context, message).await? else {
        return Ok(Outcome::Stale("not to be delivered now"));
    };
    let answer = send(context, &request).await;
    let result = judge(&answer, request.attempt);
    metrics::counter!("latchkey_webhook_attempts_total", "result" => result.status.as_str())
        .increment(1);
    let mut work = context.store.begin().await?;
    webhook_deliveries::end_attempt(&mut work, context.clock(), &request.delivery, &result).await?;
    if matches!(answer, Answer::Status { status: 410, .. }) {
        let endpoint = &request.endpoint;
        webhook_endpoints::disable(
            &mut work,
            context.clock(),
            &endpoint.organisation_id,
            &endpoint.id,
            "gone",
        )
        .await?;
    }
    work.commit().await?;
    Ok(Outcome::Done)
}

async fn prepare(context: &Context, message: &WebhookDue) -> Result<Option<Request>, Failure> {
    let clock = context.clock();
    let mut work = context.store.begin().await?;
    let found =
        webhook_deliveries::find(&mut work, &message.organisation_id, &message.delivery_id).await?;
    let Some((delivery, endpoint)) = found else {
        return Ok(None);
    };
    let Some(attempt) =
        webhook_deliveries::begin_attempt(&mut work, clock, &delivery, LEASE).await?
    else {
        return Ok(None);
    };
    let event = webhook_deliveries::event_body(&mut work, &delivery).await?;
    let Some(body) = event.filter(|_| endpoint.disabled_at.is_none()) else {
        let error = if endpoint.disabled_at.is_some() {
            "the endpoint is disabled"
        } else {
            "the event is gone"
        };
        let failed = AttemptResult {
            status: DeliveryStatus::Failed,
            next: None,
            http_status: None,
            error: Some(error),
        };
        webhook_deliveries::end_attempt(&mut work, clock, &delivery, &failed).await?;
        work.commit().await?;
        return Ok(None);
    };
    let owner = Owner::Organisation(&endpoint.organisation_id);
    let key = context.store.vault().opening_key(&mut work, owner, &endpoint.sealed_secret).await?;
    let place = webhook_endpoints::secret_place(&endpoint.organisation_id, &endpoint.id);
    let plain = key.open(place, &endpoint.sealed_secret)?;
    let secret =
        SecretString::from(std::str::from_utf8(&plain).map_err(|_| SealError::UnknownFormat)?);
    work.commit().await?;
    Ok(Some(Request { delivery, endpoint, body: body.to_string(), secret, attempt }))
}

async fn send(context: &Context, request: &Request) -> Answer {
    let Ok(url) = request.endpoint.url.parse::<Url>() else {
        return Answer::None("the URL cannot be read".to_owned());
    };
    if let Err(refused) = context.guard.check(&url) {
        return Answer::None(refused.to_string());
    }
    let id = request.delivery.event_id.as_str();
    let timestamp = context.clock().now().timestamp();
    let Some(signature) = signature::sign(&request.secret, id, timestamp, &request.body) else {
        return Answer::None("the signing secret is malformed".to_owned());
    };
    let sent = context
        .webhooks
        .post(url)
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature)
        .body(request.body.clone())
        .send()
        .await;
    match sent {
        Ok(response) => {
            let status = response.status().as_u16();
            let retry_after = response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.trim().parse().ok());
            drain(response).await;
            Answer::Status { status, retry_after }
        }
        Err(error) => Answer::None(describe(&error.without_url())),
    }
}

async fn drain(response: reqwest::Response) {
    let mut read = 0;
    let mut chunks = response.bytes_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        read += chunk.len();
        if read > MAX_ANSWER {
            return;
        }
    }
}

/// The whole chain, since the outermost error only says that sending failed.
fn describe(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text.chars().take(300).collect()
}

fn judge(answer: &Answer, attempt: i32) -> AttemptResult<'_> {
    let (http_status, error, retry_after) = match answer {
        Answer::Status { status, .. } if (200..300).contains(status) => {
            let http_status = Some(i32::from(*status));
            return AttemptResult {
                status: DeliveryStatus::Delivered,
                next: None,
                http_status,
                error: None,
            };
        }
        Answer::Status { status, retry_after } => {
            (Some(i32::from(*status)), "the endpoint did not answer 2xx", *retry_after)
        }
        Answer::None(why) => (None, why.as_str(), None),
    };
    let gone = http_status == Some(410);
    let next = next_attempt(attempt, retry_after).filter(|_| !gone);
    let status = if next.is_some() { DeliveryStatus::Pending } else { DeliveryStatus::Failed };
    AttemptResult { status, next, http_status, error: Some(error) }
}

/// The schedule's delay, more or less a tenth, or what the endpoint asked for if that is longer.
fn next_attempt(attempt: i32, retry_after: Option<u64>) -> Option<TimeDelta> {
    let made = usize::try_from(attempt).unwrap_or(1).max(1);
    let planned = SCHEDULE
        .get(made - 1)
        .map(|seconds| Duration::from_secs(*seconds).mul_f64(0.9 + 0.2 * random::unit()))?;
    let asked = Duration::from_secs(retry_after.unwrap_or(0).min(MAX_RETRY_AFTER));
    TimeDelta::from_std(planned.max(asked)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_followed_within_a_tenth_and_ends() {
        for (made, seconds) in SCHEDULE.iter().enumerate() {
            let next =
                next_attempt(i32::try_from(made).unwrap() + 1, None).unwrap().as_seconds_f64();
            let planned = *seconds as f64;
            assert!((planned * 0.9..=planned * 1.1).contains(&next), "{made}: {next}");
        }
        assert!(next_attempt(10, None).is_none());
    }

    #[test]
    fn an_endpoint_may_ask_for_more_patience_but_not_less() {
        assert!(next_attempt(1, Some(600)).unwrap() == TimeDelta::seconds(600));
        assert!(next_attempt(2, Some(1)).unwrap() >= TimeDelta::seconds(270));
    }

    #[test]
    fn gone_is_final() {
        let result = judge(&Answer::Status { status: 410, retry_after: None }, 1);
        assert_eq!(result.status, DeliveryStatus::Failed);
    }
}
