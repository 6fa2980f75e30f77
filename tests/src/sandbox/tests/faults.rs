//! Each fault as the client sees it, and what it leaves behind.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

/// A client with a pair, and a fault on its next refresh.
async fn struck_by(rule: FaultRule) -> (Client, Pair) {
    let client = Client::default().await;
    let pair = client.connect("sam").await;
    client.sandbox.inject(rule.times(1));
    (client, pair)
}

fn refresh_fault(fault: Fault) -> FaultRule {
    FaultRule::new(Endpoint::TokenRefresh, fault)
}

/// Whether the refresh token of `pair` was spent.
fn is_spent(client: &Client) -> bool {
    client.sandbox.families()[0].generation == Some(1)
}

#[tokio::test]
async fn a_dropped_connection_has_no_response_and_before_the_effect_costs_nothing() {
    let (client, pair) = struck_by(refresh_fault(Fault::Drop)).await;
    let failure = client.refresh(&pair.refresh).await.unwrap_err();
    assert!(failure.is_request() && failure.status().is_none(), "{failure:?}");
    assert!(!is_spent(&client));
    let entry = client.sandbox.ledger().pop().unwrap();
    assert_eq!((entry.kind, entry.outcome.status), (Kind::Faulted, None));
    assert_eq!(entry.fault.as_deref(), Some("drop:before"));
    assert_eq!(client.refresh(&pair.refresh).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_connection_dropped_after_the_effect_loses_the_new_pair() {
    let (client, pair) = struck_by(refresh_fault(Fault::Drop).after()).await;
    assert!(client.refresh(&pair.refresh).await.is_err());
    let entry = client.sandbox.ledger().pop().unwrap();
    assert_eq!((entry.kind, entry.fault.as_deref()), (Kind::Refreshed, Some("drop:after")));
    assert_eq!(error(client.refresh(&pair.refresh).await).await, invalid_grant());
}

#[tokio::test]
async fn delays_are_on_the_side_they_are_asked_for() {
    let slow = refresh_fault(Fault::Delay { ms: 30_000 });
    let patience = Duration::from_millis(100);

    let (client, pair) = struck_by(slow.clone().before()).await;
    let unanswered = tokio::time::timeout(patience, client.refresh(&pair.refresh)).await;
    assert!(unanswered.is_err() && !is_spent(&client));

    let (client, pair) = struck_by(slow.after()).await;
    let unanswered = tokio::time::timeout(patience, client.refresh(&pair.refresh)).await;
    assert!(unanswered.is_err());
    until(|| is_spent(&client)).await;
}

#[tokio::test]
async fn statuses_without_an_effect() {
    let limited = |retry_after_secs| Fault::RateLimited { retry_after_secs };
    for (fault, status, retry_after) in [
        (Fault::Status { status: 503 }, 503, None),
        (limited(Some(7)), 429, Some("7")),
        (limited(None), 429, None),
    ] {
        let (client, pair) = struck_by(refresh_fault(fault)).await;
        let response = client.refresh(&pair.refresh).await.unwrap();
        let header = response.headers().get("retry-after").map(|value| value.to_str().unwrap());
        assert_eq!((response.status().as_u16(), header), (status, retry_after));
        assert!(!is_spent(&client));
    }
}

#[tokio::test]
async fn a_server_error_can_come_after_the_effect() {
    let (client, pair) = struck_by(refresh_fault(Fault::Status { status: 500 }).after()).await;
    assert_eq!(client.refresh(&pair.refresh).await.unwrap().status(), 500);
    assert!(is_spent(&client));
}

#[tokio::test]
async fn bodies_that_are_hard_to_read() {
    let (client, pair) = struck_by(refresh_fault(Fault::Garbage)).await;
    let garbage = client.refresh(&pair.refresh).await.unwrap();
    assert_eq!(garbage.status(), 200);
    assert!(garbage.json::<Value>().await.is_err());
    assert!(is_spent(&client));

    let (client, pair) = struck_by(refresh_fault(Fault::Huge)).await;
    let huge = client.refresh(&pair.refresh).await.unwrap().bytes().await.unwrap();
    assert!(huge.len() > 10_000_000);
    let answer: Value = serde_json::from_slice(&huge).unwrap();
    assert!(answer["refresh_token"].is_string());

    let (client, pair) = struck_by(refresh_fault(Fault::Drip { interval_ms: 1 })).await;
    let began = Instant::now();
    let dripped = Pair::of(client.refresh(&pair.refresh).await.unwrap()).await;
    assert!(began.elapsed() > Duration::from_millis(100));
    assert!(dripped.refresh.starts_with("sbx-rt-"));
}

#[tokio::test]
async fn oauth_errors_although_all_is_well() {
    let in_ok = Fault::ErrorInOk { error: "invalid_grant".to_owned() };
    for (fault, status, code) in [
        (Fault::InvalidGrant, 400, "invalid_grant"),
        (Fault::InvalidClient, 401, "invalid_client"),
        (in_ok, 200, "invalid_grant"),
    ] {
        let (client, pair) = struck_by(refresh_fault(fault)).await;
        let answer = error(client.refresh(&pair.refresh).await).await;
        assert_eq!(answer, (status, code.to_owned()));
        assert_eq!(client.refresh(&pair.refresh).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn without_a_new_refresh_token_the_old_one_stays_good() {
    let (client, pair) = struck_by(refresh_fault(Fault::MissingRefreshToken)).await;
    let next = Pair::of(client.refresh(&pair.refresh).await.unwrap()).await;
    assert!(next.body.get("refresh_token").is_none());
    let rotated = Pair::of(client.refresh(&pair.refresh).await.unwrap()).await;
    assert!(rotated.refresh.starts_with("sbx-rt-"));
    assert_eq!(error(client.refresh(&pair.refresh).await).await, invalid_grant());
}

#[tokio::test]
async fn an_answer_that_never_comes_leaves_the_connection_open() {
    let patience = Duration::from_millis(200);
    for (rule, spent, status) in [
        (refresh_fault(Fault::Silence), false, None),
        (refresh_fault(Fault::Silence).after(), true, Some(200)),
    ] {
        let (client, pair) = struck_by(rule).await;
        let unanswered = tokio::time::timeout(patience, client.refresh(&pair.refresh)).await;
        assert!(unanswered.is_err());
        assert_eq!(is_spent(&client), spent);
        let entry = client.sandbox.ledger().pop().unwrap();
        assert_eq!(entry.outcome.status, status);
        let next = client.refresh(&pair.refresh).await.unwrap();
        assert_eq!(next.status() == 200, !spent);
        let overlaps = client.sandbox.ledger().iter().map(|entry| entry.open_calls).max();
        assert_eq!(overlaps, Some(1), "the call itself was over");
    }
}

#[tokio::test]
async fn another_content_type_and_a_wish_to_the_letter() {
    let content_type = "text/html; charset=utf-8".to_owned();
    let (client, pair) = struck_by(refresh_fault(Fault::WrongContentType { content_type })).await;
    let answer = client.refresh(&pair.refresh).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    assert!(answer.json::<Value>().await.unwrap()["refresh_token"].is_string());
    assert!(is_spent(&client));

    let value = "Fri, 31 Dec 2027 23:59:59 GMT".to_owned();
    let (client, pair) = struck_by(refresh_fault(Fault::RetryAfter { status: 503, value })).await;
    let answer = client.refresh(&pair.refresh).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "Fri, 31 Dec 2027 23:59:59 GMT");
    assert!(!is_spent(&client));
}

/// Each rule that the help shows is taken, and it shows every fault.
#[tokio::test]
async fn the_help_of_the_control_api_is_true() {
    let client = Client::default().await;
    let examples = CONTROL_HELP.lines().map(str::trim).filter(|line| line.starts_with('{'));
    for example in examples.clone() {
        let rule: FaultRule =
            serde_json::from_str(example).unwrap_or_else(|error| panic!("{example}: {error}"));
        let added = client.http.post(client.at("/control/faults")).json(&rule).send().await;
        assert_eq!(added.unwrap().status(), 204);
    }
    let listed = client.http.get(client.at("/control/faults")).send().await.unwrap();
    let listed: Value = listed.json().await.unwrap();
    let rules: Vec<FaultRule> = serde_json::from_value(listed["faults"].clone()).unwrap();
    assert_eq!(rules.len(), examples.count());
    let shown: BTreeSet<String> =
        rules.iter().map(|rule| rule.label().split(':').next().unwrap().to_owned()).collect();
    let told = serde_json::from_str::<Fault>(r#"{"kind":"?"}"#).unwrap_err().to_string();
    let kinds: BTreeSet<String> = told.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert_eq!(shown, kinds, "{told}");

    let kinds = serde_json::from_str::<Kind>(r#""?""#).unwrap_err().to_string();
    let endpoints = serde_json::from_str::<Endpoint>(r#""?""#).unwrap_err().to_string();
    for told in [kinds, endpoints] {
        let words = told.split('`').skip(3).step_by(2);
        let missing: Vec<&str> = words.filter(|word| !CONTROL_HELP.contains(word)).collect();
        assert!(missing.is_empty(), "the help lacks {missing:?}");
    }

    let typo = json!({ "endpoint": "revoke", "times": 1, "fault": { "kind": "drop" } });
    let refused = client.http.post(client.at("/control/faults")).json(&typo).send().await.unwrap();
    assert_eq!(refused.status(), 422);
    assert!(refused.text().await.unwrap().contains("times"));
}

#[tokio::test]
async fn a_changed_scope_and_a_redirect() {
    let scope = "profile".to_owned();
    let (client, pair) = struck_by(refresh_fault(Fault::ChangedScope { scope })).await;
    let next = Pair::of(client.refresh(&pair.refresh).await.unwrap()).await;
    assert_eq!(next.body["scope"], "profile");

    let location = "http://127.0.0.1:1/elsewhere".to_owned();
    let (client, pair) = struck_by(refresh_fault(Fault::Redirect { location })).await;
    let response = client.refresh(&pair.refresh).await.unwrap();
    assert_eq!(response.status(), 307);
    assert_eq!(response.headers()["location"], "http://127.0.0.1:1/elsewhere");
}

#[tokio::test]
async fn rules_strike_the_person_and_endpoint_they_name() {
    let client = Client::default().await;
    let (sam, kim) = (client.connect("sam").await, client.connect("kim").await);
    let rule = json!({
        "endpoint": "userinfo",
        "user": "sam",
        "remaining": 1,
        "fault": { "kind": "status", "status": 502 },
    });
    let added = client.http.post(client.at("/control/faults")).json(&rule).send().await.unwrap();
    assert_eq!(added.status(), 204);
    assert_eq!(client.userinfo(&kim.access).await.unwrap().status(), 200);
    assert_eq!(client.refresh(&sam.refresh).await.unwrap().status(), 200);
    assert_eq!(client.userinfo(&sam.access).await.unwrap().status(), 502);
    assert_eq!(client.userinfo(&sam.access).await.unwrap().status(), 200);

    client.sandbox.inject(FaultRule::new(Endpoint::TokenCode, Fault::Drop).for_user("lee"));
    client.sandbox.inject(FaultRule::new(Endpoint::Revoke, Fault::Status { status: 500 }));
    assert!(client.exchange(&client.code("lee").await).await.is_err());
    assert_eq!(client.revoke(&kim.refresh).await.unwrap().status(), 500);
    client.http.delete(client.at("/control/faults")).send().await.unwrap();
    assert_eq!(client.revoke(&kim.refresh).await.unwrap().status(), 200);
}
