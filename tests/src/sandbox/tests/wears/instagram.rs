//! Instagram: tokens in a list, numbers that no double holds, and a day to wait.

use super::*;

const PAGE: &str = "/www.instagram.com/oauth/authorize";
const TOKEN: &str = "/api.instagram.com/oauth/access_token";
const SWAP: &str = "/graph.instagram.com/access_token";
const REFRESH: &str = "/graph.instagram.com/refresh_access_token";
const ME: &str = "/graph.instagram.com/v23.0/me";
const SCOPE: &str = "instagram_business_basic,instagram_business_content_publish";

async fn code(client: &Client, user: &str) -> String {
    client.approve(user, client.page(PAGE, &[("scope", SCOPE)])).await["code"].clone()
}

async fn short_lived(client: &Client, user: &str) -> String {
    let (status, tokens) =
        client.form_at(TOKEN, By::Body, &with_code(&code(client, user).await)).await;
    assert_eq!(status, 200, "{tokens}");
    text(&tokens["data"][0]["access_token"])
}

async fn swap(client: &Client, token: &str) -> (u16, Value) {
    let secret = ("client_secret", SECRET);
    let query = [("grant_type", "ig_exchange_token"), secret, ("access_token", token)];
    client.get_at(SWAP, &query).await
}

async fn lasting(client: &Client, user: &str) -> String {
    text(&swap(client, &short_lived(client, user).await).await.1["access_token"])
}

async fn refresh(client: &Client, token: &str) -> (u16, Value) {
    client.get_at(REFRESH, &[("grant_type", "ig_refresh_token"), ("access_token", token)]).await
}

async fn me(client: &Client, token: &str) -> (u16, Value) {
    client.get_at(ME, &[("fields", "user_id,username"), ("access_token", token)]).await
}

/// Status, code and subcode of a Graph error.
fn graph((status, body): (u16, Value)) -> (u16, u64, Option<u64>) {
    let error = &body["error"];
    (status, error["code"].as_u64().unwrap_or_default(), error["error_subcode"].as_u64())
}

#[tokio::test]
async fn the_good_path() {
    let (client, clock) = start().await;
    let callback = Person::new("sam").unwrap();
    let callback = callback.approve(client.page(PAGE, &[("scope", SCOPE)]).as_str()).await.unwrap();
    assert_eq!(callback.fragment(), Some("_"));
    let code = query(&callback)["code"].clone();
    let (_, tokens) = client.form_at(TOKEN, By::Body, &with_code(&code)).await;
    let only = &tokens["data"][0];
    assert_eq!(only["permissions"], SCOPE);
    assert!(only.get("expires_in").is_none());
    let id = only["user_id"].as_u64().unwrap();
    assert!(id > 1 << 53 && id % 2 == 1, "a double cannot hold it");

    let (status, swapped) = swap(&client, &text(&only["access_token"])).await;
    assert_eq!((status, &swapped["expires_in"]), (200, &json!(5_183_944)));
    let token = text(&swapped["access_token"]);
    let (_, who) = me(&client, &token).await;
    assert_eq!((who["user_id"].as_u64(), &who["username"]), (Some(id), &json!("sam")));

    clock.advance(TimeDelta::hours(24));
    let (_, next) = refresh(&client, &token).await;
    assert_ne!(next["access_token"], token.as_str());
    assert_eq!(next["expires_in"], 5_183_944);
    assert_eq!(me(&client, &token).await.0, 200, "the old one works to its end");
    let permissions = format!("{ME}/permissions");
    let token = text(&next["access_token"]);
    let deleted = client.delete_at(&permissions, &[("access_token", &token)]).await;
    assert_eq!(deleted, (200, json!({ "success": true })));
    assert_eq!(graph(me(&client, &token).await), (400, 190, Some(458)));
}

#[tokio::test]
async fn a_form_may_come_in_parts_and_the_answer_flat() {
    let config = SandboxConfig { instagram_flat: true, ..SandboxConfig::default() };
    let (client, _) = start_with(config).await;
    let code = code(&client, "sam").await;
    let fields =
        [with_code(&code).as_slice(), &[("client_id", ID), ("client_secret", SECRET)]].concat();
    let part = |(name, value): &(&str, &str)| {
        format!("--b0undary\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body: String = fields.iter().map(part).collect();
    let request = client.http.post(client.at(TOKEN)).body(body + "--b0undary--\r\n");
    let request = request.header("content-type", "multipart/form-data; boundary=b0undary");
    let (status, tokens) = answered(request).await;
    assert_eq!(status, 200, "{tokens}");
    assert!(tokens["access_token"].is_string() && tokens["user_id"].is_u64());
}

#[tokio::test]
async fn only_what_lasts_and_is_a_day_old_can_be_refreshed() {
    let (client, clock) = start().await;
    let short = short_lived(&client, "sam").await;
    assert_eq!(graph(refresh(&client, &short).await), (400, 190, None));
    let token = text(&swap(&client, &short).await.1["access_token"]);
    let (status, early) = refresh(&client, &token).await;
    assert_eq!(graph((status, early.clone())), (400, 100, None));
    assert!(text(&early["error"]["message"]).contains("24 hours"));
    clock.advance(TimeDelta::seconds(5_183_944));
    assert_eq!(graph(refresh(&client, &token).await), (400, 190, Some(463)));
    assert_eq!(client.count(Kind::RefreshRefused), 3);
    assert_eq!(client.count(Kind::Refreshed), 0);
}

#[tokio::test]
async fn a_short_lived_token_ends_after_an_hour() {
    let (client, clock) = start().await;
    let short = short_lived(&client, "sam").await;
    clock.advance(TimeDelta::hours(1));
    assert_eq!(graph(swap(&client, &short).await), (400, 190, Some(463)));
}

#[tokio::test]
async fn codes_clients_and_cancelling() {
    let (client, _) = start().await;
    let code = code(&client, "sam").await;
    let login =
        |(status, body): (u16, Value)| (status, body["code"].clone(), text(&body["error_type"]));
    let refused = (400, json!(400), "OAuthException".to_owned());
    assert_eq!(login(client.form_at(TOKEN, By::Nothing, &with_code(&code)).await), refused);
    let (_, tokens) = client.form_at(TOKEN, By::Body, &with_code(&code)).await;
    let again = client.form_at(TOKEN, By::Body, &with_code(&code)).await;
    assert!(text(&again.1["error_message"]).contains("already used"));
    assert_eq!(login(again), refused);
    let token = text(&tokens["data"][0]["access_token"]);
    assert_eq!(graph(me(&client, &token).await), (400, 190, Some(458)), "its tokens have ended");

    let page = client.page(PAGE, &[("scope", SCOPE)]);
    let back = query(&Person::new("sam").unwrap().deny(page.as_str()).await.unwrap());
    assert_eq!(
        (back["error"].as_str(), back["error_reason"].as_str()),
        ("access_denied", "user_denied")
    );
    let wrong =
        [("grant_type", "ig_exchange_token"), ("client_secret", "?"), ("access_token", "?")];
    assert_eq!(graph(client.get_at(SWAP, &wrong).await), (400, 190, None));
    let token = lasting(&client, "kim").await;
    let wrong =
        [("grant_type", "ig_exchange_token"), ("client_secret", "?"), ("access_token", &token)];
    assert_eq!(graph(client.get_at(SWAP, &wrong).await).1, 101);
}
