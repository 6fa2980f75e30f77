//! Facebook: page tokens, what kills them, and how that shows.

use super::*;

const PAGE: &str = "/www.facebook.com/v23.0/dialog/oauth";
const GRAPH: &str = "/graph.facebook.com/v23.0";
const SCOPE: &str = "pages_show_list,pages_manage_posts";
const CLIENT: [(&str, &str); 2] = [("client_id", ID), ("client_secret", SECRET)];

async fn get(client: &Client, path: &str, query: &[(&str, &str)]) -> (u16, Value) {
    client.get_at(&format!("{GRAPH}{path}"), query).await
}

async fn short_lived(client: &Client, user: &str) -> String {
    let callback = client.approve(user, client.page(PAGE, &[("scope", SCOPE)])).await;
    let code = [("redirect_uri", BACK), ("code", callback["code"].as_str())];
    let (status, tokens) = get(client, "/oauth/access_token", &[CLIENT, code].concat()).await;
    assert_eq!((status, &tokens["expires_in"]), (200, &json!(5400)), "{tokens}");
    text(&tokens["access_token"])
}

async fn lasting(client: &Client, user: &str) -> String {
    let short = short_lived(client, user).await;
    let swap = [("grant_type", "fb_exchange_token"), ("fb_exchange_token", short.as_str())];
    let (_, tokens) = get(client, "/oauth/access_token", &[CLIENT, swap].concat()).await;
    assert_eq!(tokens["expires_in"], 5_183_944);
    text(&tokens["access_token"])
}

/// The tokens of the person's pages.
async fn page_tokens(client: &Client, token: &str) -> Vec<String> {
    let fields = ("fields", "id,name,access_token,tasks");
    let (_, list) = get(client, "/me/accounts", &[fields, ("access_token", token)]).await;
    list["data"].as_array().unwrap().iter().map(|page| text(&page["access_token"])).collect()
}

async fn inspect(client: &Client, token: &str) -> Value {
    let app = format!("{ID}|{SECRET}");
    let query = [("input_token", token), ("access_token", &app)];
    get(client, "/debug_token", &query).await.1["data"].clone()
}

/// The subcode beside code 190 that a page token is refused with.
async fn subcode(client: &Client, token: &str) -> u64 {
    let (status, refusal) = get(client, "/me", &[("access_token", token)]).await;
    assert_eq!((status, &refusal["error"]["code"]), (400, &json!(190)), "{refusal}");
    let standing = inspect(client, token).await;
    assert_eq!(standing["is_valid"], false);
    assert_eq!(standing["error"]["subcode"], refusal["error"]["error_subcode"]);
    refusal["error"]["error_subcode"].as_u64().unwrap()
}

#[tokio::test]
async fn the_good_path() {
    let (client, clock) = start().await;
    let token = lasting(&client, "sam").await;
    let (_, who) =
        get(&client, "/me", &[("fields", "id,name,picture"), ("access_token", &token)]).await;
    assert_eq!(who["name"], "Sam");
    assert!(who["picture"]["data"]["url"].is_string());
    let (_, list) = get(&client, "/me/accounts", &[("access_token", &token)]).await;
    let page = &list["data"][0];
    assert_eq!((&page["name"], &page["tasks"]), (&json!("Sam's Page"), &json!(["CREATE_CONTENT"])));
    let page_token = text(&page["access_token"]);

    let standing = inspect(&client, &page_token).await;
    assert_eq!((&standing["type"], &standing["profile_id"]), (&json!("PAGE"), &page["id"]));
    assert_eq!((&standing["is_valid"], &standing["expires_at"]), (&json!(true), &json!(0)));
    assert_eq!(standing["scopes"], json!(["pages_show_list", "pages_manage_posts"]));
    let until = standing["data_access_expires_at"].as_i64().unwrap();
    assert!((until - clock.now().timestamp() - 90 * 86_400).abs() < 60);

    clock.advance(TimeDelta::days(300));
    let (status, who) = get(&client, "/me", &[("access_token", &page_token)]).await;
    assert_eq!((status, &who["name"]), (200, &json!("Sam's Page")), "it never expires");
    assert_eq!(subcode(&client, &token).await, 463);
    assert_eq!(client.count(Kind::LongLived), 1);
    assert_eq!(client.count(Kind::Inspected), 2);
}

#[tokio::test]
async fn a_page_token_of_a_short_lived_token_ends_with_it() {
    let (client, clock) = start().await;
    let short = short_lived(&client, "sam").await;
    let [page_token] = page_tokens(&client, &short).await.try_into().unwrap();
    let until = inspect(&client, &page_token).await["expires_at"].as_i64().unwrap();
    assert!((until - clock.now().timestamp() - 5400).abs() < 60);
    clock.advance(TimeDelta::minutes(90));
    assert_eq!(subcode(&client, &page_token).await, 463);
}

#[tokio::test]
async fn many_pages_come_a_few_at_a_time() {
    let (client, _) = start().await;
    let pages = (1..=7).map(|id| page(&id.to_string(), &["CREATE_CONTENT", "MANAGE"])).collect();
    client.sandbox.set_pages("sam", pages);
    let token = lasting(&client, "sam").await;
    let query = [("fields", "id,tasks"), ("limit", "3"), ("access_token", &token)];
    let (_, mut list) = get(&client, "/me/accounts", &query).await;
    let mut ids: Vec<String> = Vec::new();
    loop {
        ids.extend(list["data"].as_array().unwrap().iter().map(|page| text(&page["id"])));
        let Some(next) = list["paging"]["next"].as_str() else { break };
        let after = text(&list["paging"]["cursors"]["after"]);
        let by_cursor =
            get(&client, "/me/accounts", &[&query[..], &[("after", &after)]].concat()).await;
        let by_next = answered(client.http.get(next)).await;
        assert_eq!(by_cursor.1["data"], by_next.1["data"]);
        list = by_next.1;
    }
    assert_eq!(ids, ["1", "2", "3", "4", "5", "6", "7"]);
    assert!(list["data"][0].get("access_token").is_none(), "it was not asked for");
}

#[tokio::test]
async fn page_tokens_die_with_permissions_and_roles() {
    let (client, _) = start().await;
    client.sandbox.set_pages("sam", vec![page("1", &[]), page("2", &[])]);
    let token = lasting(&client, "sam").await;
    let [one, two] = page_tokens(&client, &token).await.try_into().unwrap();
    client.sandbox.end_page("1");
    assert_eq!(subcode(&client, &one).await, 492);
    assert_eq!(get(&client, "/me", &[("access_token", &two)]).await.0, 200);
    let [anew, same] = page_tokens(&client, &token).await.try_into().unwrap();
    assert_ne!(anew, one, "who has the role again gets a token again");
    assert_eq!(same, two);

    client.sandbox.set_pages("sam", vec![page("1", &[])]);
    assert_eq!(subcode(&client, &two).await, 492);
    let permissions = format!("{GRAPH}/me/permissions");
    let by_page = client.delete_at(&permissions, &[("access_token", &anew)]).await;
    assert_eq!(by_page.1["error"]["code"], 190, "a page cannot take back a person's consent");
    let by_person = client.delete_at(&permissions, &[("access_token", &token)]).await;
    assert_eq!(by_person, (200, json!({ "success": true })));
    assert_eq!(subcode(&client, &anew).await, 458);
}

#[tokio::test]
async fn the_client_deletes_permissions_with_its_own_token() {
    let (client, clock) = start().await;
    let token = lasting(&client, "sam").await;
    let [page_token] = page_tokens(&client, &token).await.try_into().unwrap();
    let kim = lasting(&client, "kim").await;
    let (_, who) = get(&client, "/me", &[("access_token", &token)]).await;
    let permissions = format!("{GRAPH}/{}/permissions", text(&who["id"]));
    let stranger = client.delete_at(&permissions, &[("access_token", &kim)]).await;
    assert_eq!(stranger.1["error"]["code"], 100);
    let wrong = format!("{ID}|wrong");
    assert_eq!(
        client.delete_at(&permissions, &[("access_token", &wrong)]).await.1["error"]["code"],
        101
    );

    clock.advance(TimeDelta::days(70));
    let app = format!("{ID}|{SECRET}");
    for _ in 0..2 {
        let deleted = client.delete_at(&permissions, &[("access_token", &app)]).await;
        assert_eq!(deleted, (200, json!({ "success": true })));
    }
    assert_eq!(subcode(&client, &page_token).await, 458);
    assert_eq!((client.count(Kind::Revoked), client.count(Kind::RevokeIgnored)), (1, 1));
    let revoked = client.sandbox.ledger().into_iter().find(|entry| entry.kind == Kind::Revoked);
    assert_eq!(revoked.unwrap().user.as_deref(), Some("sam"));
}

#[tokio::test]
async fn codes_are_good_once_and_tokens_are_the_clients_own() {
    let (client, _) = start().await;
    let callback = client.approve("sam", client.page(PAGE, &[("scope", SCOPE)])).await;
    let code = ("code", callback["code"].as_str());
    let present = |redirect_uri| {
        let query = [CLIENT, [("redirect_uri", redirect_uri), code]].concat();
        answered(client.http.get(client.at(&format!("{GRAPH}/oauth/access_token"))).query(&query))
    };
    let (_, tokens) = present(BACK).await;
    assert_eq!(present(BACK).await.1["error"]["error_subcode"], 36009);
    assert_eq!(subcode(&client, &text(&tokens["access_token"])).await, 458);

    let token = lasting(&client, "kim").await;
    client.sandbox.set_client("another", &["secret"]);
    let query = [("input_token", token.as_str()), ("access_token", "another|secret")];
    let (_, standing) = get(&client, "/debug_token", &query).await;
    assert_eq!(standing["data"]["is_valid"], false);
    let nobody = [("input_token", token.as_str()), ("access_token", &token)];
    assert_eq!(get(&client, "/debug_token", &nobody).await.1["error"]["code"], 101);
}
