//! TikTok's Login Kit: `client_key`, hexadecimal challenges, errors with HTTP 200.

use super::*;

const PAGE: &str = "/www.tiktok.com/v2/auth/authorize/";
const TOKEN: &str = "/open.tiktokapis.com/v2/oauth/token/";
const REVOKE: &str = "/open.tiktokapis.com/v2/oauth/revoke/";
const INFO: &str = "/open.tiktokapis.com/v2/user/info/?fields=open_id,display_name";
const KEY: [(&str, &str); 2] = [("client_key", ID), ("scope", "user.info.basic,video.publish")];

async fn connect(client: &Client, user: &str) -> Value {
    let code = client.approve(user, client.page(PAGE, &KEY)).await["code"].clone();
    let (status, tokens) = client.form_at(TOKEN, By::Key, &with_code(&code)).await;
    assert_eq!((status, &tokens["expires_in"]), (200, &json!(86_400)), "{tokens}");
    tokens
}

async fn refresh(client: &Client, tokens: &Value) -> (u16, Value) {
    let token = text(&tokens["refresh_token"]);
    client.form_at(TOKEN, By::Key, &with_refresh_token(&token)).await
}

/// The error that came with HTTP 200.
fn hidden((status, body): (u16, Value)) -> String {
    assert_eq!(status, 200);
    assert!(body["access_token"].is_null() && body["log_id"].is_string());
    text(&body["error"])
}

#[tokio::test]
async fn the_good_path() {
    let (client, _) = start().await;
    let callback = client.approve("sam", client.page(PAGE, &KEY)).await;
    assert_eq!(callback["scopes"], "user.info.basic,video.publish");
    let (_, tokens) = client.form_at(TOKEN, By::Key, &with_code(&callback["code"])).await;
    assert_eq!(tokens["refresh_expires_in"], 31_536_000);
    assert_eq!(tokens["scope"], "user.info.basic,video.publish");
    let (_, next) = refresh(&client, &tokens).await;
    let access = text(&next["access_token"]);
    let (_, who) = client.bearer_at(INFO, &access).await;
    assert_eq!(who["data"]["user"], json!({ "open_id": tokens["open_id"], "display_name": "Sam" }));
    assert_eq!(who["error"]["code"], "ok");
    let (status, lacks) = client.bearer_at(&format!("{INFO},username"), &access).await;
    assert_eq!((status, &lacks["error"]["code"]), (401, &json!("scope_not_authorized")));
    assert_eq!(client.kinds("TIKTOK"), [Kind::Consent]);
    let kinds = [Kind::CodeExchanged, Kind::Refreshed, Kind::Identity, Kind::Identity];
    assert_eq!(client.kinds("TIKTOK_PERSONAL"), kinds);
}

#[tokio::test]
async fn the_client_is_called_client_key() {
    let (client, _) = start().await;
    assert_eq!(client.shows(client.page(PAGE, &[("scope", "user.info.basic")])).await, 400);
    let code = client.approve("sam", client.page(PAGE, &KEY)).await["code"].clone();
    for by in [By::Body, By::Basic] {
        let refused = client.form_at(TOKEN, by, &with_code(&code)).await;
        assert_eq!(hidden(refused), "invalid_client");
    }
    assert_eq!(client.form_at(TOKEN, By::Key, &with_code(&code)).await.0, 200);
}

#[tokio::test]
async fn a_challenge_is_hexadecimal() {
    let (client, _) = start().await;
    let with = |challenge: &str| {
        let pkce = [("code_challenge", challenge), ("code_challenge_method", "S256")];
        client.page(PAGE, &[KEY, pkce].concat())
    };
    let digest = Sha256::digest(VERIFIER);
    assert_eq!(client.shows(with(&URL_SAFE_NO_PAD.encode(digest))).await, 400);
    let page = with(&hex::encode(digest));
    let code = client.approve("sam", page.clone()).await["code"].clone();
    let unproven = client.form_at(TOKEN, By::Key, &with_code(&code)).await;
    assert_eq!(hidden(unproven), "invalid_grant");
    let code = client.approve("sam", page).await["code"].clone();
    let form = [with_code(&code).as_slice(), &[("code_verifier", VERIFIER)]].concat();
    let (_, tokens) = client.form_at(TOKEN, By::Key, &form).await;
    assert!(tokens["access_token"].is_string());
}

#[tokio::test]
async fn scopes_are_separated_by_commas() {
    let (client, _) = start().await;
    let spaces = [("client_key", ID), ("scope", "user.info.basic video.publish")];
    assert_eq!(client.shows(client.page(PAGE, &spaces)).await, 400);
}

#[tokio::test]
async fn codes_and_refresh_tokens_are_good_once() {
    let (client, clock) = start().await;
    let first = connect(&client, "sam").await;
    clock.advance(TimeDelta::days(100));
    let (_, second) = refresh(&client, &first).await;
    let left = second["refresh_expires_in"].as_i64().unwrap();
    assert!((left - 265 * 86_400).abs() < 60, "the year goes on");
    assert_eq!(hidden(refresh(&client, &first).await), "invalid_grant");
    assert_eq!(hidden(refresh(&client, &second).await), "invalid_grant");

    let code = client.approve("sam", client.page(PAGE, &KEY)).await["code"].clone();
    let (_, tokens) = client.form_at(TOKEN, By::Key, &with_code(&code)).await;
    let again = client.form_at(TOKEN, By::Key, &with_code(&code)).await;
    assert_eq!(hidden(again), "invalid_grant");
    let (status, refused) = client.bearer_at(INFO, &text(&tokens["access_token"])).await;
    assert_eq!((status, &refused["error"]["code"]), (401, &json!("access_token_invalid")));
}

#[tokio::test]
async fn revoking_an_access_token_ends_all_of_the_person() {
    let (client, _) = start().await;
    let (one, other) = (connect(&client, "sam").await, connect(&client, "sam").await);
    let refresh_token = text(&one["refresh_token"]);
    let wrong = client.form_at(REVOKE, By::Key, &[("token", &refresh_token)]).await;
    assert_eq!(hidden(wrong), "invalid_request");
    let token = text(&one["access_token"]);
    assert_eq!(client.form_at(REVOKE, By::Key, &[("token", &token)]).await, (200, Value::Null));
    assert_eq!(hidden(refresh(&client, &other).await), "invalid_grant");
}
