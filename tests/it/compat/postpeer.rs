//! What PostPeer promises of its connect flow, its apps and profiles.

mod apps;

use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, eventually};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Client, HOSTILE, ULID, another_workspace, approve, bad_requests, count, dressed, key, problem,
    query, rows, text, workspace,
};

const CLIENT: &str = "acme-client";
const SECRET: &str = "acme-secret-of-last-year-0123456789";
const LIST: (&str, &str) = ("/v1/connect/integrations", "integrations");
const BLUESKY: &str = "/v1/connect/bluesky/auth";
const PLATFORMS: [(&str, &str); 8] = [
    ("twitter", "X"),
    ("youtube", "YOUTUBE"),
    ("tiktok", "TIKTOK_PERSONAL"),
    ("facebook", "FACEBOOK_PAGE"),
    ("threads", "THREADS"),
    ("pinterest", "PINTEREST"),
    ("linkedin", "LINKEDIN_PERSON"),
    ("instagram", "INSTAGRAM"),
];

async fn client<'a>(app: &'a TestApp, role: &str) -> anyhow::Result<Client<'a>> {
    let key = key(app, role, Some(&workspace(app))).await?;
    Client::new(app, ("/compat/postpeer", "x-access-key"), &key)
}

async fn start(client: &Client<'_>, path: &str) -> anyhow::Result<Value> {
    let answer = client.get(&format!("/v1/connect/{path}")).await?.expect(200)?.json();
    assert_eq!(answer.as_object().map(serde_json::Map::len), Some(1), "{answer}");
    Ok(answer["url"].clone())
}

fn app_body() -> Value {
    json!({ "platform": "twitter", "name": "Acme Twitter OAuth App", "clientId": CLIENT, "clientSecret": SECRET })
}

async fn make_app(client: &Client<'_>) -> anyhow::Result<String> {
    client.app.sandbox.set_client(CLIENT, &[SECRET]);
    let made = client.post("/v1/apps/", &app_body()).await?.expect(201)?.json();
    Ok(text(&made["app"]["id"]).to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_platform_has_a_url() -> anyhow::Result<()> {
    let mut ours: Vec<&str> = PLATFORMS.iter().map(|(_, ours)| *ours).collect();
    ours.push("BLUESKY");
    let app = dressed(&ours).await?;
    let client = client(&app, "admin").await?;
    for (word, ours) in PLATFORMS {
        let url = start(&client, word).await?;
        assert!(
            query(text(&url)).contains(&("response_type".to_owned(), "code".to_owned())),
            "{url}"
        );
        let row = app.row("SELECT platform FROM connects ORDER BY id DESC LIMIT 1").await?;
        assert_eq!(row["platform"], ours, "{word}");
    }
    assert!(text(&start(&client, "bluesky").await?).contains("/connect/con_"), "a form of ours");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_is_not_available_is_forbidden() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let client = client(&app, "admin").await?;
    for word in ["mastodon", "SANDBOX", "sandbox", "X", "Twitter", "%00", "%FF"] {
        let answer = client.get(&format!("/v1/connect/{word}")).await?;
        if word == "%FF" {
            problem(&answer, 404, "NOT_FOUND");
        } else {
            problem(&answer, 403, "PLATFORM_UNKNOWN");
        }
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_without_credentials_is_a_500() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let client = client(&app, "admin").await?;
    problem(&client.get("/v1/connect/twitter").await?, 500, "PLATFORM_NOT_CONFIGURED");
    let login = json!({ "identifier": "a.test", "password": "abcd-efgh-2345-z7z7" });
    problem(&client.post(BLUESKY, &login).await?, 500, "PLATFORM_NOT_CONFIGURED");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_success_the_browser_returns_to_redirect_uri() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    let url = start(&client, "twitter?redirectUri=https://yourapp.com/connected?a=b").await?;
    let back = approve(&app, &url, "sam").await?.expect(303)?;
    let location = back.location().unwrap_or_default();
    assert!(
        location.starts_with("https://yourapp.com/connected?a=b&status=success&platform=twitter"),
        "{location}"
    );
    let rows = rows(&client, LIST, 1).await?;
    assert!(location.contains(text(&rows[0]["id"])));
    assert_eq!(text(&rows[0]["platform"]), "twitter");
    app.finish().await
}

/// `redirectUri` is for a success: our own page tells a denial.
#[tokio::test(flavor = "multi_thread")]
async fn a_denial_does_not_lead_to_redirect_uri() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    let url = start(&client, "twitter?redirectUri=https://yourapp.com/connected").await?;
    let callback = latchkey_tests::Person::new("sam")?.deny(text(&url)).await?;
    let browser = app.browser();
    let back = browser.open(callback.as_str()).await?.expect(303)?;
    let page = back.location().unwrap_or_default();
    assert!(page.contains("/connect/con_"), "{page}");
    let shown = browser.open(page).await?.expect(200)?;
    assert!(shown.text.contains("You did not give access"), "{}", shown.text);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redirect_uri_the_flow_ends_on_a_page_of_ours() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    let back = approve(&app, &start(&client, "twitter").await?, "sam").await?.expect(303)?;
    assert!(back.location().is_some_and(|location| location.contains("/connect/con_")));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_binds_the_integration_and_the_list_finds_it() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    let body = json!({ "name": "Acme Co", "description": "Marketing", "color": "red" });
    let made = client.post("/v1/profiles/", &body).await?.expect(201)?.json()["profile"].clone();
    assert_eq!((text(&made["name"]), text(&made["description"])), ("Acme Co", "Marketing"));
    let id = text(&made["id"]);
    approve(&app, &start(&client, "twitter").await?, "ann").await?.expect(303)?;
    approve(&app, &start(&client, &format!("twitter?profileId={id}")).await?, "sam")
        .await?
        .expect(303)?;
    rows(&client, LIST, 2).await?;
    let path = format!("{}?profileId={id}", LIST.0);
    let rows = rows(&client, (&path, LIST.1), 1).await?;
    assert_eq!(text(&rows[0]["profileId"]), id);
    for path in ["/v1/profiles/", "/v1/profiles"] {
        let listed = client.get(path).await?.expect(200)?.json();
        assert_eq!(listed["profiles"][0], made);
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_carries_its_state_and_can_be_disconnected() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    approve(&app, &start(&client, "twitter").await?, "sam").await?.expect(303)?;
    let row = rows(&client, LIST, 1).await?[0].clone();
    assert_eq!(text(&row["status"]), "connected");
    let id = text(&row["id"]);
    app.sandbox.revoke_user("sam");
    app.http.post(&app.path(&format!("/accounts/{id}/refresh")), &json!({})).await?.expect(202)?;
    app.account_until(id, |account| account["status"] == "token_expired").await?;
    assert_eq!(text(&rows(&client, LIST, 1).await?[0]["status"]), "token_expired");
    let path = format!("{}/{id}", LIST.0);
    for _ in 0..2 {
        assert_eq!(client.delete(&path).await?.expect(200)?.json(), json!({ "success": true }));
    }
    rows(&client, LIST, 0).await?;
    problem(&client.delete(&format!("{}/acc_{ULID}", LIST.0)).await?, 404, "NOT_FOUND");
    let viewer = client.with_key(&key(&app, "viewer", Some(&workspace(&app))).await?);
    problem(&viewer.delete(&path).await?, 403, "FORBIDDEN_ROLE");
    app.finish().await
}

/// A profile is somebody: what one connected, another does not take by connecting it as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_profile_never_takes_an_integration() -> anyhow::Result<()> {
    let app = dressed(&["X", "BLUESKY"]).await?;
    let client = client(&app, "admin").await?;
    let mut profiles = Vec::new();
    for name in ["Ann", "Ben"] {
        let made = client.post("/v1/profiles/", &json!({ "name": name })).await?.expect(201)?;
        profiles.push(text(&made.json()["profile"]["id"]).to_owned());
    }
    let [ann, ben] = [&profiles[0], &profiles[1]];
    let of = |profile: &str| format!("twitter?profileId={profile}");
    approve(&app, &start(&client, &of(ann)).await?, "sam").await?.expect(303)?;
    let first = rows(&client, LIST, 1).await?[0].clone();
    let led = approve(&app, &start(&client, &of(ben)).await?, "sam").await?.expect(303)?;
    let row = app.row("SELECT reason_code FROM connects ORDER BY id DESC LIMIT 1").await?;
    assert_eq!(row["reason_code"], "ACCOUNT_OF_ANOTHER_PROFILE", "{:?}", led.location());
    assert_eq!(rows(&client, LIST, 1).await?[0], first, "nothing was changed");
    let password = app.sandbox.app_password("sam");
    let login = |profile: &str| json!({ "identifier": "sam.test", "password": password, "profileId": profile });
    client.post(BLUESKY, &login(ann)).await?.expect(200)?;
    let refused = client.post(BLUESKY, &login(ben)).await?;
    problem(&refused, 422, "CONNECT_FAILED");
    assert!(refused.text.contains("ACCOUNT_OF_ANOTHER_PROFILE"), "{}", refused.text);
    // Disconnected, it is anybody's again.
    client.delete(&format!("{}/{}", LIST.0, text(&first["id"]))).await?.expect(200)?;
    approve(&app, &start(&client, &of(ben)).await?, "sam").await?.expect(303)?;
    let rows = rows(&client, (&format!("{}?profileId={ben}", LIST.0), LIST.1), 1).await?;
    assert_eq!(rows[0]["id"], first["id"]);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn bluesky_takes_an_app_password_and_answers_the_integration() -> anyhow::Result<()> {
    let app = dressed(&["BLUESKY"]).await?;
    let client = client(&app, "admin").await?;
    let password = app.sandbox.app_password("sam");
    for identifier in ["sam.test".to_owned(), app.sandbox.did("sam")] {
        let login = json!({ "identifier": identifier, "password": password, "color": "red" });
        let made = client.post(BLUESKY, &login).await?.expect(200)?.json()["integration"].clone();
        assert_eq!(text(&made["platform"]), "bluesky");
        assert_eq!(app.account(text(&made["id"])).await?["status"], "connected");
        assert_eq!(rows(&client, LIST, 1).await?[0]["id"], made["id"]);
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bluesky_integration_belongs_to_its_profile() -> anyhow::Result<()> {
    let app = dressed(&["BLUESKY"]).await?;
    let client = client(&app, "admin").await?;
    let body = json!({ "name": "Acme Co" });
    let made = client.post("/v1/profiles/", &body).await?.expect(201)?.json()["profile"].clone();
    let profile = text(&made["id"]);
    for (user, path, mut login) in [
        ("sam", BLUESKY.to_owned(), json!({ "profileId": profile })),
        ("kim", format!("{BLUESKY}?profileId={profile}"), json!({})),
    ] {
        login["identifier"] = json!(format!("{user}.test"));
        login["password"] = json!(app.sandbox.app_password(user));
        let made = client.post(&path, &login).await?.expect(200)?.json()["integration"].clone();
        assert_eq!(text(&made["profileId"]), profile, "{user}");
    }
    let login = json!({ "identifier": "ann.test", "password": app.sandbox.app_password("ann"),
                        "profileId": "prof_01JCZ5M2V8Q4T6W8Y0A2B4C6D8" });
    problem(&client.post(BLUESKY, &login).await?, 404, "PROFILE_NOT_FOUND");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_an_account_is_refused() -> anyhow::Result<()> {
    let app = dressed(&["BLUESKY"]).await?;
    let client = client(&app, "admin").await?;
    let own = app.sandbox.account_password("sam");
    let disguised = app.sandbox.account_password_in_disguise("sam");
    for password in [own, disguised] {
        let login = json!({ "identifier": "sam.test", "password": password });
        let refused = client.post(BLUESKY, &login).await?;
        problem(&refused, 400, "APP_PASSWORD_REQUIRED");
        assert_eq!(text(&refused.json()["errors"][0]["pointer"]), "/password");
        assert!(!refused.text.contains(&password));
    }
    let login = json!({ "identifier": "sam.test", "password": app.sandbox.app_password("ann") });
    let refused = client.post(BLUESKY, &login).await?;
    problem(&refused, 422, "CONNECT_FAILED");
    assert!(refused.text.contains("APP_PASSWORD_REFUSED"), "{}", refused.text);
    eventually(|| async {
        Ok(app.sandbox.families().iter().all(|family| !family.alive).then_some(()))
    })
    .await?;
    app.finish().await
}

/// After the 504 nothing is connected, whatever the platform answers in the end.
#[tokio::test(flavor = "multi_thread")]
async fn bluesky_too_slow_is_a_504_within_15_seconds() -> anyhow::Result<()> {
    let app = dressed(&["BLUESKY"]).await?;
    let client = client(&app, "admin").await?;
    let late = Fault::Delay { ms: 17_000 };
    app.sandbox.inject(FaultRule::new(Endpoint::TokenCode, late).after().times(1));
    let login = json!({ "identifier": "sam.test", "password": app.sandbox.app_password("sam") });
    let begun = std::time::Instant::now();
    let answer = client.post(BLUESKY, &login).await?;
    assert!(begun.elapsed().as_secs_f64() < 15.0, "{:?}", begun.elapsed());
    problem(&answer, 504, "CONNECT_TIMEOUT");
    assert_eq!(client.get(LIST.0).await?.expect(200)?.json()["total"], 0);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_a_workspace_is_told_so() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?.with_key(app.owner.expose_key());
    for path in ["/v1/connect/twitter", LIST.0, "/v1/apps/", "/v1/profiles/"] {
        problem(&client.get(path).await?, 403, "FORBIDDEN_REACH");
    }
    for (path, body) in [("/v1/apps/", app_body()), ("/v1/profiles/", json!({ "name": "a" }))] {
        problem(&client.post(path, &body).await?, 403, "FORBIDDEN_REACH");
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_workspace_s_things_are_unknown() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "owner").await?;
    let id = make_app(&client).await?;
    let profile = client.post("/v1/profiles/", &json!({ "name": "a" })).await?.expect(201)?.json();
    let profile = text(&profile["profile"]["id"]);
    let other = another_workspace(&app).await?;
    let there = client.with_key(&key(&app, "owner", Some(&other)).await?);
    for (query, code) in [("appId", "APP_NOT_FOUND"), ("profileId", "PROFILE_NOT_FOUND")] {
        let own = if query == "appId" { id.as_str() } else { profile };
        let path = format!("/v1/connect/twitter?{query}={own}");
        let refused = there.get(&path).await?;
        problem(&refused, 404, code);
        assert_eq!(text(&refused.json()["errors"][0]["parameter"]), query);
    }
    problem(&there.delete(&format!("/v1/apps/{id}")).await?, 404, "NOT_FOUND");
    let body = json!({ "clientSecret": "abc" });
    problem(&there.post(&format!("/v1/apps/{id}/secret"), &body).await?, 404, "NOT_FOUND");
    assert_eq!(there.get("/v1/apps/").await?.expect(200)?.json()["apps"], json!([]));
    assert_eq!(there.get("/v1/profiles/").await?.expect(200)?.json()["profiles"], json!([]));
    let listed = there.get(&format!("{}?profileId={profile}", LIST.0)).await?.expect(200)?.json();
    assert_eq!(listed["integrations"], json!([]));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told() -> anyhow::Result<()> {
    let app = dressed(&["X", "BLUESKY"]).await?;
    let client = client(&app, "owner").await?;
    let login = json!({ "identifier": "sam.test", "password": "abcd-efgh-2345-z7z7" });
    bad_requests(&client, (BLUESKY, &login), problem).await?;
    bad_requests(&client, ("/v1/apps/", &app_body()), problem).await?;
    bad_requests(&client, ("/v1/profiles/", &json!({ "name": "a" })), problem).await?;
    let bearer = client.http.get(format!("{}/compat/postpeer{}", app.http.base(), LIST.0));
    let refused = app.http.send(bearer.bearer_auth(&client.key)).await?;
    problem(&refused, 401, "UNAUTHORIZED");
    assert!(text(&refused.json()["detail"]).contains("x-access-key"), "{}", refused.text);
    let invalid = "VALIDATION_FAILED";
    for (name, value, status, code) in [
        ("profileId", "65ab123".to_owned(), 400, invalid),
        ("appId", "app_123".to_owned(), 400, invalid),
        ("profileId", format!("prof_{ULID}"), 404, "PROFILE_NOT_FOUND"),
        ("appId", format!("app_{ULID}"), 404, "APP_NOT_FOUND"),
    ] {
        let refused = client.get(&format!("/v1/connect/twitter?{name}={value}")).await?;
        problem(&refused, status, code);
        assert_eq!(text(&refused.json()["errors"][0]["parameter"]), name);
    }
    for url in HOSTILE {
        let request =
            client.request(Method::GET, "/v1/connect/twitter").query(&[("redirectUri", url)]);
        let refused = client.send(request).await?;
        problem(&refused, 400, "REDIRECT_NOT_ALLOWED");
        assert_eq!(text(&refused.json()["errors"][0]["parameter"]), "redirectUri", "{url}");
    }
    for platform in ["sandbox", "bluesky", "X"] {
        let mut body = app_body();
        body["platform"] = json!(platform);
        problem(&client.post("/v1/apps/", &body).await?, 400, invalid);
    }
    let bad = json!({ "identifier": "sam@example.com", "password": "abcd-efgh-2345-z7z7" });
    let refused = client.post(BLUESKY, &bad).await?;
    problem(&refused, 400, invalid);
    assert_eq!(text(&refused.json()["errors"][0]["pointer"]), "/identifier");
    let viewer = client.with_key(&key(&app, "viewer", Some(&workspace(&app))).await?);
    for path in ["/v1/connect/twitter", "/v1/apps/"] {
        problem(&viewer.get(path).await?, 403, "FORBIDDEN_ROLE");
    }
    problem(&viewer.post(BLUESKY, &login).await?, 403, "FORBIDDEN_ROLE");
    assert_eq!(count(&app, "connects").await?, 0);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connect_begins_while_too_much_waits() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options {
        platforms: latchkey_tests::app::worn(&["X"]),
        pools: vec![latchkey_worker::settings::Pool::Sweeps],
        serve: |config| config.common.outbox_max = 1,
        ..Options::default()
    })
    .await?;
    let client = client(&app, "admin").await?;
    app.execute("INSERT INTO outbox (id, kind, routing_key, body, available_at, created_at) SELECT 'msg_' || n, 'test', 'x', '{}', now() + interval '1 day', now() FROM generate_series(1, 3) n").await?;
    // How much waits is looked at once a second. This makes nothing, whatever it is answered.
    let nonsense = || async { app.http.post("/v1/workspaces", &json!({})).await };
    eventually(|| async { Ok((nonsense().await?.status == 503).then_some(())) }).await?;
    problem(&client.get("/v1/connect/twitter").await?, 503, "OUTBOX_FULL");
    app.execute("DELETE FROM outbox WHERE kind = 'test'").await?;
    app.finish().await
}
