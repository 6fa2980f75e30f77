//! Threads: Instagram's rules under its own hosts.

use super::*;

const PAGE: &str = "/www.threads.com/oauth/authorize";
const HOST: &str = "/graph.threads.net";

#[tokio::test]
async fn the_good_path() {
    let (client, clock) = start().await;
    let callback = client.approve("sam", client.page(PAGE, &[("scope", "threads_basic")])).await;
    let token = format!("{HOST}/oauth/access_token");
    let (_, tokens) = client.form_at(&token, By::Body, &with_code(&callback["code"])).await;
    assert!(tokens["user_id"].as_u64().unwrap() > 1 << 53);
    let short = text(&tokens["access_token"]);

    let secret = ("client_secret", SECRET);
    let query = [("grant_type", "th_exchange_token"), secret, ("access_token", &short)];
    let (_, lasting) = client.get_at(&format!("{HOST}/access_token"), &query).await;
    let lasting = text(&lasting["access_token"]);
    let refresh = |grant_type| {
        let query = [("grant_type", grant_type), ("access_token", lasting.as_str())];
        answered(client.http.get(client.at(&format!("{HOST}/refresh_access_token"))).query(&query))
    };
    assert_eq!(refresh("th_refresh_token").await.1["error"]["code"], 100, "too early");
    clock.advance(TimeDelta::hours(25));
    assert_eq!(refresh("ig_refresh_token").await.1["error"]["code"], 100, "another platform's");
    assert_eq!(refresh("th_refresh_token").await.0, 200);

    let me = format!("{HOST}/v1.0/me");
    let fields = ("fields", "id,username,name,threads_profile_picture_url");
    let (_, who) = client.get_at(&me, &[fields, ("access_token", &lasting)]).await;
    assert_eq!((text(&who["id"]), &who["name"]), (tokens["user_id"].to_string(), &json!("Sam")));
    assert!(who["threads_profile_picture_url"].is_string());
    let permissions = format!("{me}/permissions");
    assert_eq!(client.delete_at(&permissions, &[("access_token", &lasting)]).await.0, 200);
    assert_eq!(client.get_at(&me, &[("access_token", &lasting)]).await.1["error"]["code"], 190);
}

#[tokio::test]
async fn a_token_of_instagram_is_none_of_threads() {
    let (client, _) = start().await;
    let page =
        client.page("/www.instagram.com/oauth/authorize", &[("scope", "instagram_business_basic")]);
    let code = client.approve("sam", page).await["code"].clone();
    let at_threads = format!("{HOST}/oauth/access_token");
    assert_eq!(client.form_at(&at_threads, By::Body, &with_code(&code)).await.0, 400);
    let at_instagram = "/api.instagram.com/oauth/access_token";
    let (_, tokens) = client.form_at(at_instagram, By::Body, &with_code(&code)).await;
    let token = text(&tokens["data"][0]["access_token"]);
    let (_, refusal) = client.get_at(&format!("{HOST}/v1.0/me"), &[("access_token", &token)]).await;
    assert_eq!(refusal["error"]["code"], 190);
}
