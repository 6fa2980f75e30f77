//! What holds for every vendor: faults, the ledger, what is recorded, and the person who removes the app.

use std::collections::BTreeMap;

use super::*;

const PIN_TOKEN: &str = "/api.pinterest.com/v5/oauth/token";
const SHORT: &str = "/api.instagram.com/oauth/access_token";

async fn at_pinterest(client: &Client, user: &str) -> Value {
    let page = client.page("/www.pinterest.com/oauth/", &[("scope", "pins:read")]);
    let code = client.approve(user, page).await["code"].clone();
    client.form_at(PIN_TOKEN, By::Basic, &with_code(&code)).await.1
}

async fn at_instagram(client: &Client, user: &str) -> Value {
    let scope = [("scope", "instagram_business_basic")];
    let page = client.page("/www.instagram.com/oauth/authorize", &scope);
    let code = client.approve(user, page).await["code"].clone();
    client.form_at(SHORT, By::Body, &with_code(&code)).await.1["data"][0].clone()
}

#[tokio::test]
async fn a_fault_speaks_the_vendors_language_and_ends_nothing() {
    let (client, _) = start().await;
    let tokens = at_pinterest(&client, "sam").await;
    let token = text(&tokens["refresh_token"]);
    let refresh =
        || async { client.form_at(PIN_TOKEN, By::Basic, &with_refresh_token(&token)).await };
    client.sandbox.inject(
        FaultRule::new(Endpoint::TokenRefresh, Fault::InvalidGrant).for_user("sam").times(1),
    );
    let (status, refusal) = refresh().await;
    assert_eq!((status, &refusal["code"]), (400, &json!(283)));
    client.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, Fault::InvalidClient).times(1));
    assert_eq!(refresh().await.0, 401);

    let short = text(&at_instagram(&client, "sam").await["access_token"]);
    client.sandbox.inject(FaultRule::new(Endpoint::LongLived, Fault::InvalidGrant).times(1));
    let query =
        [("grant_type", "ig_exchange_token"), ("client_secret", SECRET), ("access_token", &short)];
    let swap = || client.get_at("/graph.instagram.com/access_token", &query);
    assert_eq!(swap().await.1["error"]["code"], 190);
    assert_eq!(swap().await.0, 200);
    assert_eq!(refresh().await.0, 200);
}

#[tokio::test]
async fn any_answer_can_be_had_in_place_of_the_effect_or_after_it() {
    let (client, _) = start().await;
    let headers = BTreeMap::from([("x-rate-limit-reset".to_owned(), "1800000000".to_owned())]);
    let fault =
        Fault::Answer { status: 429, headers, body: r#"{"errors":[{"code":88}]}"#.to_owned() };
    for (rule, spent) in [
        (FaultRule::new(Endpoint::TokenRefresh, fault.clone()), false),
        (FaultRule::new(Endpoint::TokenRefresh, fault).after(), true),
    ] {
        let tokens = at_pinterest(&client, "sam").await;
        let token = text(&tokens["refresh_token"]);
        client.sandbox.inject(rule.times(1));
        let request = client.http.post(client.at(PIN_TOKEN)).basic_auth(ID, Some(SECRET));
        let answer = request.form(&with_refresh_token(&token)).send().await.unwrap();
        assert_eq!(answer.headers()["x-rate-limit-reset"], "1800000000");
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(answer.status(), 429);
        assert_eq!(answer.json::<Value>().await.unwrap()["errors"][0]["code"], 88);
        let next = client.form_at(PIN_TOKEN, By::Basic, &with_refresh_token(&token)).await;
        assert_eq!(next.0 == 200, !spent);
    }
}

#[tokio::test]
async fn faults_reach_into_envelopes() {
    let (client, _) = start().await;
    let key = [("client_key", ID), ("scope", "user.info.basic")];
    let page = client.page("/www.tiktok.com/v2/auth/authorize/", &key);
    let code = client.approve("sam", page).await["code"].clone();
    client.sandbox.inject(FaultRule::new(Endpoint::TokenCode, Fault::MissingRefreshToken));
    let body = json!({
        "client_id": ID,
        "client_secret": SECRET,
        "grant_type": "authorization_code",
        "auth_code": code,
        "redirect_uri": BACK,
    });
    let path = "/business-api.tiktok.com/open_api/v1.3/tt_user/oauth2/token/";
    let (_, answer) = client.json_at(path, body).await;
    assert!(answer["data"]["access_token"].is_string());
    assert!(answer["data"].get("refresh_token").is_none());
}

#[tokio::test]
async fn every_request_to_a_vendor_is_recorded_and_no_other() {
    let (client, _) = start().await;
    client.connect("sam").await;
    assert!(client.sandbox.requests().is_empty());
    let tokens = at_pinterest(&client, "sam").await;
    let account = client.http.get(client.at("/api.pinterest.com/v5/user_account?a=b%20c"));
    let account = account.header("x-other", "1").bearer_auth(text(&tokens["access_token"]));
    account.send().await.unwrap();
    let requests = client.sandbox.requests();
    let paths: Vec<&str> = requests.iter().map(|request| request.path.as_str()).collect();
    let page = "/www.pinterest.com/oauth/";
    assert_eq!(paths, [page, page, PIN_TOKEN, "/api.pinterest.com/v5/user_account"]);
    assert!(requests.iter().all(|request| request.platform == "PINTEREST"));
    assert_eq!(requests[2].method, "POST");
    assert!(requests[2].body.contains("grant_type=authorization_code"));
    assert!(requests[2].headers["authorization"].starts_with("Basic "));
    assert_eq!(requests[3].query, [("a".to_owned(), "b c".to_owned())]);
    assert_eq!(requests[3].headers.keys().collect::<Vec<_>>(), ["authorization"]);
    let told = client.get_at("/control/requests", &[]).await.1;
    assert_eq!(told["requests"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_person_who_removes_the_app_ends_all_they_have_everywhere() {
    let (client, _) = start().await;
    let pinterest = at_pinterest(&client, "sam").await;
    let instagram = at_instagram(&client, "sam").await;
    let kim = at_pinterest(&client, "kim").await;
    client.sandbox.revoke_user("sam");
    let account = |tokens: &Value| {
        let request = client.http.get(client.at("/api.pinterest.com/v5/user_account"));
        answered(request.bearer_auth(text(&tokens["access_token"])))
    };
    assert_eq!(account(&pinterest).await.0, 401);
    assert_eq!(account(&kim).await.0, 200);
    let token = text(&instagram["access_token"]);
    let (_, refusal) =
        client.get_at("/graph.instagram.com/v23.0/me", &[("access_token", &token)]).await;
    assert_eq!(refusal["error"]["error_subcode"], 458);
    assert_eq!(client.kinds("INSTAGRAM").last(), Some(&Kind::IdentityRefused));
    assert!(client.kinds("PINTEREST").contains(&Kind::FamilyRevoked));
}

#[tokio::test]
async fn a_token_is_good_at_its_own_platform_alone() {
    let (client, _) = start().await;
    let standard = client.connect("sam").await;
    let pinterest = at_pinterest(&client, "sam").await;
    let (status, _) =
        client.bearer_at("/api.pinterest.com/v5/user_account", &standard.access).await;
    assert_eq!(status, 401);
    assert_eq!(client.userinfo(&text(&pinterest["access_token"])).await.unwrap().status(), 401);
    let foreign =
        client.form_at(PIN_TOKEN, By::Basic, &with_refresh_token(&standard.refresh)).await;
    assert_eq!(foreign.0, 400);
    assert_eq!(client.refresh(&standard.refresh).await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_ledger_holds_no_secret_of_a_vendor() {
    let (client, _) = start().await;
    let page = client.page("/www.facebook.com/v23.0/dialog/oauth", &[("scope", "pages_show_list")]);
    let code = client.approve("sam", page).await["code"].clone();
    let query =
        [("client_id", ID), ("client_secret", SECRET), ("redirect_uri", BACK), ("code", &code)];
    let (_, tokens) = client.get_at("/graph.facebook.com/v23.0/oauth/access_token", &query).await;
    let token = text(&tokens["access_token"]);
    let (_, list) =
        client.get_at("/graph.facebook.com/v23.0/me/accounts", &[("access_token", &token)]).await;
    let page_token = text(&list["data"][0]["access_token"]);
    let secrets = client.sandbox.secrets();
    assert!(secrets.contains(&page_token) && secrets.contains(&token));
    let dump = serde_json::to_string(&client.sandbox.ledger()).unwrap();
    assert!(secrets.iter().all(|secret| !dump.contains(secret)));
}

#[tokio::test]
async fn pages_are_set_and_ended_over_the_control_api() {
    let (client, _) = start().await;
    let set = client.http.post(client.at("/control/users/sam/pages"));
    let set = set.json(&json!([page("4711", &["CREATE_CONTENT"])])).send().await.unwrap();
    assert_eq!(set.status(), 204);
    let ended = client.http.post(client.at("/control/pages/4711/end")).send().await.unwrap();
    assert_eq!(ended.status(), 204);
    let scope = [("scope", "https://www.googleapis.com/auth/youtube.readonly")];
    let consent = client.page("/accounts.google.com/o/oauth2/v2/auth", &scope);
    let code = client.approve("sam", consent).await["code"].clone();
    let (_, tokens) =
        client.form_at("/oauth2.googleapis.com/token", By::Body, &with_code(&code)).await;
    let channels = "/www.googleapis.com/youtube/v3/channels?part=id&mine=true";
    let (_, list) = client.bearer_at(channels, &text(&tokens["access_token"])).await;
    assert_eq!(list["items"][0]["id"], "4711");
}

#[tokio::test]
async fn the_person_chooses_how_long_what_lasts_lives() {
    let (client, _) = start().await;
    let person = Person::new("sam").unwrap().with_access_lifetime_secs(100_000);
    let page =
        client.page("/www.instagram.com/oauth/authorize", &[("scope", "instagram_business_basic")]);
    let code = query(&person.approve(page.as_str()).await.unwrap())["code"].clone();
    let (_, tokens) = client.form_at(SHORT, By::Body, &with_code(&code)).await;
    let short = text(&tokens["data"][0]["access_token"]);
    let query =
        [("grant_type", "ig_exchange_token"), ("client_secret", SECRET), ("access_token", &short)];
    let (_, lasting) = client.get_at("/graph.instagram.com/access_token", &query).await;
    assert_eq!(lasting["expires_in"], 100_000);
}

#[tokio::test]
async fn a_consent_page_shows_whose_it_is_and_keeps_its_parameters() {
    let (client, _) = start().await;
    let consent =
        client.page("/www.tiktok.com/v2/auth/authorize/", &[("client_key", ID), ("scope", "a,b")]);
    let html = client.http.get(consent).send().await.unwrap().text().await.unwrap();
    assert!(
        html.contains("at TIKTOK")
            && html.contains(r#"action="/www.tiktok.com/v2/auth/authorize/""#)
    );
    assert!(html.contains(r#"name="client_key""#));
    for (name, value) in
        [("client_id", "someone"), ("redirect_uri", "http://example.com/"), ("scope", "")]
    {
        let page = client.page("/x.com/i/oauth2/authorize", &[("scope", "a"), (name, value)]);
        assert_eq!(client.shows(page).await, 400, "{name}");
    }
}
