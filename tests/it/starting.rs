//! What a connect may be started with, platform by platform.

use chrono::TimeDelta;
use latchkey_shared::db::connects;
use latchkey_shared::ids::{ConnectId, ConnectKey};
use latchkey_tests::TestApp;
use latchkey_tests::app::{Answer, Options, command};
use latchkey_worker::settings::Pool;
use reqwest::Method;
use serde_json::{Value, json};

const PASSWORD: &str = "abcd-efgh-2345-z7z7";

/// Nobody connects: what is started stays as it was started.
async fn idle(platforms: &str) -> anyhow::Result<TestApp> {
    let (platforms, pools) = (platforms.to_owned(), vec![Pool::Webhook]);
    TestApp::start_with(Options { pools, platforms, ..Options::default() }).await
}

fn section(id: &str) -> String {
    format!("[platforms.{id}]\nclient_id = \"client\"\nclient_secret = {{ value = \"shh\" }}\n")
}

async fn start(app: &TestApp, body: &Value) -> anyhow::Result<Answer> {
    app.http.post(&app.path("/connects"), body).await
}

async fn refused(app: &TestApp, body: Value, expected: (&str, &str)) -> anyhow::Result<Value> {
    let answer = start(app, &body).await?;
    let problem = answer.json();
    let told = (answer.code(), problem["errors"][0]["pointer"].clone());
    assert_eq!((answer.status, told.0.as_str()), (400, expected.0), "{problem}");
    assert_eq!(told.1, expected.1, "{problem}");
    Ok(problem)
}

fn bluesky(identifier: &str, password: &str) -> Value {
    let credentials = json!({ "identifier": identifier, "password": password });
    json!({ "platform": "BLUESKY", "credentials": credentials })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_password_waits_sealed_like_a_code() -> anyhow::Result<()> {
    let mut app = idle("[platforms.BLUESKY]\n").await?;
    let body = bluesky(" @Ann.bsky.social ", PASSWORD);
    let request = app.http.request(Method::POST, &app.path("/connects"));
    let request = request.header("idempotency-key", "k").json(&body);
    let started = app.http.send(request).await?.expect(201)?.json();
    assert_eq!(
        (&started["authorizeUrl"], &started["status"]),
        (&Value::Null, &json!("authorized"))
    );
    assert!(started["state"].as_str().is_some_and(|state| state.len() == 43));

    let id: ConnectId = started["connectId"].as_str().unwrap_or_default().parse().unwrap();
    let workspace = &app.owner.workspace_id;
    let opened = {
        let db = app.db()?;
        let mut conn = db.conn().await?;
        let row = connects::find(&mut conn, workspace, &id).await?.unwrap();
        let steps: Vec<_> = row.timeline.as_array().into_iter().flatten().collect();
        assert_eq!(steps.len(), 2, "pending, authorized: {steps:?}");
        let aad = connects::code_aad(ConnectKey { workspace_id: workspace, id: &id });
        conn.decrypt(aad, &row.sealed_code.unwrap()).await?.to_vec()
    };
    let opened: Value = serde_json::from_slice(&opened)?;
    assert_eq!(opened, json!({ "identifier": "Ann.bsky.social", "password": PASSWORD }));
    let commands = "SELECT count(*) AS n FROM outbox WHERE kind = 'callback_received'";
    assert_eq!(app.row(commands).await?["n"], 1, "a worker is told in the same transaction");
    let everything = "SELECT (SELECT json_agg(t)::text FROM connects t)
        || (SELECT json_agg(t)::text FROM outbox t) || (SELECT json_agg(t)::text FROM events t)
        || (SELECT json_agg(t)::text FROM idempotency_keys t) AS all";
    let everything = app.row(everything).await?["all"].to_string();
    assert!(everything.len() > 1000 && !everything.contains("abcd-efgh"), "{everything}");
    assert!(!app.http.seen().contains("abcd-efgh") && !app.http.seen().contains("shh"));

    app.http.delete(&app.path(&format!("/connects/{id}"))).await?.expect(200)?;
    let settings = app.worker_settings(vec![Pool::Connect], 8);
    app.add_worker_with(&settings).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_app_password_goes_nowhere() -> anyhow::Result<()> {
    let app = idle("[platforms.BLUESKY]\n").await?;
    let page = "https://bsky.app/settings/app-passwords";
    for password in ["correct horse battery", "abcdefgh2345z7z7", "ABCD-efgh-2345-z7z7", ""] {
        let body = bluesky("ann.bsky.social", password);
        let wrong = ("APP_PASSWORD_REQUIRED", "/credentials/password");
        let problem = refused(&app, body, wrong).await?;
        assert!(
            problem["detail"].as_str().is_some_and(|detail| detail.contains(page)),
            "{problem}"
        );
        assert!(password.is_empty() || !problem.to_string().contains(password), "{problem}");
    }
    const INVALID: &str = "VALIDATION_FAILED";
    for identifier in ["ann@example.com", "ann", "a b.social", "@", ""] {
        let wrong = (INVALID, "/credentials/identifier");
        refused(&app, bluesky(identifier, PASSWORD), wrong).await?;
    }
    let mut body = bluesky("ann.bsky.social", PASSWORD);
    body["scopes"] = json!(["x"]);
    refused(&app, body.clone(), (INVALID, "/scopes")).await?;
    body["platform"] = json!("SANDBOX");
    refused(&app, body, (INVALID, "/credentials")).await?;
    let number = json!({ "identifier": "a.b", "password": 987_654_321 });
    let body = json!({ "platform": "BLUESKY", "credentials": number });
    let problem = refused(&app, body, (INVALID, "/credentials/password")).await?;
    assert!(!problem.to_string().contains("987654321"), "{problem}");
    let body = json!({ "platform": "BLUESKY", "credentials": PASSWORD });
    let problem = refused(&app, body, (INVALID, "/credentials")).await?;
    assert!(!problem.to_string().contains(PASSWORD), "{problem}");

    let new = json!({ "platform": "BLUESKY", "name": "a", "clientId": "c", "clientSecret": "s" });
    let answer = app.http.post("/v1/apps", &new).await?;
    assert_eq!((answer.status, answer.code().as_str()), (400, INVALID));
    assert_eq!(answer.json()["errors"][0]["pointer"], "/platform");
    let rows = app.row("SELECT count(*) AS n FROM connects").await?;
    assert_eq!(rows["n"], 0, "nothing was written");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_that_belong_to_the_client_cannot_be_chosen() -> anyhow::Result<()> {
    let app = idle(&(section("LINKEDIN_PERSON") + &section("LINKEDIN_COMPANY"))).await?;
    let mut asked = Vec::new();
    for platform in ["LINKEDIN_PERSON", "LINKEDIN_COMPANY"] {
        let body = json!({ "platform": platform, "scopes": ["openid"] });
        let problem = refused(&app, body, ("SCOPES_FIXED", "/scopes")).await?;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("ends the person's other tokens"), "{problem}");
        let started = start(&app, &json!({ "platform": platform })).await?.expect(201)?.json();
        let url: url::Url = started["authorizeUrl"].as_str().unwrap_or_default().parse()?;
        let scope = url.query_pairs().find(|(name, _)| name == "scope");
        asked.push(scope.map(|(_, scope)| scope.into_owned()).unwrap_or_default());
    }
    assert_eq!(asked[0], asked[1], "one client asks for one set");
    assert!(asked[0].contains("rw_organization_admin"), "{asked:?}");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_uri_has_the_form_that_the_platform_takes() -> anyhow::Result<()> {
    let app = idle(&(section("TIKTOK_BUSINESS") + &section("X"))).await?;
    for (platform, path) in [
        ("TIKTOK_BUSINESS", "/v1/connect/tiktok_business/callback/"),
        ("X", "/v1/connect/x/callback"),
    ] {
        let started = start(&app, &json!({ "platform": platform })).await?.expect(201)?.json();
        let url: url::Url = started["authorizeUrl"].as_str().unwrap_or_default().parse()?;
        let uri = url.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1;
        assert_eq!(uri, format!("{}{path}", app.http.base()));
        let back = app.http.browse(&format!("{uri}?state=unknown&code=x")).await?.expect(400)?;
        assert!(back.text.contains("STATE_UNKNOWN"), "the address is there");
    }
    app.finish().await
}

async fn new_app(app: &TestApp, platform: &str, more: Value) -> anyhow::Result<Answer> {
    let mut body =
        json!({ "platform": platform, "name": "Ours", "clientId": "own", "clientSecret": "s" });
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    app.http.post("/v1/apps", &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_says_what_connects_through_it_ask_for() -> anyhow::Result<()> {
    let app = idle("").await?;
    let scopes = json!({ "scopes": ["profile", "posts.write"] });
    let own = new_app(&app, "SANDBOX", scopes.clone()).await?.expect(201)?.json();
    assert_eq!(own["scopes"], scopes["scopes"]);
    let plain = new_app(&app, "SANDBOX", json!({ "clientId": "b" })).await?.expect(201)?.json();
    assert_eq!(plain["scopes"], Value::Null);
    for (of, more, expected) in [
        (&own, json!({}), json!(["profile", "posts.write"])),
        (&own, json!({ "scopes": ["profile"] }), json!(["profile"])),
        (&plain, json!({}), json!(["profile", "posts.write", "offline_access"])),
    ] {
        let mut body = json!({ "platform": "SANDBOX", "appId": of["id"] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let started = start(&app, &body).await?.expect(201)?.json();
        let id = started["connectId"].as_str().unwrap_or_default();
        let connect =
            app.http.get(&app.path(&format!("/connects/{id}"))).await?.expect(200)?.json();
        assert_eq!(connect["scopes"], expected);
    }
    for wrong in [json!([]), json!(["two words"]), json!([""])] {
        let answer = new_app(&app, "SANDBOX", json!({ "scopes": wrong })).await?;
        assert_eq!((answer.status, answer.code().as_str()), (400, "VALIDATION_FAILED"));
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_of_a_vendor_has_one_set() -> anyhow::Result<()> {
    let app = idle(&(section("LINKEDIN_PERSON") + &section("LINKEDIN_COMPANY"))).await?;
    let wide = json!(["openid", "profile", "w_member_social", "w_organization_social"]);
    let first = new_app(&app, "LINKEDIN_COMPANY", json!({ "scopes": wide })).await?;
    assert_eq!(first.expect(201)?.json()["scopes"], wide);
    let other = new_app(&app, "LINKEDIN_PERSON", json!({ "scopes": ["openid"] })).await?;
    assert_eq!((other.status, other.code().as_str()), (409, "SCOPES_DIFFER"));
    let problem = other.json();
    assert_eq!(problem["errors"][0]["pointer"], "/scopes");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains(r#"["openid", "profile", "w_member_social", "w_organization_social"]"#)
    );
    let person = new_app(&app, "LINKEDIN_PERSON", json!({})).await?.expect(201)?.json();
    assert_eq!(person["scopes"], wide, "left out, it takes what the first has");
    let turned = json!(["w_organization_social", "openid", "w_member_social", "profile"]);
    new_app(&app, "LINKEDIN_PERSON", json!({ "scopes": turned })).await?.expect(201)?;
    let started =
        start(&app, &json!({ "platform": "LINKEDIN_PERSON", "appId": person["id"] })).await?;
    let started = started.expect(201)?.json();
    assert!(started["authorizeUrl"].as_str().is_some_and(|url| url.contains("w_organization")));
    let chosen = json!({ "platform": "LINKEDIN_PERSON", "appId": person["id"], "scopes": wide });
    refused(&app, chosen, ("SCOPES_FIXED", "/scopes")).await?;

    // Another client has a set of its own, on record although nobody said it.
    let elsewhere = new_app(&app, "LINKEDIN_PERSON", json!({ "clientId": "second" })).await?;
    assert_eq!(elsewhere.expect(201)?.json()["scopes"].as_array().map(Vec::len), Some(7));
    let adding = (0..6).map(|n| {
        let platform = ["LINKEDIN_PERSON", "LINKEDIN_COMPANY"][n % 2];
        new_app(&app, platform, json!({ "clientId": "third", "scopes": [format!("s{n}")] }))
    });
    let added = futures_util::future::try_join_all(adding).await?;
    assert_eq!(added.iter().filter(|answer| answer.status == 201).count(), 1, "at the same time");
    app.finish().await
}

/// A token that extends itself is left alone while it is young, and one that does not count for the
/// account always.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_would_do_no_good_is_refused() -> anyhow::Result<()> {
    let platforms = section("FACEBOOK_PAGE");
    let app = TestApp::start_with(Options { platforms, ..Options::default() }).await?;
    let sam = app.connect("sam").await?;
    let path = app.path(&format!("/accounts/{}/refresh", sam.account_id));
    let dress = |platform: &'static str| {
        let app = &app;
        async move {
            let all = format!(
                "UPDATE accounts SET platform = '{platform}'; UPDATE grants SET platform = '{platform}'"
            );
            app.execute(&all).await
        }
    };
    dress("FACEBOOK_PAGE").await?;
    let never = app.http.post(&path, &json!({})).await?.expect(409)?;
    assert_eq!(never.code(), "NOTHING_TO_REFRESH");

    app.execute("UPDATE grants SET reauth_at = now() + interval '3 days'").await?;
    assert!(app.account(&sam.account_id).await?["reauthDueAt"].is_string());
    dress("SANDBOX").await?;
    app.http.post(&path, &json!({})).await?.expect(202)?;
    app.account_until(&sam.account_id, |account| account["tokenGeneration"] == 2).await?;
    app.execute("UPDATE accounts SET status = 'token_expired'").await?;
    assert!(app.account(&sam.account_id).await?["reauthDueAt"].is_null());
    app.execute("UPDATE accounts SET status = 'connected'").await?;
    app.clock.advance(TimeDelta::seconds(1));
    app.finish().await
}

/// What the command prints is what the API answers.
#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_platforms_is_that_of_the_api() -> anyhow::Result<()> {
    let app = idle(&(section("LINKEDIN_COMPANY") + "[platforms.BLUESKY]\n")).await?;
    let mut printing = command("latchkey-api")?;
    printing.arg("platforms").env_clear();
    printing.env("LATCHKEY_PLATFORMS_FILE", &app.common().platforms_file);
    let printed = printing.output().await?;
    let table = String::from_utf8(printed.stdout)?;
    assert!(printed.status.success() && !table.contains("shh"), "{table}");
    let listed = app.http.get("/v1/platforms?limit=200").await?.expect(200)?.json();
    let rows = listed["data"].as_array().cloned().unwrap_or_default();
    assert_eq!(rows.len(), latchkey_shared::platforms::BUILT_IN.len());
    assert_eq!(table.lines().count(), rows.len() + 1, "{table}");
    for (line, row) in table.lines().skip(1).zip(&rows) {
        let cells: Vec<&str> =
            line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let text = |value: &Value| value.as_str().unwrap_or("nothing").to_owned();
        let configured = if row["configured"] == true { "yes" } else { "no" };
        let expected =
            [text(&row["id"]), text(&row["name"]), text(&row["flow"]), configured.to_owned()];
        assert_eq!(cells[..4], expected, "{line}");
        assert_eq!(cells[4], row["accounts"], "{line}");
        assert_eq!(cells[7..], [text(&row["refreshModel"]), text(&row["revocation"]["reach"])]);
    }
    app.finish().await
}
