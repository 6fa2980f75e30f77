//! The receiver over real HTTP.

use chrono::{DateTime, TimeDelta, Utc};

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn send(receiver: &Receiver, id: &str, at: DateTime<Utc>, signature: &str) -> u16 {
    let request = reqwest::Client::new()
        .post(receiver.url())
        .header("webhook-id", id)
        .header("webhook-timestamp", at.timestamp())
        .header("webhook-signature", signature)
        .body(BODY);
    request.send().await.unwrap().status().as_u16()
}

const BODY: &str = r#"{"type":"account.connected"}"#;

fn sign(id: &str, at: DateTime<Utc>) -> String {
    let signer = standardwebhooks::Webhook::new(SECRET).unwrap();
    signer.sign(id, at.timestamp(), BODY.as_bytes()).unwrap()
}

#[tokio::test]
async fn verifies_what_another_implementation_signed() {
    let receiver = Receiver::start().await.unwrap();
    receiver.set_secret(SECRET).unwrap();
    let now = Clock::system().now();
    let both = format!("v1,AAAA v2,odd {}", sign("msg_1", now));
    assert_eq!(send(&receiver, "msg_1", now, &both).await, 204);
    assert_eq!(send(&receiver, "msg_2", now, &both).await, 401);
    let fits = |delivery: &Delivery| delivery.event["type"] == "account.connected";
    let first = receiver.wait_for(fits, Duration::from_secs(1)).await.unwrap();
    assert_eq!((first.id.as_str(), first.verified), ("msg_1", true));
    assert!(!receiver.deliveries()[1].verified);
}

#[tokio::test]
async fn refuses_timestamps_that_are_not_near() {
    let clock = Clock::system();
    let receiver = Receiver::start_with(clock.clone()).await.unwrap();
    receiver.set_secret(SECRET).unwrap();
    let sent_at = clock.now();
    clock.advance(TimeDelta::minutes(6));
    assert_eq!(send(&receiver, "msg_1", sent_at, &sign("msg_1", sent_at)).await, 401);
}

#[tokio::test]
async fn answers_by_script() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer_with(StatusCode::INTERNAL_SERVER_ERROR, None);
    receiver.answer_next(StatusCode::TOO_MANY_REQUESTS, Some(7));
    let now = Clock::system().now();
    assert_eq!(send(&receiver, "msg_1", now, "").await, 429);
    assert_eq!(send(&receiver, "msg_1", now, "").await, 500);
    receiver.answer_normally();
    assert_eq!(send(&receiver, "msg_1", now, "").await, 204);
}

#[tokio::test]
async fn waiting_ends() {
    let receiver = Receiver::start().await.unwrap();
    let waiting = receiver.wait_for(|_| true, Duration::from_millis(20)).await;
    assert!(waiting.unwrap_err().to_string().contains("came: none"));
}
