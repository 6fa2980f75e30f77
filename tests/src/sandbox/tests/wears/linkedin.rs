//! LinkedIn: one set of scopes, a refresh token that stays, and organisations.

use super::*;

const PAGE: &str = "/www.linkedin.com/oauth/v2/authorization";
const TOKEN: &str = "/www.linkedin.com/oauth/v2/accessToken";
const USERINFO: &str = "/api.linkedin.com/v2/userinfo";
const ACLS: &str = "/api.linkedin.com/v2/organizationalEntityAcls?q=roleAssignee&state=APPROVED";
const SCOPE: &str = "openid profile w_member_social";

async fn connect(client: &Client, user: &str, scope: &str) -> Value {
    let callback = client.approve(user, client.page(PAGE, &[("scope", scope)])).await;
    let (status, tokens) = client.form_at(TOKEN, By::Body, &with_code(&callback["code"])).await;
    assert_eq!(status, 200, "{tokens}");
    tokens
}

async fn refresh(client: &Client, token: &str) -> (u16, Value) {
    client.form_at(TOKEN, By::Body, &with_refresh_token(token)).await
}

/// The status of a call with the access token, and LinkedIn's number for what is wrong with it.
async fn stands(client: &Client, tokens: &Value) -> (u16, Value) {
    let (status, body) = client.bearer_at(USERINFO, &text(&tokens["access_token"])).await;
    (status, body["serviceErrorCode"].clone())
}

#[tokio::test]
async fn a_refresh_token_stays_and_ends_a_year_after_the_consent() {
    let (client, clock) = start().await;
    let tokens = connect(&client, "sam", SCOPE).await;
    assert_eq!(tokens["scope"], "openid,profile,w_member_social");
    let lives =
        |tokens: &Value| (tokens["expires_in"].clone(), tokens["refresh_token_expires_in"].clone());
    let days = |count: i64| json!(count * 86_400);
    assert_eq!(lives(&tokens), (days(60), days(365)));
    let token = text(&tokens["refresh_token"]);

    let began = clock.now();
    clock.advance(TimeDelta::days(350));
    let (_, next) = refresh(&client, &token).await;
    assert_eq!(next["refresh_token"], token.as_str());
    let left = next["refresh_token_expires_in"].as_i64().unwrap();
    assert_eq!(next["expires_in"], left, "no access token outlives it");
    assert!((left - 15 * 86_400).abs() < 60);
    let (_, who) = client.bearer_at(USERINFO, &text(&next["access_token"])).await;
    assert_eq!(who["name"], "Sam");

    clock.advance(TimeDelta::days(366) - (clock.now() - began));
    let (status, refusal) = refresh(&client, &token).await;
    assert_eq!((status, text(&refusal["error"])), (400, "invalid_request".to_owned()));
    assert!(
        text(&refusal["error_description"])
            .contains("refresh token is invalid, expired or revoked")
    );
    assert_eq!(stands(&client, &next).await, (401, json!(65602)));
}

#[tokio::test]
async fn refresh_tokens_are_for_approved_apps() {
    let config = SandboxConfig { linkedin_refresh_tokens: false, ..SandboxConfig::default() };
    let (client, _) = start_with(config).await;
    let tokens = connect(&client, "sam", SCOPE).await;
    assert_eq!(tokens["expires_in"], 60 * 86_400);
    assert!(tokens.get("refresh_token").is_none());
    assert!(tokens.get("refresh_token_expires_in").is_none());
}

#[tokio::test]
async fn another_set_of_scopes_ends_what_the_member_gave_before() {
    let (client, _) = start().await;
    client.sandbox.set_client("another", &["secret"]);
    let (first, kim) = (connect(&client, "sam", SCOPE).await, connect(&client, "kim", SCOPE).await);
    let again = connect(&client, "sam", "w_member_social openid profile").await;
    assert_eq!(stands(&client, &first).await.0, 200, "the same set in another order");

    let wider =
        connect(&client, "sam", "openid profile w_member_social rw_organization_admin").await;
    for tokens in [&first, &again] {
        assert_eq!(stands(&client, tokens).await, (401, json!(65601)));
        assert_eq!(refresh(&client, &text(&tokens["refresh_token"])).await.0, 400);
    }
    assert_eq!(stands(&client, &wider).await.0, 200);
    assert_eq!(stands(&client, &kim).await.0, 200);
    let ended = client.sandbox.ledger().into_iter().filter_map(|entry| entry.reason);
    assert_eq!(ended.collect::<Vec<_>>(), [Ending::ScopesChanged, Ending::ScopesChanged]);
}

#[tokio::test]
async fn revoking_one_token_ends_all_of_the_member() {
    let (client, _) = start().await;
    let (one, other) = (connect(&client, "sam", SCOPE).await, connect(&client, "sam", SCOPE).await);
    let kim = connect(&client, "kim", SCOPE).await;
    let revoke = "/www.linkedin.com/oauth/v2/revoke";
    let token = text(&one["access_token"]);
    assert_eq!(client.form_at(revoke, By::Body, &[("token", &token)]).await.0, 200);
    assert_eq!(stands(&client, &other).await, (401, json!(65601)));
    assert_eq!(stands(&client, &kim).await.0, 200);
    assert_eq!(client.form_at(revoke, By::Body, &[("token", &token)]).await.0, 200);
    assert_eq!(client.count(Kind::RevokeIgnored), 1);
}

#[tokio::test]
async fn what_a_careless_client_runs_into() {
    let (client, clock) = start().await;
    let scope = ("scope", SCOPE);
    let challenge = [("code_challenge", "c"), ("code_challenge_method", "S256"), scope];
    let sent = client.http.get(client.page(PAGE, &challenge)).send().await.unwrap();
    let back = Url::parse(sent.headers()["location"].to_str().unwrap()).unwrap();
    assert_eq!(query(&back)["error"], "invalid_request");

    let person = Person::new("sam").unwrap();
    let back = person.deny(client.page(PAGE, &[scope]).as_str()).await.unwrap();
    assert_eq!(query(&back)["error"], "user_cancelled_authorize");
    assert_eq!(query(&back)["state"], "st4te");

    let code = client.approve("sam", client.page(PAGE, &[scope])).await["code"].clone();
    let (status, refusal) = client.form_at(TOKEN, By::Basic, &with_code(&code)).await;
    assert_eq!((status, &refusal["error"]), (401, &json!("invalid_client")));
    assert_eq!(client.form_at(TOKEN, By::Body, &with_code(&code)).await.0, 200);
    let (status, refusal) = client.form_at(TOKEN, By::Body, &with_code(&code)).await;
    assert_eq!(
        (status, &refusal["error_description"]),
        (401, &json!("authorization code not found"))
    );

    let code = client.approve("sam", client.page(PAGE, &[scope])).await["code"].clone();
    clock.advance(TimeDelta::minutes(31));
    let (status, refusal) = client.form_at(TOKEN, By::Body, &with_code(&code)).await;
    assert_eq!((status, &refusal["error"]), (400, &json!("invalid_redirect_uri")));
}

#[tokio::test]
async fn organisations_are_listed_by_role_to_who_names_the_versions() {
    let (client, _) = start().await;
    let roles = ["ADMINISTRATOR", "ANALYST", "CREATE_CONTENT"];
    client.sandbox.set_pages("sam", vec![page("1", &roles), page("2", &["CONTENT_ADMINISTRATOR"])]);
    let tokens = connect(&client, "sam", SCOPE).await;
    let ask = |query: &str, headers: &[(&str, &str)]| {
        let request = client.http.get(client.at(&format!("{ACLS}{query}")));
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        answered(request.bearer_auth(text(&tokens["access_token"])))
    };
    let restli = ("x-restli-protocol-version", "2.0.0");
    let version = ("linkedin-version", "202609");
    assert_eq!(ask("", &[restli]).await.0, 400);
    assert_eq!(ask("", &[version]).await.0, 400);

    let projection = "&projection=(elements*(organizationalTarget~(localizedName,vanityName)))";
    let (_, all) = ask(projection, &[restli, version]).await;
    assert_eq!(all["paging"]["total"], 3, "what are tasks at Facebook is left out");
    let first = json!({
        "role": "ADMINISTRATOR",
        "state": "APPROVED",
        "organizationalTarget": "urn:li:organization:1",
        "organizationalTarget~": { "localizedName": "Page 1", "vanityName": "page.1" },
    });
    assert_eq!(all["elements"][0], first);
    let (_, rest) = ask("&start=2&count=2", &[restli, version]).await;
    assert_eq!(rest["elements"].as_array().unwrap().len(), 1);
    assert_eq!(rest["elements"][0]["role"], "CONTENT_ADMINISTRATOR");
    assert!(rest["elements"][0].get("organizationalTarget~").is_none());
    assert_eq!(client.count(Kind::Listed), 2);
}
