//! The authorize endpoint.

use super::*;

#[tokio::test]
async fn approval_goes_back_with_code_state_and_issuer() {
    let client = Client::default().await;
    let page = client.http.get(client.authorize_url()).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("posts.write") && page.contains(r#"value="sam""#));
    let person = Person::new("sam").unwrap();
    let callback = person.approve(client.authorize_url().as_str()).await.unwrap();
    let query = query(&callback);
    assert!(callback.as_str().starts_with(REDIRECT_URI));
    assert!(query["code"].starts_with("sbx-code-") && query["code"].len() == 9 + 43);
    assert_eq!((query["state"].as_str(), query["iss"].as_str()), ("st4te", client.sandbox.url()));
}

#[tokio::test]
async fn cancelling_goes_back_with_access_denied() {
    let client = Client::default().await;
    let person = Person::new("sam").unwrap();
    let query = query(&person.deny(client.authorize_url().as_str()).await.unwrap());
    assert_eq!(query["error"], "access_denied");
    assert_eq!(query["state"], "st4te");
    assert_eq!(client.count(Kind::Deny), 1);
}

#[tokio::test]
async fn an_unknown_client_or_redirect_uri_is_never_redirected_to() {
    let client = Client::default().await;
    for (name, value) in [
        ("client_id", "someone"),
        ("client_id", ""),
        ("redirect_uri", "http://example.com/callback"),
        ("redirect_uri", "https://example.com/callback#fragment"),
        ("redirect_uri", "javascript:alert(1)"),
    ] {
        let response = client.http.get(with(client.authorize_url(), name, value)).send().await;
        let response = response.unwrap();
        assert_eq!(response.status(), 400);
        assert!(response.text().await.unwrap().contains(name), "{name}={value}");
    }
}

#[tokio::test]
async fn registered_redirect_uris_are_compared_exactly() {
    let redirect_uris = vec![REDIRECT_URI.to_owned()];
    let client = Client::start(SandboxConfig { redirect_uris, ..SandboxConfig::default() }).await;
    assert_eq!(client.http.get(client.authorize_url()).send().await.unwrap().status(), 200);
    let other = with(client.authorize_url(), "redirect_uri", &format!("{REDIRECT_URI}/"));
    assert_eq!(client.http.get(other).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn other_bad_parameters_are_told_to_the_client() {
    let client = Client::default().await;
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("scope", "", "invalid_request"),
    ] {
        let response = client.http.get(with(client.authorize_url(), name, value)).send().await;
        let response = response.unwrap();
        assert_eq!(response.status(), 303);
        let location = Url::parse(response.headers()["location"].to_str().unwrap()).unwrap();
        assert_eq!(query(&location)["error"], error, "{name}={value}");
    }
}

#[tokio::test]
async fn what_the_page_shows_is_escaped() {
    let client = Client::default().await;
    let url = with(client.authorize_url(), "scope", "<script>");
    let page = client.http.get(url).send().await.unwrap().text().await.unwrap();
    assert!(!page.contains("<script>"));
}

#[tokio::test]
async fn metadata_names_the_endpoints() {
    let client = Client::default().await;
    let url = client.at("/.well-known/oauth-authorization-server");
    let metadata: Value = client.http.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(metadata["issuer"], client.sandbox.url());
    assert_eq!(metadata["revocation_endpoint"], client.at("/revoke"));
}

fn with(url: Url, name: &str, value: &str) -> Url {
    let mut changed = url.clone();
    let others = url.query_pairs().filter(|(key, _)| key != name);
    changed.query_pairs_mut().clear().extend_pairs(others).append_pair(name, value);
    changed
}
