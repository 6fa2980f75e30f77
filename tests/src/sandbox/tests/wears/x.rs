//! X: Basic, PKCE, thirty seconds, and strict rotation.

use super::*;

const PAGE: &str = "/x.com/i/oauth2/authorize";
const TOKEN: &str = "/api.x.com/2/oauth2/token";
const SCOPE: &str = "tweet.read users.read offline.access";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

async fn code(client: &Client, user: &str, scope: &str) -> String {
    let pkce = [("code_challenge", challenge()), ("code_challenge_method", "S256".to_owned())];
    let pkce = pkce.iter().map(|(name, value)| (*name, value.as_str()));
    let params: Vec<(&str, &str)> = pkce.chain([("scope", scope)]).collect();
    client.approve(user, client.page(PAGE, &params)).await["code"].clone()
}

async fn exchange(client: &Client, code: &str) -> (u16, Value) {
    let form = [with_code(code).as_slice(), &[("code_verifier", VERIFIER)]].concat();
    client.form_at(TOKEN, By::Basic, &form).await
}

async fn refresh(client: &Client, token: &str) -> (u16, Value) {
    client.form_at(TOKEN, By::Basic, &with_refresh_token(token)).await
}

fn refused(what: &str) -> (u16, Value) {
    let text = format!("Value passed for the {what} was invalid.");
    (400, json!({ "error": "invalid_request", "error_description": text }))
}

#[tokio::test]
async fn the_good_path() {
    let (client, _) = start().await;
    let (status, tokens) = exchange(&client, &code(&client, "sam", SCOPE).await).await;
    assert_eq!(
        (status, &tokens["expires_in"], &tokens["scope"]),
        (200, &json!(7200), &json!(SCOPE))
    );
    let me = "/api.x.com/2/users/me?user.fields=profile_image_url";
    let (status, who) = client.bearer_at(me, &text(&tokens["access_token"])).await;
    assert_eq!((status, &who["data"]["username"]), (200, &json!("sam")));
    assert!(who["data"]["profile_image_url"].is_string() && who["data"]["id"].is_string());
    let (_, tokens) = refresh(&client, &text(&tokens["refresh_token"])).await;
    let token = text(&tokens["refresh_token"]);
    let revoke = "/api.x.com/2/oauth2/revoke";
    let revoked = client.form_at(revoke, By::Basic, &[("token", &token)]).await;
    assert_eq!(revoked, (200, json!({ "revoked": true })));
    let (status, problem) = client.bearer_at(me, &text(&tokens["access_token"])).await;
    assert_eq!((status, &problem["title"]), (401, &json!("Unauthorized")));
    let kinds = [
        Kind::Consent,
        Kind::CodeExchanged,
        Kind::Identity,
        Kind::Refreshed,
        Kind::Revoked,
        Kind::FamilyRevoked,
        Kind::IdentityRefused,
    ];
    assert_eq!(client.kinds("X"), kinds);
}

#[tokio::test]
async fn the_client_must_come_in_the_header() {
    let (client, _) = start().await;
    let code = code(&client, "sam", SCOPE).await;
    let form = [with_code(&code).as_slice(), &[("code_verifier", VERIFIER)]].concat();
    let text = "Missing valid authorization header";
    let told = json!({ "error": "unauthorized_client", "error_description": text });
    assert_eq!(client.form_at(TOKEN, By::Body, &form).await, (401, told));
    assert_eq!(exchange(&client, &code).await.0, 200, "nothing was spent");
}

#[tokio::test]
async fn without_offline_access_there_is_no_refresh_token() {
    let (client, _) = start().await;
    let (_, tokens) = exchange(&client, &code(&client, "sam", "tweet.read").await).await;
    assert!(tokens["access_token"].is_string() && tokens.get("refresh_token").is_none());
}

#[tokio::test]
async fn the_page_wants_pkce_and_a_short_state() {
    let (client, _) = start().await;
    let challenge = challenge();
    let pkce = [("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")];
    let with = |more: &[(&str, &str)]| {
        let params = [&pkce, [("scope", SCOPE)].as_slice(), more].concat();
        client.shows(client.page(PAGE, &params))
    };
    assert_eq!(client.shows(client.page(PAGE, &[("scope", SCOPE)])).await, 400);
    assert_eq!(with(&[("state", &"s".repeat(500))]).await, 200);
    assert_eq!(with(&[("state", &"s".repeat(501))]).await, 400);
}

#[tokio::test]
async fn codes_and_refresh_tokens_are_good_once_and_soon() {
    let (client, clock) = start().await;
    let late = code(&client, "sam", SCOPE).await;
    clock.advance(TimeDelta::seconds(31));
    assert_eq!(exchange(&client, &late).await, refused("authorization code"));

    let once = code(&client, "kim", SCOPE).await;
    let (_, tokens) = exchange(&client, &once).await;
    assert_eq!(exchange(&client, &once).await, refused("authorization code"));
    assert_eq!(refresh(&client, &text(&tokens["refresh_token"])).await, refused("token"));

    let (_, first) = exchange(&client, &code(&client, "lee", SCOPE).await).await;
    let (_, second) = refresh(&client, &text(&first["refresh_token"])).await;
    assert_eq!(refresh(&client, &text(&first["refresh_token"])).await, refused("token"));
    assert_eq!(refresh(&client, &text(&second["refresh_token"])).await, refused("token"));
}

#[tokio::test]
async fn the_redirect_uri_and_the_verifier_must_be_the_same() {
    let (client, _) = start().await;
    for (name, value) in [("redirect_uri", "https://app.example/other"), ("code_verifier", "wrong")]
    {
        let code = code(&client, "sam", SCOPE).await;
        let form = [with_code(&code).as_slice(), &[("code_verifier", VERIFIER)]].concat();
        let form: Vec<(&str, &str)> = form
            .into_iter()
            .map(|(key, old)| (key, if key == name { value } else { old }))
            .collect();
        let answer = client.form_at(TOKEN, By::Basic, &form).await;
        assert_eq!(answer, refused("authorization code"), "{name}");
    }
}
