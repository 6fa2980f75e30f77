//! TikTok's API for Business: JSON, envelopes, and HTTP 200 whatever happens.

use super::*;

const PAGE: &str = "/www.tiktok.com/v2/auth/authorize/";
const API: &str = "/business-api.tiktok.com/open_api/v1.3";
const KEY: [(&str, &str); 2] = [("client_key", ID), ("scope", "user.info.basic,video.publish")];

async fn call(client: &Client, path: &str, body: Value) -> (u64, Value) {
    let mut named = json!({ "client_id": ID, "client_secret": SECRET });
    named.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    opened(client.json_at(&format!("{API}{path}"), named).await)
}

/// What is in an envelope.
fn opened((status, envelope): (u16, Value)) -> (u64, Value) {
    assert_eq!(status, 200);
    assert!(envelope["request_id"].is_string() && envelope["message"].is_string());
    (envelope["code"].as_u64().unwrap(), envelope["data"].clone())
}

async fn code(client: &Client, user: &str) -> String {
    client.approve(user, client.page(PAGE, &KEY)).await["code"].clone()
}

async fn exchange(client: &Client, code: &str) -> (u64, Value) {
    let grant_type = "authorization_code";
    let body = json!({ "grant_type": grant_type, "auth_code": code, "redirect_uri": BACK });
    call(client, "/tt_user/oauth2/token/", body).await
}

async fn refresh(client: &Client, tokens: &Value) -> (u64, Value) {
    let body = json!({ "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"] });
    call(client, "/tt_user/oauth2/refresh_token/", body).await
}

async fn business(client: &Client, tokens: &Value, prefix: &str) -> (u64, Value) {
    let request = client.http.get(client.at(&format!("{API}/business/get/")));
    let open_id = text(&tokens["open_id"]);
    let fields = r#"["username","display_name","profile_image"]"#;
    let request = request.query(&[("business_id", open_id.as_str()), ("fields", fields)]);
    let header = format!("{prefix}{}", text(&tokens["access_token"]));
    opened(answered(request.header("access-token", header)).await)
}

#[tokio::test]
async fn the_good_path() {
    let (client, _) = start().await;
    let (status, tokens) = exchange(&client, &code(&client, "sam").await).await;
    assert_eq!((status, &tokens["expires_in"]), (0, &json!(86_400)));
    assert_eq!(tokens["refresh_token_expires_in"], 31_536_000);
    let (_, who) = business(&client, &tokens, "").await;
    assert_eq!((&who["username"], &who["display_name"]), (&json!("sam"), &json!("Sam")));
    assert_eq!(business(&client, &tokens, "Bearer ").await.0, 40105);
    let (_, next) = refresh(&client, &tokens).await;
    let revoke = json!({ "access_token": next["access_token"] });
    assert_eq!(call(&client, "/tt_user/oauth2/revoke/", revoke).await.0, 0);
    assert_eq!(business(&client, &next, "").await.0, 40105);
    assert_eq!(refresh(&client, &next).await.0, 40105);
}

#[tokio::test]
async fn codes_and_refresh_tokens_are_good_once() {
    let (client, _) = start().await;
    let once = code(&client, "sam").await;
    let (_, tokens) = exchange(&client, &once).await;
    assert_eq!(exchange(&client, &once).await.0, 40110);
    assert_eq!(business(&client, &tokens, "").await.0, 40105);

    let (_, first) = exchange(&client, &code(&client, "kim").await).await;
    let (_, second) = refresh(&client, &first).await;
    assert_eq!(refresh(&client, &first).await.0, 40105);
    assert_eq!(refresh(&client, &second).await.0, 40105);
}

#[tokio::test]
async fn what_a_careless_client_runs_into() {
    let (client, _) = start().await;
    let code = code(&client, "sam").await;
    let path = format!("{API}/tt_user/oauth2/token/");
    let fields = [("auth_code", code.as_str()), ("redirect_uri", BACK)];
    assert_eq!(opened(client.form_at(&path, By::Body, &fields).await).0, 40002, "a form");

    let grant_type = "authorization_code";
    let token = "/tt_user/oauth2/token/";
    let body = json!({ "grant_type": grant_type, "code": code, "redirect_uri": BACK });
    assert_eq!(call(&client, token, body).await.0, 40002, "code");
    for redirect_uri in ["https://app.example/callback", "https://app.example/?a=b/"] {
        let body =
            json!({ "grant_type": grant_type, "auth_code": code, "redirect_uri": redirect_uri });
        assert_eq!(call(&client, token, body).await.0, 40002, "{redirect_uri}");
    }
    let wrong = json!({ "client_secret": "wrong", "grant_type": grant_type, "auth_code": code });
    assert_eq!(call(&client, token, wrong).await.0, 40101);
    assert_eq!(exchange(&client, &code).await.0, 0, "nothing was spent");
}

#[tokio::test]
async fn tokens_of_the_login_kit_are_none_of_its() {
    let (client, _) = start().await;
    let code = code(&client, "sam").await;
    let login_kit = "/open.tiktokapis.com/v2/oauth/token/";
    let (_, tokens) = client.form_at(login_kit, By::Key, &with_code(&code)).await;
    assert_eq!(business(&client, &tokens, "").await.0, 40105);
    assert_eq!(refresh(&client, &tokens).await.0, 40105);
    let (_, tokens) = client
        .form_at(login_kit, By::Key, &with_refresh_token(&text(&tokens["refresh_token"])))
        .await;
    assert!(tokens["access_token"].is_string(), "and it is as good as before");
}
