//! Profiles: the customer's end users, and whose an account is.

use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};

async fn make(app: &TestApp, body: Value) -> anyhow::Result<String> {
    let made = app.http.post(&app.path("/profiles"), &body).await?.expect(201)?.json();
    Ok(made["id"].as_str().unwrap_or_default().to_owned())
}

async fn connect_for(app: &TestApp, user: &str, profile: &str) -> anyhow::Result<String> {
    let started = app.start_connect(json!({ "profileId": profile })).await?;
    app.approve(&started, &Person::new(user)?).await?.expect(303)?;
    let ended = app.ended(started["connectId"].as_str().unwrap_or_default()).await?;
    Ok(ended["accountIds"][0].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_made_found_changed_and_deleted() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let body = json!({ "externalId": "user-7", "name": "Ann", "metadata": { "plan": "pro" } });
    let made = app.http.post(&app.path("/profiles"), &body).await?.expect(201)?.json();
    for field in ["externalId", "name", "metadata"] {
        assert_eq!(made[field], body[field]);
    }
    assert_eq!(made["workspaceId"], app.owner.workspace_id.as_str());
    let path = app.path(&format!("/profiles/{}", made["id"].as_str().unwrap_or_default()));
    assert_eq!(app.http.get(&path).await?.expect(200)?.json(), made);

    let renamed = app.http.patch(&path, &json!({ "name": "Anna" })).await?.expect(200)?.json();
    assert_eq!((&renamed["name"], &renamed["externalId"]), (&json!("Anna"), &json!("user-7")));
    let same = app.http.patch(&path, &json!({})).await?.expect(200)?.json();
    assert_eq!(same, renamed);
    let cleared = json!({ "externalId": null, "metadata": {} });
    let cleared = app.http.patch(&path, &cleared).await?.expect(200)?.json();
    assert_eq!((&cleared["externalId"], &cleared["metadata"]), (&Value::Null, &json!({})));

    app.http.delete(&path).await?.expect(204)?;
    for answer in [app.http.get(&path).await?, app.http.delete(&path).await?] {
        assert_eq!((answer.status, answer.code().as_str()), (404, "NOT_FOUND"));
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_id_names_one_profile_of_a_workspace() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let ann = make(&app, json!({ "name": "Ann", "externalId": "7" })).await?;
    let bob = make(&app, json!({ "name": "Bob" })).await?;
    let taken = json!({ "name": "Other", "externalId": "7" });
    let by_post = app.http.post(&app.path("/profiles"), &taken).await?;
    let by_patch = app.http.patch(&app.path(&format!("/profiles/{bob}")), &taken).await?;
    for answer in [by_post, by_patch] {
        assert_eq!((answer.status, answer.code().as_str()), (409, "EXTERNAL_ID_TAKEN"));
        assert_eq!(answer.json()["errors"][0]["pointer"], "/externalId");
    }
    let found = app.http.get(&app.path("/profiles?externalId=7")).await?.expect(200)?.json();
    assert_eq!(found["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(found["data"][0]["id"], ann);

    // Another workspace has its own.
    let other =
        app.http.post("/v1/workspaces", &json!({ "name": "Other" })).await?.expect(201)?.json();
    let path = format!("/v1/workspaces/{}/profiles", other["id"].as_str().unwrap_or_default());
    app.http.post(&path, &taken).await?.expect(201)?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_gives_the_account_its_profile_and_the_newest_consent_wins() -> anyhow::Result<()>
{
    let app = TestApp::start().await?;
    let ann = make(&app, json!({ "name": "Ann" })).await?;
    let bob = make(&app, json!({ "name": "Bob" })).await?;
    let account = connect_for(&app, "sam", &ann).await?;
    assert_eq!(app.account(&account).await?["profileId"], ann);
    let connected = app.event("account.connected", &account).await?;
    assert_eq!(connected["data"]["profileId"], ann);
    let of = |profile: &str| app.path(&format!("/accounts?profileId={profile}"));
    let count = async |profile: &str| {
        let list = app.http.get(&of(profile)).await?.expect(200)?.json();
        anyhow::Ok(list["data"].as_array().map_or(0, Vec::len))
    };
    assert_eq!((count(&ann).await?, count(&bob).await?), (1, 0));

    app.connect("sam").await?;
    assert_eq!(app.account(&account).await?["profileId"], ann, "no profile named, none changed");
    assert_eq!(connect_for(&app, "sam", &bob).await?, account);
    let updated = app.event("account.updated", &account).await?;
    assert_eq!(updated["data"]["profileId"], bob);
    assert_eq!(updated["data"]["previousProfileId"], ann);
    assert_eq!((count(&ann).await?, count(&bob).await?), (0, 1));
    connect_for(&app, "sam", &bob).await?;
    let told = "SELECT count(*) AS n FROM events WHERE type = 'account.updated'";
    assert_eq!(app.row(told).await?["n"], 1, "told only when it changed");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_is_in_use_stays() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let ann = make(&app, json!({ "name": "Ann" })).await?;
    let path = app.path(&format!("/profiles/{ann}"));
    let open = app.start_connect(json!({ "profileId": ann })).await?;
    let refused = async || {
        let answer = app.http.delete(&path).await?;
        anyhow::Ok((answer.status, answer.code()))
    };
    assert_eq!(refused().await?, (409, "PROFILE_IN_USE".to_owned()), "a connect is open");
    app.approve(&open, &Person::new("sam")?).await?.expect(303)?;
    let ended = app.ended(open["connectId"].as_str().unwrap_or_default()).await?;
    let account = ended["accountIds"][0].as_str().unwrap_or_default();
    assert_eq!(refused().await?, (409, "PROFILE_IN_USE".to_owned()), "an account is connected");

    app.http.delete(&app.path(&format!("/accounts/{account}"))).await?.expect(202)?;
    app.http.delete(&path).await?.expect(204)?;
    assert!(app.account(account).await?["profileId"].is_null(), "the account stays");
    assert!(app.ended(&text(&open["connectId"])).await?["profileId"].is_null());
    let again = app.connect("sam").await?;
    assert_eq!(again.account_id, account);
    app.finish().await
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_says_what_is_wrong_with_it() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let long = "x".repeat(201);
    let many = json!({ "x": "y".repeat(5000) });
    for (body, pointer) in [
        (json!({}), "/name"),
        (json!({ "name": "" }), "/name"),
        (json!({ "name": long }), "/name"),
        (json!({ "name": 7 }), "/name"),
        (json!({ "name": "a", "externalId": "" }), "/externalId"),
        (json!({ "name": "a", "externalId": "two\nlines" }), "/externalId"),
        (json!({ "name": "a", "externalId": long }), "/externalId"),
        (json!({ "name": "a", "externalId": 7 }), "/externalId"),
        (json!({ "name": "a", "metadata": [] }), "/metadata"),
        (json!({ "name": "a", "metadata": many }), "/metadata"),
        (json!({ "name": "a", "metadata": { "a": "b\u{0}" } }), "/metadata"),
        (json!({ "name": "a", "id": "prof_1" }), "/id"),
    ] {
        let answer = app.http.post(&app.path("/profiles"), &body).await?;
        let problem = answer.json();
        assert_eq!((answer.status, answer.code().as_str()), (400, "VALIDATION_FAILED"), "{body}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
    }
    assert_eq!(app.row("SELECT count(*) AS n FROM profiles").await?["n"], 0);
    app.finish().await
}
