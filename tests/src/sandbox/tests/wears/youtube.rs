//! YouTube: when there is a refresh token, how far a revocation reaches, and channels.

use super::*;

const PAGE: &str = "/accounts.google.com/o/oauth2/v2/auth";
const TOKEN: &str = "/oauth2.googleapis.com/token";
const REVOKE: &str = "/oauth2.googleapis.com/revoke";
const USERINFO: &str = "/www.googleapis.com/oauth2/v2/userinfo";
const CHANNELS: &str = "/www.googleapis.com/youtube/v3/channels?part=snippet&mine=true";
const SCOPE: (&str, &str) = ("scope", "https://www.googleapis.com/auth/youtube.upload");
const OFFLINE: (&str, &str) = ("access_type", "offline");
const CONSENT: (&str, &str) = ("prompt", "consent select_account");

async fn connect(client: &Client, user: &str, params: &[(&str, &str)]) -> Value {
    let page = client.page(PAGE, &[&[SCOPE], params].concat());
    let code = client.approve(user, page).await["code"].clone();
    let (status, tokens) = client.form_at(TOKEN, By::Body, &with_code(&code)).await;
    assert_eq!((status, &tokens["expires_in"]), (200, &json!(3599)), "{tokens}");
    tokens
}

async fn refresh(client: &Client, tokens: &Value) -> (u16, Value) {
    let token = text(&tokens["refresh_token"]);
    client.form_at(TOKEN, By::Body, &with_refresh_token(&token)).await
}

fn dead() -> (u16, Value) {
    let description = "Token has been expired or revoked.";
    (400, json!({ "error": "invalid_grant", "error_description": description }))
}

#[tokio::test]
async fn a_refresh_token_stays_and_is_not_repeated() {
    let (client, clock) = start().await;
    let tokens = connect(&client, "sam", &[OFFLINE, CONSENT]).await;
    clock.advance(TimeDelta::days(400));
    for _ in 0..2 {
        let (_, next) = refresh(&client, &tokens).await;
        assert!(next.get("refresh_token").is_none());
        let (_, who) = client.bearer_at(USERINFO, &text(&next["access_token"])).await;
        assert_eq!(who["name"], "Sam");
    }
    let (status, refusal) = client.bearer_at(USERINFO, &text(&tokens["access_token"])).await;
    assert_eq!((status, &refusal["error"]["status"]), (401, &json!("UNAUTHENTICATED")));
}

#[tokio::test]
async fn a_refresh_token_must_be_asked_for() {
    let (client, _) = start().await;
    let has = |tokens: &Value| tokens.get("refresh_token").is_some();
    assert!(!has(&connect(&client, "sam", &[]).await));
    assert!(has(&connect(&client, "kim", &[OFFLINE]).await), "the first time");
    assert!(!has(&connect(&client, "kim", &[OFFLINE]).await), "and then no more");
    assert!(has(&connect(&client, "kim", &[OFFLINE, CONSENT]).await));
}

#[tokio::test]
async fn whoever_has_a_token_can_revoke_all_of_the_person() {
    let (client, _) = start().await;
    let one = connect(&client, "sam", &[OFFLINE, CONSENT]).await;
    let other = connect(&client, "sam", &[OFFLINE, CONSENT]).await;
    let kim = connect(&client, "kim", &[OFFLINE, CONSENT]).await;
    let token = text(&one["access_token"]);
    assert_eq!(client.form_at(REVOKE, By::Nothing, &[("token", &token)]).await.0, 200);
    assert_eq!(refresh(&client, &other).await, dead());
    assert_eq!(refresh(&client, &kim).await.0, 200);
    for token in [token.as_str(), "unknown"] {
        let (status, refusal) = client.form_at(REVOKE, By::Nothing, &[("token", token)]).await;
        assert_eq!((status, &refusal["error"]), (400, &json!("invalid_token")));
    }
}

#[tokio::test]
async fn codes_are_good_once_and_pkce_is_checked() {
    let (client, _) = start().await;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let pkce = [("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")];
    let page = client.page(PAGE, &[&[SCOPE, OFFLINE, CONSENT], pkce.as_slice()].concat());
    let code = client.approve("sam", page.clone()).await["code"].clone();
    let error = |(status, body): (u16, Value)| (status, text(&body["error"]));
    let refused = (400, "invalid_grant".to_owned());
    assert_eq!(error(client.form_at(TOKEN, By::Body, &with_code(&code)).await), refused);

    let code = client.approve("sam", page).await["code"].clone();
    let form = [with_code(&code).as_slice(), &[("code_verifier", VERIFIER)]].concat();
    let basic = client.form_at(TOKEN, By::Basic, &form).await;
    assert_eq!(error(basic), (401, "invalid_client".to_owned()));
    let (_, tokens) = client.form_at(TOKEN, By::Body, &form).await;
    assert_eq!(error(client.form_at(TOKEN, By::Body, &form).await), refused);
    assert_eq!(refresh(&client, &tokens).await, dead());
}

#[tokio::test]
async fn channels_come_fifty_at_a_time_and_some_have_none() {
    let (client, _) = start().await;
    client.sandbox.set_pages("sam", (0..60).map(|id| page(&format!("UC{id}"), &[])).collect());
    client.sandbox.set_pages("kim", Vec::new());
    let sam = text(&connect(&client, "sam", &[]).await["access_token"]);
    let (_, first) = client.bearer_at(CHANNELS, &sam).await;
    assert_eq!(first["items"].as_array().unwrap().len(), 50);
    assert_eq!(first["items"][0]["snippet"]["customUrl"], "@page.UC0");
    assert!(first["items"][0]["snippet"]["thumbnails"]["default"]["url"].is_string());
    let rest = format!("{CHANNELS}&pageToken={}", text(&first["nextPageToken"]));
    let (_, rest) = client.bearer_at(&rest, &sam).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 10);
    assert!(rest.get("nextPageToken").is_none());

    let kim = text(&connect(&client, "kim", &[]).await["access_token"]);
    let (status, refusal) = client.bearer_at(CHANNELS, &kim).await;
    let reason = &refusal["error"]["errors"][0]["reason"];
    assert_eq!((status, reason), (403, &json!("youtubeSignupRequired")));
}
