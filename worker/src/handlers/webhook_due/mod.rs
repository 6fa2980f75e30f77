//! A delivery is due: send the event to the endpoint, and write down how that went.
//!
//! At least once, with the same `webhook-id` every time. No order is promised: events carry a
//! sequence number.

mod answer;
mod finish;
mod schedule;
mod send;

pub use send::Receivers;

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::backoff::Policy;
use latchkey_shared::db::app_health::AppKey;
use latchkey_shared::db::webhook_deliveries::{self, Delivery, DeliveryStatus, ENDPOINT_DISABLED};
use latchkey_shared::db::webhook_endpoints::Endpoint;
use latchkey_shared::db::{self, DbError};
use latchkey_shared::messages::WebhookDue;
use latchkey_shared::random;
use latchkey_shared::work::Work;
use secrecy::SecretString;
use tokio::time::Instant;

use crate::context::Context;
use crate::lanes::{Full, Lane, Receiver};
use crate::outcome::{Failure, Outcome, Terms};

/// One request of at most 15 s.
pub const TERMS: Terms = Terms {
    timeout: Duration::from_secs(75),
    retry: Policy::new(Duration::from_secs(1), Duration::from_secs(60)),
    max_attempts: 20,
};

/// The request, and the time to write down its result.
const LEASE: TimeDelta = TimeDelta::seconds(30);
/// Where too many others are slow, too, or its organisation has its part, an endpoint looks again after about
/// this.
const SLOW_AGAIN: Duration = Duration::from_secs(3);

/// What is to be sent.
struct Request {
    delivery: Delivery,
    endpoint: Endpoint,
    body: String,
    /// The newest first; two while one is being rotated out.
    secrets: Vec<SecretString>,
    attempt: i32,
}

enum Prepared {
    Request(Box<Request>, Lane),
    Over,
    Full(Full, Receiver),
}

/// Makes one attempt.
///
/// # Errors
/// [`Failure`].
pub async fn handle(context: &Context, message: &WebhookDue) -> Result<Outcome, Failure> {
    let Some(_permit) = context.permit(&receivers()).await else {
        return Ok(Outcome::Stale("no permit: it comes due again"));
    };
    let (begun, mut prepared) = (Instant::now(), prepare(context, message).await?);
    while let Prepared::Full(full, to) = &prepared {
        if !has_room_after_all(context, message, *full, to, begun).await? {
            return Ok(Outcome::Stale("it waits for others"));
        }
        prepared = prepare(context, message).await?;
    }
    let Prepared::Request(request, lane) = prepared else {
        return Ok(Outcome::Stale("not to be delivered now"));
    };
    let sent = send::send(context, &request).await;
    // Before the queue is looked at for the next: a delivery that found no room looks once more after it has
    // gone back there, and so is seen by one of the two.
    drop(lane);
    let mut work = context.store.begin().await?;
    finish::write(&mut work, &request, &sent).await?;
    work.commit().await?;
    Ok(Outcome::Done)
}

/// Webhook receivers share permits among themselves alone; each endpoint's own limit is in its lane.
fn receivers() -> AppKey {
    AppKey::new("webhook", None)
}

async fn prepare(context: &Context, message: &WebhookDue) -> Result<Prepared, Failure> {
    let mut work = context.store.begin().await?;
    let found =
        webhook_deliveries::find(&mut work, &message.organisation_id, &message.delivery_id).await?;
    let Some((delivery, endpoint)) =
        found.filter(|(delivery, _)| delivery.status == DeliveryStatus::Pending)
    else {
        return Ok(Prepared::Over);
    };
    let event = webhook_deliveries::event_body(&mut work, &delivery).await?;
    let given_up = match &event {
        _ if endpoint.disabled_at.is_some() => Some(ENDPOINT_DISABLED),
        None => Some("the event is gone"),
        Some(_) => None,
    };
    if let Some(why) = given_up {
        webhook_deliveries::give_up(&mut work, &delivery, why).await?;
        work.commit().await?;
        return Ok(Prepared::Over);
    }
    let to = Receiver::from(&endpoint);
    let lane = match context.lanes.enter(to.clone()) {
        Ok(lane) => lane,
        Err(full) => return Ok(Prepared::Full(full, to)),
    };
    let Some(attempt) = webhook_deliveries::begin_attempt(&mut work, &delivery, LEASE).await?
    else {
        return Ok(Prepared::Over);
    };
    let secrets = secrets(&mut work, &endpoint).await?;
    work.commit().await?;
    let body = event.map(|event| event.to_string()).unwrap_or_default();
    let request = Request { delivery, endpoint, body, secrets, attempt };
    Ok(Prepared::Request(Box::new(request), lane))
}

/// Waits for room that others of its organisation may give back in a moment, or goes back into the queue. True:
/// there is room now.
async fn has_room_after_all(
    context: &Context,
    message: &WebhookDue,
    full: Full,
    to: &Receiver,
    begun: Instant,
) -> Result<bool, DbError> {
    if full == Full::Others && context.lanes.until_room(to, begun).await {
        return Ok(true);
    }
    put_off(context, message, full).await?;
    Ok(full == Full::Endpoint && context.lanes.may_enter(to, begun))
}

/// Costs no attempt, and no time in a slot: at once due again where another's end makes room for it.
async fn put_off(context: &Context, message: &WebhookDue, full: Full) -> Result<(), DbError> {
    let by = match full {
        Full::Endpoint => Duration::ZERO,
        Full::Others => SLOW_AGAIN.mul_f64(0.5 + random::unit()),
    };
    let by = TimeDelta::from_std(by).unwrap_or_default();
    let mut conn = context.store.conn().await?;
    webhook_deliveries::put_off(&mut conn, message, by).await
}

async fn secrets(work: &mut Work, endpoint: &Endpoint) -> Result<Vec<SecretString>, Failure> {
    let now = db::read_now(work).await?;
    let old = endpoint.sealed_old_secret.as_ref();
    let old = old.filter(|_| endpoint.old_secret_until.is_some_and(|until| now < until));
    let sealed = [
        Some((&endpoint.sealed_secret, endpoint.secret_aad())),
        old.map(|sealed| (sealed, endpoint.old_secret_aad())),
    ];
    let mut secrets = Vec::new();
    for (sealed, aad) in sealed.into_iter().flatten() {
        secrets.push(work.decrypt_text(aad, sealed).await?);
    }
    Ok(secrets)
}
