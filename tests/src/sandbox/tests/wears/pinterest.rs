//! Pinterest: Basic, numbers for errors, rotation, and no way to revoke.

use super::*;

const PAGE: &str = "/www.pinterest.com/oauth/";
const TOKEN: &str = "/api.pinterest.com/v5/oauth/token";
const ACCOUNT: &str = "/api.pinterest.com/v5/user_account";
const SCOPE: [(&str, &str); 1] = [("scope", "boards:read,pins:write")];

async fn code(client: &Client, user: &str) -> String {
    client.approve(user, client.page(PAGE, &SCOPE)).await["code"].clone()
}

async fn refresh(client: &Client, tokens: &Value) -> (u16, Value) {
    let token = text(&tokens["refresh_token"]);
    client.form_at(TOKEN, By::Basic, &with_refresh_token(&token)).await
}

#[tokio::test]
async fn the_good_path() {
    let (client, clock) = start().await;
    let code = code(&client, "sam").await;
    let (_, tokens) = client.form_at(TOKEN, By::Basic, &with_code(&code)).await;
    assert_eq!(
        (&tokens["expires_in"], &tokens["response_type"]),
        (&json!(2_592_000), &json!("authorization_code"))
    );
    assert_eq!(tokens["refresh_token_expires_in"], 5_184_000);
    clock.advance(TimeDelta::days(59));
    let (_, next) = refresh(&client, &tokens).await;
    assert_eq!(next["refresh_token_expires_in"], 5_184_000, "each lives sixty days");
    let until = next["refresh_token_expires_at"].as_i64().unwrap();
    assert!((until - clock.now().timestamp() - 5_184_000).abs() < 60);
    let (_, who) = client.bearer_at(ACCOUNT, &text(&next["access_token"])).await;
    assert_eq!((&who["username"], &who["account_type"]), (&json!("sam"), &json!("BUSINESS")));
    let revoke = client.http.post(client.at(&format!("{TOKEN}/revoke"))).send().await.unwrap();
    assert_eq!(revoke.status(), 404);
}

#[tokio::test]
async fn what_a_careless_client_runs_into() {
    let (client, clock) = start().await;
    let told =
        |(status, body): (u16, Value)| (status, body["code"].as_u64(), body["message"].is_string());
    let spaces = [("scope", "boards:read pins:write")];
    assert_eq!(client.shows(client.page(PAGE, &spaces)).await, 400);
    let once = code(&client, "sam").await;
    let by_body = client.form_at(TOKEN, By::Body, &with_code(&once)).await;
    assert_eq!(told(by_body), (401, Some(2), true));
    let (_, first) = client.form_at(TOKEN, By::Basic, &with_code(&once)).await;
    let again = client.form_at(TOKEN, By::Basic, &with_code(&once)).await;
    assert_eq!(told(again), (400, Some(283), true));
    assert_eq!(client.bearer_at(ACCOUNT, &text(&first["access_token"])).await.0, 401);

    let code = code(&client, "kim").await;
    let (_, first) = client.form_at(TOKEN, By::Basic, &with_code(&code)).await;
    let (_, second) = refresh(&client, &first).await;
    assert_eq!(told(refresh(&client, &first).await), (400, Some(283), true));
    assert_eq!(told(refresh(&client, &second).await), (400, Some(283), true));
    clock.advance(TimeDelta::days(30));
    assert_eq!(
        told(client.bearer_at(ACCOUNT, &text(&second["access_token"])).await),
        (401, Some(2), true)
    );
}
