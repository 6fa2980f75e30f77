//! The browser comes back.

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_tests::app::{Options, eventually};
use latchkey_tests::{Person, TestApp};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn success_returns_to_the_application_with_the_account() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started =
        app.start_connect(json!({ "redirectUrl": "https://app.example/back?tab=2" })).await?;
    let back = app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    let url: url::Url = back.location().unwrap_or_default().parse()?;
    let query: std::collections::HashMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!(query["tab"], "2", "the application's own parameters are kept");
    assert_eq!(query["status"], "success");
    assert_eq!(query["connectId"], started["connectId"].as_str().unwrap_or_default());
    assert_eq!(query["workspaceId"], app.owner.workspace_id.as_str());
    assert_eq!(query["platform"], "SANDBOX");
    assert!(query["accountIds"].starts_with("acc_"));
    assert_eq!(query.len(), 6);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_person_may_say_no() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = app.start_connect(json!({ "redirectUrl": "http://localhost:3000/back" })).await?;
    let callback =
        Person::new("sam")?.deny(started["authorizeUrl"].as_str().unwrap_or_default()).await?;
    let back = app.http.browse(callback.as_str()).await?.expect(303)?;
    assert!(
        back.location().is_some_and(|location| location.contains("status=error")
            && location.contains("error=access_denied"))
    );
    let connect = app.ended(started["connectId"].as_str().unwrap_or_default()).await?;
    assert_eq!(
        (&connect["status"], &connect["reasonCode"]),
        (&json!("failed"), &json!("ACCESS_DENIED"))
    );
    app.event("connect.failed", started["connectId"].as_str().unwrap_or_default()).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_good_once_in_time_and_for_its_platform() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let callback = format!("{}/v1/connect/sandbox/callback", app.http.base());
    let unknown = app.http.browse(&format!("{callback}?state=nobody-knows&code=x")).await?;
    assert_eq!((unknown.status, unknown.location()), (400, None));
    assert!(unknown.text.contains("STATE_UNKNOWN"));

    let started = app.start_connect(json!({})).await?;
    let state = started["state"].as_str().unwrap_or_default();
    let incomplete = app.http.browse(&format!("{callback}?state={state}")).await?;
    assert!(incomplete.status == 400 && incomplete.text.contains("CALLBACK_INCOMPLETE"));
    assert_eq!(
        app.row("SELECT status FROM connects").await?["status"],
        "pending",
        "it was not used up"
    );

    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    let replayed = app.http.browse(&format!("{callback}?state={state}&code=again")).await?;
    assert_eq!((replayed.status, replayed.location()), (409, None));
    assert!(replayed.text.contains("STATE_USED"));

    let late = app.start_connect(json!({})).await?;
    app.clock.advance(TimeDelta::minutes(11));
    let expired = app
        .http
        .browse(&format!("{callback}?state={}&code=x", late["state"].as_str().unwrap_or_default()))
        .await?;
    assert_eq!((expired.status, expired.location()), (410, None));
    assert!(expired.text.contains("STATE_EXPIRED"));
    app.ended(late["connectId"].as_str().unwrap_or_default()).await?;
    app.finish().await
}

/// Two browsers with one state at the same time: one wins, the code of the other is never stored.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_callbacks_one_wins() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = app.start_connect(json!({})).await?;
    let callback =
        Person::new("sam")?.approve(started["authorizeUrl"].as_str().unwrap_or_default()).await?;
    let answers =
        futures_util::future::join_all((0..8).map(|_| app.http.browse(callback.as_str()))).await;
    let statuses: Vec<u16> = answers
        .into_iter()
        .map(|answer| answer.map(|answer| answer.status))
        .collect::<Result<_, _>>()?;
    assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 1, "{statuses:?}");
    assert_eq!(
        app.ended(started["connectId"].as_str().unwrap_or_default()).await?["status"],
        "connected"
    );
    app.finish().await
}

/// Nobody is there to exchange the code: the browser gets a page that finishes by itself, with no
/// code in its address, and which nobody else can see.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_exchange_ends_on_a_page_that_finishes_by_itself() -> anyhow::Result<()> {
    let mut app = TestApp::start_with(Options {
        worker: false,
        callback_wait: Duration::from_secs(1),
        ..Options::default()
    })
    .await?;
    let started = app.start_connect(json!({ "redirectUrl": "https://app.example/back" })).await?;
    let back = app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    let page = back.location().unwrap_or_default().to_owned();
    assert!(
        page.ends_with(&format!("/connect/{}", started["connectId"].as_str().unwrap_or_default())),
        "{page}"
    );
    let cookie = back.headers["set-cookie"].to_str()?.to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();

    let url = if page.starts_with("http") { page } else { format!("{}{page}", app.http.base()) };
    assert_eq!(
        app.http.browse(&url).await?.status,
        404,
        "without the cookie there is nothing to see"
    );
    let look = || async {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        app.http.send(client.get(&url).header("cookie", &cookie)).await
    };
    let waiting = look().await?.expect(200)?;
    assert!(waiting.text.contains("http-equiv=\"refresh\""), "{}", waiting.text);
    assert_eq!(waiting.headers["referrer-policy"], "no-referrer");
    app.add_worker().await?;
    let look = || async {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        app.http.send(client.get(&url).header("cookie", &cookie)).await
    };
    let done =
        eventually(|| async { Ok(Some(look().await?).filter(|answer| answer.status == 303)) })
            .await?;
    assert!(done.location().is_some_and(|location| location.starts_with("https://app.example/back?status=success")));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_connect_is_not_finished_any_more() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = app.start_connect(json!({})).await?;
    let path =
        app.path(&format!("/connects/{}", started["connectId"].as_str().unwrap_or_default()));
    assert_eq!(app.http.delete(&path).await?.expect(200)?.json()["status"], "cancelled");
    assert_eq!(app.http.delete(&path).await?.expect(409)?.code(), "CONNECT_ENDED");
    let callback =
        Person::new("sam")?.approve(started["authorizeUrl"].as_str().unwrap_or_default()).await?;
    assert_eq!(app.http.browse(callback.as_str()).await?.status, 409);
    app.event("connect.cancelled", started["connectId"].as_str().unwrap_or_default()).await?;
    app.finish().await
}
