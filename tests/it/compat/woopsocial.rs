//! What WoopSocial promises of its OAuth URL.

use chrono::TimeDelta;
use latchkey_tests::TestApp;
use latchkey_tests::app::eventually;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::platforms::page;
use super::{
    Client, HOSTILE, ULID, another_workspace, approve, bad_requests, consent, count, dressed, key,
    problem, query, rows, text, workspace,
};

const URL: &str = "/social-accounts/authorization-url";
const BACK: &str = "https://app.example/done?tab=2";
const PLATFORMS: [(&str, &str); 9] = [
    ("PINTEREST", "PINTEREST"),
    ("LINKEDIN", "LINKEDIN_PERSON"),
    ("LINKEDIN_PAGES", "LINKEDIN_COMPANY"),
    ("INSTAGRAM", "INSTAGRAM"),
    ("FACEBOOK", "FACEBOOK_PAGE"),
    ("THREADS", "THREADS"),
    ("TIKTOK", "TIKTOK_PERSONAL"),
    ("X", "X"),
    ("YOUTUBE", "YOUTUBE"),
];

async fn client<'a>(app: &'a TestApp, role: &str) -> anyhow::Result<Client<'a>> {
    let key = key(app, role, None).await?;
    Client::new(app, ("/compat/woopsocial/v1", "authorization"), &key)
}

fn wanted(app: &TestApp, platform: &str) -> Value {
    json!({ "projectId": workspace(app), "platform": platform, "redirectUrl": BACK })
}

async fn start(client: &Client<'_>, platform: &str) -> anyhow::Result<Value> {
    let answer = client.post(URL, &wanted(client.app, platform)).await?.expect(200)?.json();
    assert_eq!(answer.as_object().map(serde_json::Map::len), Some(1), "{answer}");
    Ok(answer["url"].clone())
}

fn list(app: &TestApp) -> String {
    format!("/social-accounts?projectId={}", workspace(app))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_platform_of_its_enum_has_a_url() -> anyhow::Result<()> {
    let ours: Vec<&str> = PLATFORMS.iter().map(|(_, ours)| *ours).collect();
    let app = dressed(&ours).await?;
    let client = client(&app, "admin").await?;
    for (word, ours) in PLATFORMS {
        start(&client, word).await?;
        let row = app.row("SELECT platform FROM connects ORDER BY id DESC LIMIT 1").await?;
        assert_eq!(row["platform"], ours, "{word}");
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn success_redirects_with_project_platform_and_accounts() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let client = client(&app, "admin").await?;
    let back = approve(&app, &start(&client, "WOOPTEST").await?, "sam").await?.expect(303)?;
    let location = back.location().unwrap_or_default();
    assert!(location.starts_with("https://app.example/done?tab=2&status=success&"), "{location}");
    let told = query(location);
    let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["tab", "status", "projectId", "platform", "socialAccountIds"]);
    assert_eq!((told[2].1.as_str(), told[3].1.as_str()), (workspace(&app).as_str(), "WOOPTEST"));
    let rows = rows(&client, (&list(&app), "socialAccounts"), 1).await?;
    assert_eq!(text(&rows[0]["id"]), told[4].1);
    assert_eq!(
        (text(&rows[0]["platform"]), text(&rows[0]["projectId"])),
        ("WOOPTEST", workspace(&app).as_str())
    );
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_redirects_with_the_oauth_error() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let client = client(&app, "admin").await?;
    let url = start(&client, "WOOPTEST").await?;
    let callback = latchkey_tests::Person::new("sam")?.deny(text(&url)).await?;
    let back = app.http.browse(callback.as_str()).await?.expect(303)?;
    let expected = format!(
        "{BACK}&status=error&projectId={}&platform=WOOPTEST&error=access_denied",
        workspace(&app)
    );
    assert_eq!(back.location(), Some(expected.as_str()));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_missing_or_expired_is_an_http_error_without_redirect() -> anyhow::Result<()>
{
    let app = TestApp::start().await?;
    let client = client(&app, "admin").await?;
    let callback = consent(&start(&client, "WOOPTEST").await?, "sam").await?;
    let mut bare = callback.clone();
    bare.set_query(Some("code=abc"));
    let missing = app.http.browse(bare.as_str()).await?;
    assert_eq!((missing.status, missing.location()), (400, None));
    app.clock.advance(TimeDelta::minutes(11));
    let late = app.http.browse(callback.as_str()).await?;
    assert_eq!((late.status, late.location()), (410, None));
    eventually(|| async {
        Ok((app.row("SELECT status FROM connects").await?["status"] == "expired").then_some(()))
    })
    .await?;
    app.finish().await
}

/// More pages may come than the person meant: they choose on a page of ours, and all go to the one project.
#[tokio::test(flavor = "multi_thread")]
async fn facebook_shows_a_page_selection_after_authorization() -> anyhow::Result<()> {
    let app = dressed(&["FACEBOOK_PAGE"]).await?;
    app.sandbox.set_pages(
        "sam",
        ["7001", "7002", "7003"].map(|id| page(id, &["CREATE_CONTENT"])).to_vec(),
    );
    let client = client(&app, "admin").await?;
    let browser = app.browser();
    let callback = consent(&start(&client, "FACEBOOK").await?, "sam").await?;
    let led = browser.open(callback.as_str()).await?.expect(303)?;
    let picker = led.location().unwrap_or_default().trim_end_matches('#').to_owned();
    let form = browser.open(&picker).await?.expect(200)?;
    assert!(form.text.contains("Page 7001") && form.text.contains("Page 7003"), "{}", form.text);
    let chosen = [("candidate", "7001"), ("candidate", "7003")];
    browser.submit(&format!("{picker}/selection"), &chosen).await?.expect(303)?;
    let end = eventually(|| async {
        let answer = browser.open(&picker).await?;
        Ok((answer.status == 303).then_some(answer))
    });
    let end = end.await?;
    let told = query(end.location().unwrap_or_default());
    let ids = told
        .iter()
        .find(|(name, _)| name == "socialAccountIds")
        .map(|(_, ids)| ids.clone())
        .unwrap_or_default();
    let ids: Vec<&str> = ids.split(',').collect();
    assert_eq!(ids.len(), 2, "{told:?}");
    assert!(told.contains(&("platform".to_owned(), "FACEBOOK".to_owned())));
    for row in rows(&client, (&list(&app), "socialAccounts"), 2).await? {
        assert!(ids.contains(&text(&row["id"])) && text(&row["projectId"]) == workspace(&app));
    }
    app.finish().await
}

/// The person's browser on the page that lists what can be chosen.
async fn picking(
    client: &Client<'_>,
    browser: &latchkey_tests::app::Browser,
) -> anyhow::Result<String> {
    let callback = consent(&start(client, "FACEBOOK").await?, "sam").await?;
    let led = browser.open(callback.as_str()).await?.expect(303)?;
    Ok(led.location().unwrap_or_default().trim_end_matches('#').to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_page_is_chosen_as_well() -> anyhow::Result<()> {
    let app = dressed(&["FACEBOOK_PAGE"]).await?;
    app.sandbox.set_pages("sam", vec![page("7001", &["CREATE_CONTENT"])]);
    let client = client(&app, "admin").await?;
    let browser = app.browser();
    let picker = picking(&client, &browser).await?;
    let form = browser.open(&picker).await?.expect(200)?;
    assert!(form.text.contains("Page 7001") && form.text.contains(" checked"), "{}", form.text);
    rows(&client, (&list(&app), "socialAccounts"), 0).await?;
    let chosen = [("candidate", "7001")];
    browser.submit(&format!("{picker}/selection"), &chosen).await?.expect(303)?;
    rows(&client, (&list(&app), "socialAccounts"), 1).await?;
    app.finish().await
}

/// The page says so first.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_unticked_is_disconnected() -> anyhow::Result<()> {
    let app = dressed(&["FACEBOOK_PAGE"]).await?;
    let pages = ["7001", "7002", "7003"].map(|id| page(id, &["CREATE_CONTENT"]));
    app.sandbox.set_pages("sam", pages.to_vec());
    let client = client(&app, "admin").await?;
    let browser = app.browser();
    let picker = picking(&client, &browser).await?;
    let all = ["7001", "7002", "7003"].map(|id| ("candidate", id));
    browser.submit(&format!("{picker}/selection"), &all).await?.expect(303)?;
    let before = rows(&client, (&list(&app), "socialAccounts"), 3).await?;

    let picker = picking(&client, &browser).await?;
    let form = browser.open(&picker).await?.expect(200)?;
    assert_eq!(form.text.matches(" checked").count(), 3, "{}", form.text);
    assert!(form.text.contains("Unticked, it is disconnected"), "{}", form.text);
    let post = format!("{picker}/selection");
    let asked = browser.submit(&post, &[("candidate", "7001")]).await?.expect(200)?;
    assert!(
        asked.text.contains("Going on disconnects <b>Page 7002</b>, <b>Page 7003</b>"),
        "{}",
        asked.text
    );
    assert_eq!(asked.text.matches(" checked").count(), 1);
    rows(&client, (&list(&app), "socialAccounts"), 3).await?;
    // What was not told of is asked about again; what was ticked again stays.
    let more = [("candidate", "7002"), ("disconnect", "7002"), ("disconnect", "7003")];
    let asked = browser.submit(&post, &more).await?.expect(200)?;
    assert!(
        asked.text.contains("Going on disconnects <b>Page 7001</b>, <b>Page 7003</b>"),
        "{}",
        asked.text
    );
    let told = [
        ("candidate", "7001"),
        ("candidate", "7002"),
        ("disconnect", "7001"),
        ("disconnect", "7003"),
    ];
    browser.submit(&post, &told).await?.expect(303)?;
    let left = rows(&client, (&list(&app), "socialAccounts"), 2).await?;
    let gone = before.iter().find(|row| left.iter().all(|kept| kept["id"] != row["id"]));
    let gone = text(&gone.cloned().unwrap_or_default()["id"]).to_owned();
    let gone =
        app.account_until(&gone, |account| account["revocation"]["status"] != "pending").await?;
    assert_eq!(gone["status"], "disconnected");
    assert_eq!(gone["revocation"]["status"], "kept_for_other_accounts", "{gone:#}");
    let told = app.event("account.disconnected", text(&gone["id"])).await?;
    assert_eq!(told["data"]["by"], "person", "{told:#}");
    // What stayed lives by the new consent.
    app.clock.advance(TimeDelta::hours(25));
    for row in &left {
        let account = app
            .account_until(text(&row["id"]), |account| account["reauthDueAt"].is_string())
            .await?;
        assert_eq!(account["status"], "connected", "{account:#}");
    }
    assert!(app.sandbox.families().iter().any(|family| family.alive), "no consent was ended");
    app.finish().await
}

/// The refusal says by which setting a workspace allows more.
#[tokio::test(flavor = "multi_thread")]
async fn the_browser_is_led_to_any_host_that_the_workspace_allows() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let client = client(&app, "admin").await?;
    let inner = "http://intranet.test:8080/done";
    let at = |url: &str| {
        let mut body = wanted(&app, "WOOPTEST");
        body["redirectUrl"] = json!(url);
        body
    };
    let refused = client.post(URL, &at(inner)).await?;
    problem(&refused, 400, "REDIRECT_NOT_ALLOWED");
    assert!(text(&refused.json()["detail"]).contains("redirectAllowlist"), "{}", refused.text);
    let list = json!({ "redirectAllowlist": [inner, "https://app.example/done"] });
    app.http.patch(&app.path(""), &list).await?.expect(200)?;
    let with_more = format!("{inner}?tab=1#top");
    let url = client.post(URL, &at(&with_more)).await?.expect(200)?.json()["url"].clone();
    let back = approve(&app, &url, "sam").await?.expect(303)?;
    let location = back.location().unwrap_or_default();
    assert!(location.starts_with(&format!("{inner}?tab=1&status=success&")), "{location}");
    assert!(location.ends_with("#top"), "{location}");
    for elsewhere in
        ["http://intranet.test/done", "https://app.example/", "https://other.example/done"]
    {
        let refused = client.post(URL, &at(elsewhere)).await?;
        problem(&refused, 400, "REDIRECT_NOT_ALLOWED");
        assert!(text(&refused.json()["detail"]).contains("redirectAllowlist"), "{}", refused.text);
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_carries_tokens_or_credentials() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let client = client(&app, "admin").await?;
    let back = approve(&app, &start(&client, "WOOPTEST").await?, "sam").await?.expect(303)?;
    let location = back.location().unwrap_or_default();
    let secrets = app.sandbox.secrets();
    assert!(!secrets.is_empty());
    assert!(secrets.iter().all(|secret| !location.contains(secret.as_str())), "{location}");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_redirect_url_the_person_sees_a_page_of_ours() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let client = client(&app, "admin").await?;
    let body = json!({ "projectId": workspace(&app), "platform": "WOOPTEST" });
    let url = client.post(URL, &body).await?.expect(200)?.json()["url"].clone();
    let led = approve(&app, &url, "sam").await?.expect(303)?;
    assert!(led.location().is_some_and(|location| location.contains("/connect/con_")));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_and_accounts_are_those_that_the_key_reaches() -> anyhow::Result<()> {
    let app = dressed(&["BLUESKY"]).await?;
    let client = client(&app, "viewer").await?;
    app.connect("sam").await?;
    let other = another_workspace(&app).await?;
    let projects = client.get("/projects").await?.expect(200)?.json();
    let ids: Vec<&str> =
        projects["projects"].as_array().into_iter().flatten().map(|row| text(&row["id"])).collect();
    assert_eq!(ids, [workspace(&app).as_str(), other.as_str()]);
    assert_eq!(rows(&client, (&list(&app), "socialAccounts"), 1).await?.len(), 1);
    let limited = client.with_key(&key(&app, "viewer", Some(&other)).await?);
    let seen = limited.get("/projects").await?.expect(200)?.json();
    assert_eq!(seen["projects"].as_array().map(Vec::len), Some(1));
    let own = limited.get("/social-accounts").await?.expect(200)?.json();
    assert_eq!(own["socialAccounts"], json!([]), "the key's own project");
    problem(&limited.get(&list(&app)).await?, 404, "WORKSPACE_NOT_FOUND");
    problem(&client.get("/social-accounts").await?, 403, "FORBIDDEN_REACH");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_key() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let client = client(&app, "viewer").await?;
    let answer = client.send(client.without_key(Method::GET, "/health")).await?.expect(200)?;
    assert_eq!(answer.json(), json!({ "status": "ok" }));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let client = client(&app, "admin").await?;
    bad_requests(&client, (URL, &wanted(&app, "WOOPTEST")), problem).await?;
    let invalid = "VALIDATION_FAILED";
    for (field, value, status, code) in [
        ("platform", json!("SANDBOX"), 400, invalid),
        ("platform", json!("BLUESKY"), 400, invalid),
        ("platform", json!("x"), 400, invalid),
        ("platform", Value::Null, 400, invalid),
        ("redirectUrl", Value::Null, 400, invalid),
        ("redirectUrl", json!(7), 400, invalid),
        ("projectId", json!(7), 400, invalid),
        ("color", json!("red"), 400, invalid),
        ("projectId", json!("ws_1"), 404, "WORKSPACE_NOT_FOUND"),
        ("projectId", json!(format!("ws_{ULID}")), 404, "WORKSPACE_NOT_FOUND"),
        ("projectId", json!(app.another_tenant().await?.workspace_id), 404, "WORKSPACE_NOT_FOUND"),
        ("platform", json!("X"), 422, "PLATFORM_NOT_CONFIGURED"),
    ] {
        let mut body = wanted(&app, "WOOPTEST");
        body[field] = value;
        let refused = client.post(URL, &body).await?;
        problem(&refused, status, code);
        if status != 422 {
            assert_eq!(text(&refused.json()["errors"][0]["pointer"]), format!("/{field}"));
        }
    }
    for url in HOSTILE {
        let mut body = wanted(&app, "WOOPTEST");
        body["redirectUrl"] = json!(url);
        let refused = client.post(URL, &body).await?;
        problem(&refused, 400, "REDIRECT_NOT_ALLOWED");
        assert_eq!(text(&refused.json()["errors"][0]["pointer"]), "/redirectUrl", "{url}");
    }
    let viewer = client.with_key(&key(&app, "viewer", None).await?);
    problem(&viewer.post(URL, &wanted(&app, "WOOPTEST")).await?, 403, "FORBIDDEN_ROLE");
    assert_eq!(count(&app, "connects").await?, 0);
    app.finish().await
}
