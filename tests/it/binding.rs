//! Who may finish a connect.

use chrono::TimeDelta;
use latchkey_tests::app::{Answer, Browser, eventually, logs};
use latchkey_tests::{Person, TestApp};
use reqwest::Method;
use serde_json::{Value, json};

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

async fn bound(app: &TestApp) -> anyhow::Result<Value> {
    app.start_connect(json!({ "binding": "browser", "redirectUrl": "https://app.example/" })).await
}

async fn accounts(app: &TestApp) -> anyhow::Result<usize> {
    let list = app.http.get(&app.path("/accounts")).await?.expect(200)?.json();
    Ok(list["data"].as_array().map_or(0, Vec::len))
}

/// Comes back in another browser than the one it was begun in.
async fn comes_back_elsewhere(
    app: &TestApp,
    started: &Value,
    (callback, elsewhere): (&str, &Browser),
) -> anyhow::Result<()> {
    let refused = elsewhere.open(callback).await?.expect(403)?;
    assert!(refused.text.contains("BROWSER_MISMATCH") && refused.location().is_none());
    assert_eq!(elsewhere.cookies(), 0, "it gets no page of this connect");
    let id = text(&started["connectId"]);
    let ended = app.ended(id).await?;
    let reached = (text(&ended["status"]), text(&ended["reasonCode"]));
    assert_eq!(reached, ("failed", "BROWSER_MISMATCH"), "{ended:#}");
    app.event("connect.failed", id).await?;
    assert_eq!(app.sandbox.ledger().iter().filter(|entry| entry.family.is_some()).count(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_bound_to_a_browser_is_finished_in_it() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = bound(&app).await?;
    assert_eq!((&started["authorizeUrl"], &started["state"]), (&Value::Null, &Value::Null));
    let browser = app.browser();
    let url = browser.begin(&started).await?;
    let callback = Person::new("sam")?.approve(&url).await?;
    let back = browser.open(callback.as_str()).await?.expect(303)?;
    assert!(back.location().is_some_and(|to| to.contains("status=success")));
    assert!(!back.headers.contains_key("set-cookie"), "the cookie stays the one that was traded");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_browser_ends_it() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = bound(&app).await?;
    let (owner, thief) = (app.browser(), app.browser());
    let url = owner.begin(&started).await?;
    let callback = Person::new("sam")?.approve(&url).await?;
    comes_back_elsewhere(&app, &started, (callback.as_str(), &thief)).await?;
    let late = owner.open(callback.as_str()).await?.expect(409)?;
    assert!(late.text.contains("STATE_USED"), "the state is consumed: {}", late.text);
    let page = format!("/connect/{}", text(&started["connectId"]));
    let told = owner.open(&page).await?.expect(303)?;
    assert!(told.location().is_some_and(|to| to.ends_with("error=browser_mismatch")));
    assert_eq!(thief.open(&page).await?.status, 404);
    assert_eq!(accounts(&app).await?, 0);
    app.finish().await
}

/// Whoever got at the state without the page has nothing that could be compared.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_button_nobody_finishes_it() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = bound(&app).await?;
    let url = app.browser().begin(&started).await?;
    app.execute("UPDATE connects SET page_hash = NULL").await?;
    let callback = Person::new("sam")?.approve(&url).await?;
    comes_back_elsewhere(&app, &started, (callback.as_str(), &app.browser())).await?;
    assert_eq!(accounts(&app).await?, 0);
    app.finish().await
}

/// Mail scanners and chat previews open every link, some of them several times.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_a_scanner_opened_is_finished_by_its_owner() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    for binding in ["none", "browser"] {
        let started = app.start_connect(json!({ "binding": binding })).await?;
        let link = text(&started["connectUrl"]);
        let scanner = app.browser();
        for _ in 0..3 {
            scanner.head(link).await?.expect(200)?;
            scanner.open(link).await?.expect(200)?;
        }
        let owner = app.browser();
        let url = owner.begin(&started).await?;
        let callback = Person::new("sam")?.approve(&url).await?;
        assert_eq!(scanner.head(callback.as_str()).await?.status, 405, "nor does HEAD use a state");
        owner.open(callback.as_str()).await?.expect(303)?;
        assert_eq!(app.ended(text(&started["connectId"])).await?["status"], "connected");
    }
    app.finish().await
}

async fn claim(app: &TestApp, id: &str, claim: &str) -> anyhow::Result<Answer> {
    app.http.post(&app.path(&format!("/connects/{id}/claim")), &json!({ "claim": claim })).await
}

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

/// What is known of the tokens that nobody claimed: none of them lives.
async fn disposed_of(app: &TestApp) -> anyhow::Result<()> {
    eventually(|| async {
        Ok(app.sandbox.families().iter().all(|family| !family.alive).then_some(()))
    })
    .await?;
    let status = "SELECT json_agg(status) AS all FROM grants";
    eventually(|| async { Ok((app.row(status).await?["all"] == json!(["revoked"])).then_some(())) })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_claims_what_its_person_consented_to() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let browser = app.browser();
    let sam = Person::new("sam")?;
    let more = json!({ "redirectUrl": "https://app.example/back?tab=2" });
    let (id, token) = app.claiming(&browser, &sam, more).await?;
    let page = browser.open(&format!("/connect/{id}")).await?.expect(303)?;
    let to = page.location().unwrap_or_default();
    assert!(to.starts_with("https://app.example/back?tab=2&status=claim&connectId=con_"), "{to}");
    assert!(to.ends_with(&format!("&platform=SANDBOX&claim={token}")), "{to}");
    assert_eq!(accounts(&app).await?, 0, "nothing is connected yet");

    for wrong in ["", "x", &token[1..], &format!("{token}x"), &"x".repeat(5000)] {
        let answer = claim(&app, &id, wrong).await?;
        assert_eq!(refusal(&answer), (403, "CLAIM_WRONG".to_owned()), "{wrong}");
    }
    let path = app.path(&format!("/connects/{id}"));
    let waiting = app.http.get(&path).await?.expect(200)?.json();
    let steps = waiting["timeline"].as_array().cloned().unwrap_or_default();
    let refused = steps.iter().filter(|step| step["refused"] == "CLAIM_WRONG");
    assert_eq!((text(&waiting["status"]), refused.count()), ("claiming", 5));
    assert!(logs().lines().any(|line| line.contains("CLAIM_WRONG") && line.contains(&id)));

    let request = app.http.request(Method::POST, &format!("{path}/claim"));
    let request = request.json(&json!({ "claim": token })).header("idempotency-key", "k");
    let repeated = request.try_clone().expect("its body is at hand");
    let claimed = app.http.send(request).await?.expect(200)?;
    assert_eq!(claimed.json()["status"], "connected", "{}", claimed.text);
    let account = text(&claimed.json()["accountIds"][0]).to_owned();
    app.event("account.connected", &account).await?;
    let again = app.http.send(repeated).await?.expect(200)?;
    assert_eq!(again.text, claimed.text, "the same request gets the same answer");
    let late = claim(&app, &id, &token).await?;
    assert_eq!(refusal(&late), (409, "CONNECT_NOT_CLAIMING".to_owned()));
    let done = browser.open(&format!("/connect/{id}")).await?.expect(303)?;
    assert!(done.location().is_some_and(|to| to.contains(&format!("accountIds={account}"))));
    app.finish().await
}

/// Mallory starts a connect and has somebody else consent to it. The application's backend sees who is
/// brought back, and does not claim.
#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_link_connects_nothing_of_its_victim() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let victim = app.browser();
    let (id, token) = app.claiming(&victim, &Person::new("victim")?, json!({})).await?;
    assert!(app.sandbox.families().iter().any(|family| family.alive), "the victim consented");
    app.clock.advance(TimeDelta::seconds(601));
    let late = claim(&app, &id, &token).await?;
    assert_eq!(refusal(&late), (409, "CONNECT_NOT_CLAIMING".to_owned()));
    let path = app.path(&format!("/connects/{id}"));
    eventually(|| async {
        let connect = app.http.get(&path).await?.expect(200)?.json();
        Ok((connect["status"] == "expired").then_some(()))
    })
    .await?;
    app.event("connect.expired", &id).await?;
    disposed_of(&app).await?;
    let told = victim.open(&format!("/connect/{id}")).await?.expect(303)?;
    assert!(told.location().is_some_and(|to| to.ends_with("&error=expired")));
    assert_eq!(accounts(&app).await?, 0);
    let expired = claim(&app, &id, &token).await?;
    assert!(refusal(&expired).0 == 409 && expired.text.contains("`expired`"), "{}", expired.text);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_something_to_claim_only_while_there_is() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let open = app.start_connect(json!({})).await?;
    let early = claim(&app, text(&open["connectId"]), "x").await?;
    assert_eq!(refusal(&early), (409, "CONNECT_NOT_CLAIMING".to_owned()));
    assert!(early.text.contains("`pending`"), "{}", early.text);
    let path = app.path(&format!("/connects/{}/claim", text(&open["connectId"])));
    for (body, pointer) in [(json!({}), "/claim"), (json!({ "claim": 7 }), "/claim")] {
        let answer = app.http.post(&path, &body).await?;
        assert_eq!(refusal(&answer), (400, "VALIDATION_FAILED".to_owned()), "{body}");
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer);
    }
    let (id, token) = app.claiming(&app.browser(), &Person::new("sam")?, json!({})).await?;
    let cancelled = app.http.delete(&app.path(&format!("/connects/{id}"))).await?.expect(200)?;
    assert_eq!(cancelled.json()["status"], "cancelled");
    assert_eq!(refusal(&claim(&app, &id, &token).await?).0, 409);
    disposed_of(&app).await?;
    assert_eq!(accounts(&app).await?, 0);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_claims_one_wins() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let (id, token) = app.claiming(&app.browser(), &Person::new("sam")?, json!({})).await?;
    let answers =
        futures_util::future::try_join_all((0..6).map(|_| claim(&app, &id, &token))).await?;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 409)), "{statuses:?}");
    assert_eq!(accounts(&app).await?, 1);
    app.finish().await
}
