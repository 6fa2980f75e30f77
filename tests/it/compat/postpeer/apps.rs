//! Apps: OAuth clients of PostPeer's customers.

use latchkey_tests::TestApp;
use latchkey_tests::app::Options;
use serde_json::json;

use super::super::{approve, consent, count, dressed, problem, query, rows, text};
use super::{CLIENT, LIST, client, make_app, start};

/// The operator has no client of the platform: a customer's own serves.
#[tokio::test(flavor = "multi_thread")]
async fn an_own_app_needs_no_client_of_the_operator() -> anyhow::Result<()> {
    let platforms = latchkey_tests::app::worn_for_own_apps(&["X"]);
    let app = TestApp::start_with(Options { platforms, ..Options::default() }).await?;
    let client = client(&app, "owner").await?;
    let refused = client.get("/v1/connect/twitter").await?;
    problem(&refused, 500, "PLATFORM_NOT_CONFIGURED");
    assert!(text(&refused.json()["detail"]).contains("app of your own"), "{}", refused.text);
    let id = make_app(&client).await?;
    let url = start(&client, &format!("twitter?appId={id}")).await?;
    approve(&app, &url, "sam").await?.expect(303)?;
    let account = text(&rows(&client, LIST, 1).await?[0]["id"]).to_owned();
    let refresh = app.path(&format!("/accounts/{account}/refresh"));
    app.http.post(&refresh, &json!({})).await?.expect(202)?;
    app.account_until(&account, |account| account["lastRefreshedAt"].is_string()).await?;
    let shown = app.http.get("/v1/platforms?limit=200").await?.expect(200)?.json();
    let rows = shown["data"].as_array().cloned().unwrap_or_default();
    let x = rows.iter().find(|row| row["id"] == "X").cloned().unwrap_or_default();
    assert_eq!(x["configured"], false, "{x}");
    app.finish().await
}

/// Its clients cannot cancel a connect, nor see when tokens are revoked.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_can_be_deleted_after_what_its_clients_can_do() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "owner").await?;
    let id = make_app(&client).await?;
    let through = format!("twitter?appId={id}");
    approve(&app, &start(&client, &through).await?, "sam").await?.expect(303)?;
    let account = text(&rows(&client, LIST, 1).await?[0]["id"]).to_owned();
    for _ in 0..60 {
        start(&client, &through).await?;
    }
    problem(&client.delete(&format!("/v1/apps/{id}")).await?, 409, "APP_IN_USE");
    let open = "SELECT count(*) AS n FROM connects WHERE status = 'pending'";
    assert_eq!(app.row(open).await?["n"], 60, "a refusal ends nothing");
    client.delete(&format!("{}/{account}", LIST.0)).await?.expect(200)?;
    client.delete(&format!("/v1/apps/{id}")).await?.expect(200)?;
    assert_eq!(app.row(open).await?["n"], 0);
    let receipt = app.account(&account).await?["revocation"].clone();
    assert_eq!(receipt["status"], "revoked", "the revocation comes first: {receipt:#}");
    assert_eq!(client.get("/v1/apps/").await?.expect(200)?.json()["apps"], json!([]));
    app.finish().await
}

/// Connecting again moves an account to another app.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_can_be_deleted_once_its_accounts_moved_to_another() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "owner").await?;
    let old = make_app(&client).await?;
    approve(&app, &start(&client, &format!("twitter?appId={old}")).await?, "sam")
        .await?
        .expect(303)?;
    let account = rows(&client, LIST, 1).await?[0]["id"].clone();
    let new = make_app(&client).await?;
    approve(&app, &start(&client, &format!("twitter?appId={new}")).await?, "sam")
        .await?
        .expect(303)?;
    assert_eq!(rows(&client, LIST, 1).await?[0]["id"], account);
    client.delete(&format!("/v1/apps/{old}")).await?.expect(200)?;
    assert_eq!(app.account(text(&account)).await?["appId"], new);
    app.finish().await
}

/// Its owner registered PostPeer's callback for the app: the connect asks for that one, and it answers.
#[tokio::test(flavor = "multi_thread")]
async fn an_own_app_is_connected_through_by_its_own_callback() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "owner").await?;
    let id = make_app(&client).await?;
    let url = start(&client, &format!("twitter?appId={id}")).await?;
    let asked = query(text(&url));
    assert!(asked.contains(&("client_id".to_owned(), CLIENT.to_owned())), "{url}");
    let callback = format!("{}/compat/postpeer/v1/connect/twitter/callback", app.http.base());
    let redirect_uri =
        asked.iter().find(|(name, _)| name == "redirect_uri").map(|(_, uri)| uri.clone());
    assert!(
        redirect_uri
            .is_some_and(|uri| uri.ends_with("/compat/postpeer/v1/connect/twitter/callback"))
    );
    let came = consent(&url, "sam").await?;
    let came = format!("{callback}?{}", came.query().unwrap_or_default());
    let head = client.send(client.http.head(&came)).await?;
    assert_eq!(head.status, 405, "a scanner uses nothing up");
    app.http.browse(&came).await?.expect(303)?;
    rows(&client, LIST, 1).await?;
    let elsewhere = app.http.browse(&came.replace("twitter", "youtube")).await?;
    assert!((400..500).contains(&elsewhere.status) && elsewhere.location().is_none());
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_are_listed_rotated_and_deleted_and_show_no_secret() -> anyhow::Result<()> {
    let app = dressed(&["X"]).await?;
    let client = client(&app, "owner").await?;
    let id = make_app(&client).await?;
    for path in ["/v1/apps/", "/v1/apps"] {
        let listed = client.get(path).await?.expect(200)?.json()["apps"].clone();
        assert_eq!(listed.as_array().map(Vec::len), Some(1));
        assert_eq!(
            (text(&listed[0]["platform"]), text(&listed[0]["clientId"])),
            ("twitter", CLIENT)
        );
    }
    client.post("/v1/apps", &json!({ "platform": "youtube" })).await?.expect(400)?;
    for round in 0..4 {
        let secret = format!("acme-secret-of-round-{round}-0123456789");
        app.sandbox.set_client(CLIENT, &[&secret]);
        let body = json!({ "clientSecret": secret });
        let changed = client.post(&format!("/v1/apps/{id}/secret"), &body).await?.expect(200)?;
        assert_eq!(text(&changed.json()["app"]["id"]), id, "platform and clientId stay");
        let kept = count(&app, "app_secrets").await?;
        assert!(kept <= 2, "one older secret stays beside the new one: {kept}");
    }
    approve(&app, &start(&client, &format!("twitter?appId={id}")).await?, "sam")
        .await?
        .expect(303)?;
    let account = text(&rows(&client, LIST, 1).await?[0]["id"]).to_owned();
    problem(&client.delete(&format!("/v1/apps/{id}")).await?, 409, "APP_IN_USE");
    app.http.delete(&app.path(&format!("/accounts/{account}"))).await?.expect(202)?;
    app.account_until(&account, |account| account["revocation"]["status"] != "pending").await?;
    client.delete(&format!("/v1/apps/{id}")).await?.expect(200)?;
    problem(&client.delete(&format!("/v1/apps/{id}")).await?, 404, "NOT_FOUND");
    let seen = app.http.seen();
    assert!(!seen.contains("acme-secret"), "an answer shows a secret");
    app.finish().await
}
