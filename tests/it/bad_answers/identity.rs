//! The question who it is: the tokens are stored by then, so it is asked again until the platform has
//! answered, unless it refuses.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::try_join_all;
use latchkey_tests::app::{Options, eventually};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule};
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};

use super::{CALL_TIMEOUT, calls, drip, html, in_ok, redirect, retry_after, strike, text};

const REFUSED: &str = "IDENTITY_REFUSED";

async fn start() -> anyhow::Result<TestApp> {
    TestApp::start_with(Options {
        call_timeout: Some(CALL_TIMEOUT),
        callback_wait: Duration::from_secs(1),
        ..Options::default()
    })
    .await
}

/// Approves although the platform will not say who it is; answers the connect's id.
async fn approve(app: &TestApp, user: &str, fault: Fault) -> anyhow::Result<String> {
    strike(app, user, &FaultRule::new(Endpoint::Userinfo, fault));
    let started = app.start_connect(json!({})).await?;
    app.approve(&started, &Person::new(user)?).await?.expect(303)?;
    Ok(text(&started["connectId"]).to_owned())
}

async fn shown(app: &TestApp, connect: &str) -> anyhow::Result<Value> {
    Ok(app.http.get(&app.path(&format!("/connects/{connect}"))).await?.expect(200)?.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_cannot_be_read_yet_is_asked_for_again() -> anyhow::Result<()> {
    let app = start().await?;
    let limited = Fault::RateLimited { retry_after_secs: None };
    // JSON is JSON, whatever it is called: one question is enough.
    let cases = [
        ("html", html(), 1),
        ("internal-error", Fault::Status { status: 500 }, 2),
        ("limited", limited, 2),
        ("busy-in-200", in_ok("temporarily_unavailable"), 2),
        ("garbage", Fault::Garbage, 2),
        ("empty", Fault::Status { status: 200 }, 2),
        ("huge", Fault::Huge, 2),
        ("drip", drip(), 2),
        ("silence", Fault::Silence, 2),
        ("drop", Fault::Drop, 2),
        ("redirect", redirect(), 2),
    ];
    let approving = cases.iter().map(|(user, fault, _)| approve(&app, user, fault.clone()));
    let connects = try_join_all(approving).await?;
    for ((user, _, questions), connect) in cases.iter().zip(&connects) {
        let ended = app.ended(connect).await?;
        assert_eq!(text(&ended["status"]), "connected", "{user}: {ended:#}");
        app.event("account.connected", connect).await?;
        assert_eq!(calls(&app, Endpoint::Userinfo, user).len(), *questions, "{user}");
        assert_eq!(calls(&app, Endpoint::TokenCode, user).len(), 1, "{user}");
    }
    let rows =
        "SELECT count(*) AS n FROM grants WHERE status = 'active' AND holder_hash IS NOT NULL";
    assert_eq!(app.row(rows).await?["n"], cases.len());
    // What was put off because somebody else was at it comes back at once.
    app.clock.advance(TimeDelta::minutes(1));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_wants_to_be_left_alone_is_not_asked_who_it_is() -> anyhow::Result<()> {
    let app = start().await?;
    let connect = approve(&app, "sam", retry_after(429, "60")).await?;
    let lease = "SELECT extract(epoch FROM lease_until - now())::float8 AS left FROM connects";
    eventually(|| async {
        let asked = calls(&app, Endpoint::Userinfo, "sam").len() == 1;
        let left = app.row(lease).await?["left"].as_f64();
        Ok((asked && left > Some(50.0)).then_some(()))
    })
    .await?;
    assert_eq!(shown(&app, &connect).await?["status"], "exchanging");
    assert_eq!(app.row("SELECT status FROM grants").await?["status"], "pending");
    app.clock.advance(TimeDelta::seconds(62));
    assert_eq!(app.ended(&connect).await?["status"], "connected");
    assert_eq!(calls(&app, Endpoint::Userinfo, "sam").len(), 2);
    app.clock.advance(TimeDelta::minutes(2));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_refused_ends_the_connect_and_revokes_its_tokens() -> anyhow::Result<()>
{
    let app = start().await?;
    let forbidden = "the platform answered 403";
    let cases = [
        ("forbidden", Fault::Status { status: 403 }, REFUSED, json!({ "cause": forbidden })),
        (
            "refused",
            Fault::InvalidClient,
            "PLATFORM_MISCONFIGURED",
            json!({ "error": "invalid_client", "description": "injected" }),
        ),
        (
            "refused-in-200",
            in_ok("invalid_token"),
            REFUSED,
            json!({ "error": "invalid_token", "description": "injected" }),
        ),
    ];
    let approving = cases.iter().map(|(user, fault, ..)| approve(&app, user, fault.clone()));
    let connects = try_join_all(approving).await?;
    for ((user, _, reason, said), connect) in cases.iter().zip(&connects) {
        let ended = app.ended(connect).await?;
        assert_eq!(text(&ended["reasonCode"]), *reason, "{user}: {ended:#}");
        assert_eq!(&ended["platformError"], said, "{user}");
        app.event("connect.failed", connect).await?;
    }
    eventually(|| async {
        let gone = app.row("SELECT count(*) AS n FROM grants WHERE status = 'revoked' AND sealed_tokens IS NULL").await?;
        Ok((gone["n"] == cases.len()).then_some(()))
    })
    .await?;
    assert!(app.sandbox.families().iter().all(|family| !family.alive));
    assert_eq!(app.row("SELECT count(*) AS n FROM accounts").await?["n"], 0);
    app.finish().await
}
