//! What Ocoya promises of its connection URL.

use latchkey_tests::TestApp;
use latchkey_tests::app::Answer;
use latchkey_tests::sandbox::Page;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::platforms::page;
use super::sign_in::sign_in;
use super::{
    Client, ULID, another_workspace, bad_requests, count, dressed, key, problem, query, text,
    workspace,
};

const PLATFORMS: [(&str, &str); 5] = [
    ("facebook", "FACEBOOK_PAGE"),
    ("instagram", "INSTAGRAM"),
    ("x", "X"),
    ("linkedin", "LINKEDIN_PERSON"),
    ("pinterest", "PINTEREST"),
];

async fn client<'a>(app: &'a TestApp, role: &str) -> anyhow::Result<Client<'a>> {
    let key = key(app, role, None).await?;
    Client::new(app, ("/compat/ocoya/api/_public/v1", "X-API-Key"), &key)
}

fn path(workspace: &str) -> String {
    format!("/social-profiles/connection-url?workspaceId={workspace}")
}

async fn url_for(client: &Client<'_>, provider: &str) -> anyhow::Result<String> {
    let body = json!({ "provider": provider });
    let answer = client.post(&path(&workspace(client.app)), &body).await?.expect(200)?.json();
    assert_eq!(answer.as_object().map(serde_json::Map::len), Some(1), "{answer}");
    Ok(text(&answer["url"]).to_owned())
}

fn pages() -> Vec<Page> {
    ["7001", "7002", "7003"].map(|id| page(id, &["CREATE_CONTENT"])).to_vec()
}

/// Where the page leads by itself.
fn leads_to(page: &Answer) -> Value {
    let (_, rest) = page.text.split_once("; url=").unwrap_or_default();
    let url = rest.split('"').next().unwrap_or_default();
    json!(url.replace("&#38;", "&").replace("&amp;", "&"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_of_its_enum_has_a_url_that_begins_nothing() -> anyhow::Result<()> {
    let ours: Vec<&str> = PLATFORMS.iter().map(|(_, ours)| *ours).collect();
    let app = dressed(&ours).await?;
    let client = client(&app, "admin").await?;
    for (provider, _) in PLATFORMS {
        let url = url_for(&client, provider).await?;
        let expected = format!(
            "/compat/ocoya/api/social-connect/start?provider={provider}&workspaceId={}",
            workspace(&app)
        );
        assert!(url.ends_with(&expected), "{url}");
    }
    assert_eq!(count(&app, "connects").await?, 0);
    app.finish().await
}

/// From a browser that nobody is signed in at to two connected pages.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_from_signed_out_to_connected_works() -> anyhow::Result<()> {
    let app = dressed(&["FACEBOOK_PAGE"]).await?;
    app.sandbox.set_pages("sam", pages());
    let client = client(&app, "admin").await?;
    let start = url_for(&client, "facebook").await?;
    let browser = app.browser();
    let led = browser.open(&start).await?.expect(303)?;
    let sign_in = led.location().unwrap_or_default().to_owned();
    assert!(sign_in.contains("/sign-in?next="), "{sign_in}");
    let form = browser.open(&sign_in).await?.expect(200)?;
    assert!(form.text.contains("API key"), "{}", form.text);
    let next = query(&sign_in)
        .into_iter()
        .find(|(name, _)| name == "next")
        .map(|(_, next)| next)
        .unwrap_or_default();
    let key = key(&app, "admin", Some(&workspace(&app))).await?;
    let back = browser.submit("/sign-in", &[("key", &key), ("next", &next)]).await?.expect(303)?;
    let confirm = browser.open(back.location().unwrap_or_default()).await?.expect(200)?;
    assert!(confirm.text.contains("Facebook") && confirm.text.contains("Demo"), "{}", confirm.text);
    assert_eq!(count(&app, "connects").await?, 0, "looking begins nothing");
    let leading = browser.submit(&start, &[]).await?.expect(200)?;
    assert_eq!(count(&app, "connects").await?, 1);
    let callback = super::consent(&leads_to(&leading), "sam").await?;
    let picker = browser.open(callback.as_str()).await?.expect(303)?;
    let picker = picker.location().unwrap_or_default().trim_end_matches('#').to_owned();
    let shown = browser.open(&picker).await?.expect(200)?;
    assert!(shown.text.contains("Page 7002"), "{}", shown.text);
    let chosen = [("candidate", "7001"), ("candidate", "7002")];
    browser.submit(&format!("{picker}/selection"), &chosen).await?.expect(303)?;
    let accounts = app.path("/accounts");
    let accounts = latchkey_tests::app::eventually(|| async {
        let list = app.http.get(&accounts).await?.expect(200)?.json();
        Ok((list["data"].as_array().map(Vec::len) == Some(2)).then_some(list))
    })
    .await?;
    assert_eq!(accounts["data"][0]["status"], "connected");
    app.finish().await
}

/// One word stands for two kinds of accounts: the person says which is meant.
#[tokio::test(flavor = "multi_thread")]
async fn linkedin_offers_the_member_and_organisations() -> anyhow::Result<()> {
    let app = dressed(&["LINKEDIN_PERSON", "LINKEDIN_COMPANY"]).await?;
    let client = client(&app, "admin").await?;
    let start = url_for(&client, "linkedin").await?;
    let browser = app.browser();
    sign_in(&browser, app.owner.expose_key()).await?;
    let confirm = browser.open(&start).await?.expect(200)?;
    for shown in ["Your own profile", "Organisations that you administer", "type=\"radio\""] {
        assert!(confirm.text.contains(shown), "{shown} is not on {}", confirm.text);
    }
    let wrong = browser.submit(&start, &[("kind", "X")]).await?;
    assert_eq!(wrong.status, 400, "{}", wrong.text);
    for (count, kind) in [(1, "LINKEDIN_PERSON"), (2, "LINKEDIN_COMPANY")] {
        let leading = browser.submit(&start, &[("kind", kind)]).await?.expect(200)?;
        let callback = super::consent(&leads_to(&leading), "sam").await?;
        browser.open(callback.as_str()).await?.expect(303)?;
        let path = format!("/social-profiles?workspaceId={}", workspace(&app));
        let profiles = super::rows(&client, (&path, ""), count).await?;
        let last = &profiles[count - 1];
        assert_eq!((text(&last["provider"]), text(&last["status"])), ("linkedin", "connected"));
        assert!(!text(&last["name"]).is_empty() && last["image"] != json!(""), "{last}");
        let row = app.row("SELECT platform FROM accounts ORDER BY id DESC LIMIT 1").await?;
        assert_eq!(row["platform"], kind);
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_connected_can_be_listed() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "viewer").await?;
    let path = format!("/social-profiles?workspaceId={}", workspace(&app));
    assert_eq!(client.get(&path).await?.expect(200)?.json(), json!([]));
    app.connect("sam").await?;
    let started = app.start_connect(json!({ "platform": "X" })).await?;
    app.approve(&started, &latchkey_tests::Person::new("sam")?).await?.expect(303)?;
    let ended = app.ended(text(&started["connectId"])).await?;
    let listed = client.get(&path).await?.expect(200)?.json();
    let id = &ended["accountIds"][0];
    assert_eq!(
        (listed.as_array().map(Vec::len), &listed[0]["id"]),
        (Some(1), id),
        "no sandbox: {listed}"
    );
    let whole = client.with_key(app.owner.expose_key());
    app.http.delete(&app.path(&format!("/accounts/{}", text(id)))).await?.expect(202)?;
    assert_eq!(whole.get(&path).await?.expect(200)?.json(), json!([]));
    let other = format!("/social-profiles?workspaceId=ws_{ULID}");
    problem(&whole.get(&other).await?, 400, "VALIDATION_FAILED");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_needs_a_session_of_role_admin_in_that_workspace() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    let start = url_for(&client, "x").await?;
    let other = another_workspace(&app).await?;
    let rival = app.another_tenant().await?;
    for (key, status) in [
        (key(&app, "viewer", None).await?, 403),
        (key(&app, "admin", Some(&other)).await?, 403),
        (rival.expose_key().to_owned(), 403),
        (key(&app, "admin", Some(&workspace(&app))).await?, 200),
        (app.owner.expose_key().to_owned(), 200),
    ] {
        let browser = app.browser();
        sign_in(&browser, &key).await?;
        assert_eq!(browser.open(&start).await?.status, status);
        let begun = browser.submit(&start, &[]).await?;
        assert_eq!(begun.status, status, "{}", begun.text);
    }
    let nobody = app.browser();
    let led = nobody.submit(&start, &[]).await?.expect(303)?;
    assert!(led.location().is_some_and(|location| location.contains("/sign-in?next=")));
    assert_eq!(count(&app, "connects").await?, 2);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_elsewhere_begins_nothing() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    let start = url_for(&client, "x").await?;
    let browser = app.browser();
    sign_in(&browser, app.owner.expose_key()).await?;
    for origin in ["https://evil.example", "null"] {
        let refused = browser.at(origin).submit(&start, &[]).await?;
        assert_eq!(refused.status, 403, "{origin}");
    }
    assert_eq!(count(&app, "connects").await?, 0);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_wrong_is_told_on_a_page() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let browser = app.browser();
    sign_in(&browser, app.owner.expose_key()).await?;
    let start = "/compat/ocoya/api/social-connect/start";
    for (query, status) in [
        (String::new(), 400),
        (format!("provider=tiktok&workspaceId={}", workspace(&app)), 400),
        ("provider=x&workspaceId=ws_1".to_owned(), 400),
        (format!("provider=x&workspaceId=ws_{ULID}"), 403),
    ] {
        let path = format!("{start}?{query}");
        for answer in [browser.open(&path).await?, browser.submit(&path, &[]).await?] {
            assert_eq!(answer.status, status, "{query}: {}", answer.text);
            assert!(answer.headers["content-type"].to_str()?.starts_with("text/html"));
        }
    }
    let unset = format!("{start}?provider=pinterest&workspaceId={}", workspace(&app));
    assert_eq!(browser.submit(&unset, &[]).await?.status, 422);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_are_those_that_the_key_reaches() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let client = client(&app, "viewer").await?;
    let other = another_workspace(&app).await?;
    let all = client.get("/workspaces").await?.expect(200)?.json();
    let expected = json!([
        { "id": workspace(&app), "name": "Demo" },
        { "id": other, "name": "Other" },
    ]);
    assert_eq!(all, expected);
    let limited = client.with_key(&key(&app, "viewer", Some(&other)).await?);
    let own = limited.get("/workspaces").await?.expect(200)?.json();
    assert_eq!(own, json!([{ "id": other, "name": "Other" }]));
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "admin").await?;
    let good = json!({ "provider": "x" });
    bad_requests(&client, (&path(&workspace(&app)), &good), problem).await?;
    for provider in [json!("tiktok"), json!("X"), json!("sandbox"), json!(7), Value::Null] {
        let body = json!({ "provider": provider });
        let refused = client.post(&path(&workspace(&app)), &body).await?;
        problem(&refused, 400, "VALIDATION_FAILED");
        assert_eq!(text(&refused.json()["errors"][0]["pointer"]), "/provider");
    }
    let unset = client.post(&path(&workspace(&app)), &json!({ "provider": "instagram" })).await?;
    problem(&unset, 400, "PLATFORM_NOT_CONFIGURED");
    let unknown = json!({ "provider": "x", "color": "red" });
    client.post(&path(&workspace(&app)), &unknown).await?.expect(200)?;
    let rival = app.another_tenant().await?.workspace_id.to_string();
    for workspace in
        ["ws_1".to_owned(), format!("ws_{ULID}"), rival, "%00".to_owned(), String::new()]
    {
        let refused = client.post(&path(&workspace), &good).await?;
        problem(&refused, 400, "VALIDATION_FAILED");
        assert_eq!(text(&refused.json()["errors"][0]["parameter"]), "workspaceId");
    }
    let missing = client.post("/social-profiles/connection-url", &good).await?;
    problem(&missing, 400, "VALIDATION_FAILED");
    let viewer = client.with_key(&key(&app, "viewer", None).await?);
    problem(&viewer.post(&path(&workspace(&app)), &good).await?, 403, "FORBIDDEN_ROLE");
    let bearer = client.without_key(Method::GET, "/workspaces").bearer_auth(&client.key);
    problem(&client.send(bearer).await?, 401, "UNAUTHORIZED");
    app.finish().await
}
