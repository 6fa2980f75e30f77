//! Choosing what one consent connects: by the application, or by the person on our page.

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_tests::app::{Answer, Options, Selecting, candidate, eventually};
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};

fn path(app: &TestApp, at: &Selecting, rest: &str) -> String {
    app.path(&format!("/connects/{}/{rest}", at.connect_id))
}

async fn select(app: &TestApp, at: &Selecting, ids: Value) -> anyhow::Result<Answer> {
    app.http.post(&path(app, at, "selection"), &json!({ "candidateIds": ids })).await
}

/// Three of which two can be connected.
async fn three(app: &TestApp) -> anyhow::Result<Selecting> {
    let all = [candidate("1", None), candidate("2", Some("ROLE_NOT_ENOUGH")), candidate("3", None)];
    app.selecting(json!({}), &all).await
}

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

async fn chosen(app: &TestApp, at: &Selecting) -> anyhow::Result<Value> {
    let query = format!("SELECT selection FROM connects WHERE id = '{}'", at.connect_id);
    Ok(app.row(&query).await?["selection"].clone())
}

async fn commands(app: &TestApp) -> anyhow::Result<i64> {
    let query = "SELECT count(*) AS n FROM outbox WHERE kind = 'callback_received'";
    Ok(app.row(query).await?["n"].as_i64().unwrap_or(-1))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_sees_the_candidates_and_chooses_once() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("3").await?;
    app.execute("UPDATE accounts SET platform_user_id = '3'").await?;
    let before = commands(&app).await?;
    let at = three(&app).await?;
    let list = app.http.get(&path(&app, &at, "candidates")).await?.expect(200)?.json();
    assert_eq!(list["nextCursor"], Value::Null);
    let expected = json!([
        { "id": "1", "username": "page-1", "displayName": "Page 1",
          "avatarUrl": "https://img.example/1.png", "eligible": true, "reason": null, "accountId": null },
        { "id": "2", "username": "page-2", "displayName": "Page 2",
          "avatarUrl": "https://img.example/2.png", "eligible": false, "reason": "ROLE_NOT_ENOUGH",
          "accountId": null },
        { "id": "3", "username": "page-3", "displayName": "Page 3",
          "avatarUrl": "https://img.example/3.png", "eligible": true, "reason": null,
          "accountId": sam.account_id },
    ]);
    assert_eq!(list["data"], expected);

    for (ids, pointers) in [
        (json!([]), json!(["/candidateIds"])),
        (json!(["1", "1"]), json!(["/candidateIds/1"])),
        (json!(["9", "1", "2"]), json!(["/candidateIds/0", "/candidateIds/2"])),
        (json!([7]), json!(["/candidateIds/0"])),
    ] {
        let answer = select(&app, &at, ids.clone()).await?;
        assert_eq!(refusal(&answer), (400, "VALIDATION_FAILED".to_owned()), "{ids}");
        let errors = answer.json()["errors"].as_array().cloned().unwrap_or_default();
        let told: Vec<_> = errors.iter().map(|error| error["pointer"].clone()).collect();
        assert_eq!(json!(told), pointers, "{ids}: {errors:?}");
    }
    assert_eq!((chosen(&app, &at).await?, commands(&app).await?), (Value::Null, before));

    let taken = select(&app, &at, json!(["3", "1"])).await?.expect(202)?.json();
    assert_eq!((&taken["id"], &taken["status"]), (&json!(at.connect_id), &json!("selecting")));
    assert_eq!(chosen(&app, &at).await?, json!(["3", "1"]));
    let again = select(&app, &at, json!(["1"])).await?;
    assert_eq!(refusal(&again), (409, "SELECTION_MADE".to_owned()));
    assert_eq!(chosen(&app, &at).await?, json!(["3", "1"]));
    assert_eq!(commands(&app).await?, before + 1, "a worker is told once");
    assert!(!app.http.seen().contains("page-token"), "no answer shows a token");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_choose_at_once_one_wins() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let at = three(&app).await?;
    let ids = ["1", "3"];
    let choosing = (0..8).map(|n| select(&app, &at, json!([ids[n % 2]])));
    let answers = futures_util::future::try_join_all(choosing).await?;
    let won = answers.iter().filter(|answer| answer.status == 202).count();
    assert_eq!(won, 1);
    assert!(
        answers
            .iter()
            .filter(|answer| answer.status != 202)
            .all(|answer| refusal(answer) == (409, "SELECTION_MADE".to_owned()))
    );
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_a_choice_only_while_there_is_one() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let started = app.start_connect(json!({})).await?;
    let connect_id = started["connectId"].as_str().unwrap_or_default().to_owned();
    let pending = Selecting { connect_id, cookie: String::new() };
    let not_selecting = (409, "CONNECT_NOT_SELECTING".to_owned());
    let answer = app.http.get(&path(&app, &pending, "candidates")).await?;
    assert_eq!(refusal(&answer), not_selecting);
    assert!(answer.text.contains("`pending`"), "{}", answer.text);
    assert_eq!(refusal(&select(&app, &pending, json!(["1"])).await?), not_selecting);

    let late = three(&app).await?;
    let stopped =
        "UPDATE connects SET expires_at = now() - interval '1 s' WHERE status = 'selecting'";
    app.execute(stopped).await?;
    assert_eq!(refusal(&select(&app, &late, json!(["1"])).await?), not_selecting);
    let status = format!("SELECT status FROM connects WHERE id = '{}'", late.connect_id);
    eventually(|| async { Ok((app.row(&status).await?["status"] == "expired").then_some(())) })
        .await?;
    assert_eq!(refusal(&select(&app, &late, json!(["1"])).await?), not_selecting);
    assert_eq!(app.look(&late, "").await?.expect(200)?.text.matches("It took too long").count(), 2);
    app.finish().await
}

/// Whose tokens came with the consent does not keep them.
#[tokio::test(flavor = "multi_thread")]
async fn a_choice_that_is_cancelled_releases_the_consent() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    app.connect("sam").await?;
    let at = three(&app).await?;
    app.execute(&format!(
        "UPDATE connects SET grant_id = (SELECT id FROM grants) WHERE id = '{}'; DELETE FROM accounts",
        at.connect_id
    ))
    .await?;
    let connect = app.path(&format!("/connects/{}", at.connect_id));
    assert_eq!(app.http.delete(&connect).await?.expect(200)?.json()["status"], "cancelled");
    let answer = select(&app, &at, json!(["1"])).await?;
    assert_eq!(refusal(&answer), (409, "CONNECT_NOT_SELECTING".to_owned()));
    let sealed = "SELECT count(sealed_candidates) AS n FROM connects";
    assert_eq!(app.row(sealed).await?["n"], 0, "what was sealed is wiped");
    let status = "SELECT status FROM grants";
    eventually(|| async { Ok((app.row(status).await?["status"] == "revoked").then_some(())) })
        .await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_person_chooses_on_a_page() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    app.connect("3").await?;
    app.execute("UPDATE accounts SET platform_user_id = '3'").await?;
    let at = three(&app).await?;
    let page = app.look(&at, "").await?.expect(200)?;
    for shown in ["Page 1", "Page 2", "Your role there is not enough", "Already connected"] {
        assert!(page.text.contains(shown), "{shown} is not on {}", page.text);
    }
    assert_eq!(page.text.matches(" checked").count(), 1, "what is connected already");
    let policy = page.headers["content-security-policy"].to_str()?;
    assert!(policy.contains("form-action 'self'") && !policy.contains("script"), "{policy}");
    assert_eq!(page.headers["referrer-policy"], "same-origin");
    let nobody = Selecting { cookie: format!("lk_{}=wrong", at.connect_id), ..at.clone() };
    assert_eq!(app.look(&nobody, "").await?.status, 404);

    let ours = app.http.base().to_owned();
    let tick = |at: &Selecting, ids: &'static [&'static str]| {
        let (app, at, ours) = (&app, at.clone(), ours.clone());
        async move { app.tick(&at, (Some(&ours), ids)).await }
    };
    assert_eq!(tick(&nobody, &["1"]).await?.status, 404);
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        let refused = app.tick(&at, (Some(origin), &["1"])).await?.expect(403)?;
        assert!(refused.text.contains("ORIGIN_FOREIGN"), "{}", refused.text);
    }
    let nothing = tick(&at, &[]).await?.expect(400)?;
    assert!(nothing.text.contains("choose at least one"), "{}", nothing.text);
    let wrong = tick(&at, &["2", "1"]).await?.expect(400)?;
    assert!(wrong.text.contains("cannot be connected. Choose again"), "{}", wrong.text);
    assert_eq!(chosen(&app, &at).await?, Value::Null);

    let done = tick(&at, &["1", "3"]).await?.expect(303)?;
    let next = format!("{ours}/connect/{}?go", at.connect_id);
    assert_eq!(done.location(), Some(next.as_str()));
    assert_eq!(chosen(&app, &at).await?, json!(["1", "3"]));
    let progress = app.look(&at, "?go").await?.expect(200)?;
    let onward = format!("content=\"1; url={ours}/connect/{}\"", at.connect_id);
    assert!(progress.text.contains(&onward), "{}", progress.text);
    assert!(progress.headers["content-security-policy"].to_str()?.contains("form-action 'none'"));
    let waiting = app.look(&at, "").await?.expect(200)?;
    assert!(waiting.text.contains("http-equiv=\"refresh\"") && !waiting.text.contains("<form"));
    let twice = tick(&at, &["1"]).await?.expect(303)?;
    assert_eq!(twice.location(), Some(next.as_str()), "a second click leads on as well");
    assert!(!app.http.seen().contains("page-token"));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_chooses_one() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let sam = app.connect("1").await?;
    app.execute("UPDATE accounts SET platform_user_id = '1'").await?;
    let all = [candidate("1", None), candidate("3", None)];
    let at = app.selecting(json!({ "accountId": sam.account_id }), &all).await?;
    let page = app.look(&at, "").await?.expect(200)?;
    assert_eq!(page.text.matches("type=\"radio\"").count(), 2);
    assert_eq!(page.text.matches(" checked").count(), 1);
    let both = select(&app, &at, json!(["1", "3"])).await?;
    assert_eq!(refusal(&both), (400, "VALIDATION_FAILED".to_owned()));
    assert_eq!(both.json()["errors"][0]["pointer"], "/candidateIds");
    let both = app.tick(&at, (None, &["1", "3"])).await?.expect(400)?;
    assert!(both.text.contains("Choose exactly one"), "{}", both.text);
    select(&app, &at, json!(["1"])).await?.expect(202)?;
    app.finish().await
}

/// The browser does not wait for what only its person can do.
#[tokio::test(flavor = "multi_thread")]
async fn a_callback_leads_to_the_choice_at_once() -> anyhow::Result<()> {
    let wait = Duration::from_secs(25);
    let options = Options { worker: false, callback_wait: wait, ..Options::default() };
    let mut app = TestApp::start_with(options).await?;
    let started = app.start_connect(json!({ "redirectUrl": "https://app.example/" })).await?;
    let connect_id = started["connectId"].as_str().unwrap_or_default().to_owned();
    let url = started["authorizeUrl"].as_str().unwrap_or_default();
    let callback = Person::new("sam")?.approve(url).await?;
    let begun = tokio::time::Instant::now();
    let http = app.http.clone();
    let browsing = tokio::spawn(async move { http.browse(callback.as_str()).await });
    let authorized = "SELECT count(*) AS n FROM connects WHERE status = 'authorized'";
    eventually(|| async { Ok((app.row(authorized).await?["n"] == 1).then_some(())) }).await?;
    app.lay_out(&connect_id, &[candidate("1", None), candidate("2", None)]).await?;
    let back = browsing.await??.expect(303)?;
    assert!(begun.elapsed() < wait, "it waited for what only the person can do");
    assert!(back.location().is_some_and(|to| to.ends_with(&format!("/connect/{connect_id}"))));
    let cookie = back.headers["set-cookie"].to_str()?;
    assert!(cookie.contains("Max-Age=90000"), "a person has a day to choose: {cookie}");
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    let at = Selecting { connect_id, cookie };
    assert!(app.look(&at, "").await?.expect(200)?.text.contains("Choose what to connect"));
    let connect = app.path(&format!("/connects/{}", at.connect_id));
    app.http.delete(&connect).await?.expect(200)?;
    app.clock.advance(TimeDelta::seconds(1));
    app.add_worker().await?;
    app.finish().await
}
