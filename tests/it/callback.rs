//! The browser comes back.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::{join_all, try_join_all};
use latchkey_tests::app::{Options, eventually, worn};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule};
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};

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

/// Several codes for one state at the same time: one wins, the others are never stored.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_callbacks_one_wins() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = app.start_connect(json!({})).await?;
    let url = started["authorizeUrl"].as_str().unwrap_or_default();
    let people: Vec<Person> = (0..8).map(|_| Person::new("sam")).collect::<Result<_, _>>()?;
    let callbacks = try_join_all(people.iter().map(|person| person.approve(url))).await?;
    let answers =
        join_all(callbacks.iter().map(|callback| app.http.browse(callback.as_str()))).await;
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

fn presented(app: &TestApp) -> usize {
    let ledger = app.sandbox.ledger();
    ledger.iter().filter(|entry| entry.endpoint == Some(Endpoint::TokenCode)).count()
}

/// A browser that goes back, reloads or restores its tabs comes to the same end; no other does, and no other code.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_callback_leads_to_the_same_end() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    for binding in ["none", "browser", "claim"] {
        let before = presented(&app);
        let asked = json!({ "binding": binding, "redirectUrl": "https://app.example/" });
        let started = app.start_connect(asked).await?;
        let (browser, other) = (app.browser(), app.browser());
        let url = match started["authorizeUrl"].as_str() {
            Some(url) => url.to_owned(),
            None => browser.begin(&started).await?,
        };
        let callback = Person::new("sam")?.approve(&url).await?;
        let first = browser.open(callback.as_str()).await?.expect(303)?;
        for _ in 0..2 {
            let again = browser.open(callback.as_str()).await?.expect(303)?;
            assert_eq!(again.location(), first.location(), "{binding}");
        }
        let elsewhere = other.open(callback.as_str()).await?.expect(409)?;
        assert!(elsewhere.text.contains("STATE_USED"), "{binding}: {}", elsewhere.text);
        assert_eq!(other.cookies(), 0, "{binding}");
        let another_code = Person::new("sam")?.approve(&url).await?;
        browser.open(another_code.as_str()).await?.expect(409)?;
        assert_eq!(presented(&app) - before, 1, "{binding}: presented once");
        if binding == "claim" {
            let path = app
                .path(&format!("/connects/{}", started["connectId"].as_str().unwrap_or_default()));
            app.http.delete(&path).await?.expect(200)?;
        }
    }
    app.finish().await
}

/// A browser that asks twice before it has an answer has no cookie yet: both answers lead to the one end.
#[tokio::test(flavor = "multi_thread")]
async fn an_impatient_browser_comes_to_one_end() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let slow = FaultRule::new(Endpoint::TokenCode, Fault::Delay { ms: 1500 });
    app.sandbox.inject(slow.times(1));
    let started = app.start_connect(json!({})).await?;
    let url = started["authorizeUrl"].as_str().unwrap_or_default();
    let callback = Person::new("sam")?.approve(url).await?;
    let twice = [0, 1].map(|_| app.http.browse(callback.as_str()));
    let answers = try_join_all(twice).await?;
    let page = format!("/connect/{}", started["connectId"].as_str().unwrap_or_default());
    let mut cookies = Vec::new();
    for answer in &answers {
        assert_eq!(answer.status, 303, "{}", answer.text);
        assert!(answer.location().is_some_and(|to| to.ends_with(&page)));
        cookies.push(answer.headers.get("set-cookie").cloned());
    }
    assert!(cookies[0].is_some() && cookies[0] == cookies[1], "one page for both");
    assert_eq!(presented(&app), 1);
    app.finish().await
}

/// The person said no, and looks again.
#[tokio::test(flavor = "multi_thread")]
async fn a_denial_that_comes_again_leads_to_the_same_end() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = app.start_connect(json!({ "redirectUrl": "https://app.example/" })).await?;
    let url = started["authorizeUrl"].as_str().unwrap_or_default();
    let callback = Person::new("sam")?.deny(url).await?;
    let browser = app.browser();
    let first = browser.open(callback.as_str()).await?.expect(303)?;
    let again = browser.open(callback.as_str()).await?.expect(303)?;
    assert_eq!(again.location(), first.location());
    app.browser().open(callback.as_str()).await?.expect(409)?;
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

/// Meta's platforms put `#_=_` behind the redirect URI, and browsers carry a fragment on to an address without one.
#[tokio::test(flavor = "multi_thread")]
async fn a_platform_s_fragment_does_not_reach_the_application() -> anyhow::Result<()> {
    let platforms = worn(&["THREADS"]);
    let app = TestApp::start_with(Options { platforms, ..Options::default() }).await?;
    for (platform, marked) in [("THREADS", true), ("SANDBOX", false)] {
        for redirect in [json!("https://app.example/"), Value::Null] {
            let asked = json!({ "platform": platform, "redirectUrl": redirect });
            let started = app.start_connect(asked).await?;
            let back = app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
            let location = back.location().unwrap_or_default();
            assert_eq!(location.ends_with('#'), marked, "{location}");
        }
        let asked =
            json!({ "platform": platform, "redirectUrl": "https://app.example/?a=b#/done" });
        let started = app.start_connect(asked).await?;
        let back = app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
        let location = back.location().unwrap_or_default();
        assert!(location.starts_with("https://app.example/?a=b&status=success"), "{location}");
        assert!(location.ends_with("#/done"), "the application's own stays: {location}");
    }
    app.finish().await
}

/// What the application knows its account by is not lost when the person connects again.
#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_without_metadata_keeps_it() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    for (given, kept) in [
        (json!({ "metadata": { "customer": 42 } }), json!({ "customer": 42 })),
        (json!({}), json!({ "customer": 42 })),
        (json!({ "metadata": { "order": 7 } }), json!({ "order": 7 })),
    ] {
        let started = app.start_connect(given).await?;
        app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
        let ended = app.ended(started["connectId"].as_str().unwrap_or_default()).await?;
        let account = app.account(ended["accountIds"][0].as_str().unwrap_or_default()).await?;
        assert_eq!(account["metadata"], kept);
    }
    app.finish().await
}
