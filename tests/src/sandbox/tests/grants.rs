//! Codes, pairs, rotation and revocation.

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::clock::Clock;

use super::*;

#[tokio::test]
async fn a_code_becomes_a_pair() {
    let client = Client::default().await;
    let pair = client.connect("sam").await;
    assert!(pair.access.starts_with("sbx-at-") && pair.refresh.starts_with("sbx-rt-"));
    assert_eq!(pair.body["token_type"], "Bearer");
    assert_eq!(pair.body["expires_in"], 3600);
    assert_eq!(pair.body["scope"], "profile posts.write");
    let profile: Value = client.userinfo(&pair.access).await.unwrap().json().await.unwrap();
    assert_eq!(profile["sub"], "sbx-user-sam");
    assert_eq!(profile["name"], "Sam");
}

#[tokio::test]
async fn a_code_is_bound_to_verifier_and_redirect_uri() {
    let client = Client::default().await;
    for (name, value) in [
        ("code_verifier", "another-verifier-another-verifier-another-verifier"),
        ("redirect_uri", "http://127.0.0.1:1/other"),
    ] {
        let code = client.code("sam").await;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", if name == "redirect_uri" { value } else { REDIRECT_URI }),
            ("code_verifier", if name == "code_verifier" { value } else { VERIFIER }),
        ];
        assert_eq!(error(client.post("/token", &form).await).await, invalid_grant());
    }
}

#[tokio::test]
async fn a_second_use_of_a_code_ends_the_tokens_of_the_first() {
    let client = Client::default().await;
    let code = client.code("sam").await;
    let pair = Pair::of(client.exchange(&code).await.unwrap()).await;
    assert_eq!(error(client.exchange(&code).await).await, invalid_grant());
    assert_eq!(client.userinfo(&pair.access).await.unwrap().status(), 401);
    assert_eq!(error(client.refresh(&pair.refresh).await).await, invalid_grant());
    assert_eq!(client.sandbox.families()[0].ended, Some(Ending::CodeReused));
}

#[tokio::test]
async fn codes_and_tokens_end_with_time() {
    let clock = Clock::system();
    let refresh_lifetime = Some(Duration::from_secs(7200));
    let config =
        SandboxConfig { clock: clock.clone(), refresh_lifetime, ..SandboxConfig::default() };
    let client = Client::start(config).await;
    let code = client.code("sam").await;
    let pair = client.connect("sam").await;
    assert_eq!(pair.body["refresh_token_expires_in"], 7200);
    clock.advance(TimeDelta::seconds(61));
    assert_eq!(error(client.exchange(&code).await).await, invalid_grant());
    clock.advance(TimeDelta::hours(1));
    assert_eq!(client.userinfo(&pair.access).await.unwrap().status(), 401);
    clock.advance(TimeDelta::hours(1));
    assert_eq!(error(client.refresh(&pair.refresh).await).await, invalid_grant());
    assert!(!client.sandbox.families()[1].alive);
}

#[tokio::test]
async fn the_person_chooses_the_access_lifetime() {
    let client = Client::default().await;
    let person = Person::new("sam").unwrap().with_access_lifetime_secs(3);
    let callback = person.approve(client.authorize_url().as_str()).await.unwrap();
    let pair = Pair::of(client.exchange(&query(&callback)["code"]).await.unwrap()).await;
    assert_eq!(pair.body["expires_in"], 3);
}

#[tokio::test]
async fn strict_rotation_ends_the_family_on_reuse() {
    let client = Client::default().await;
    let first = client.connect("sam").await;
    let second = Pair::of(client.refresh(&first.refresh).await.unwrap()).await;
    assert_ne!(first.refresh, second.refresh);
    assert_eq!(client.userinfo(&first.access).await.unwrap().status(), 200);
    assert_eq!(error(client.refresh(&first.refresh).await).await, invalid_grant());
    assert_eq!(error(client.refresh(&second.refresh).await).await, invalid_grant());
    assert_eq!(client.userinfo(&second.access).await.unwrap().status(), 401);
    let [family] = client.sandbox.families().try_into().unwrap();
    assert_eq!((family.alive, family.generation), (false, Some(1)));
    assert_eq!(client.count(Kind::FamilyRevoked), 1);
}

#[tokio::test]
async fn within_the_grace_window_the_same_pair_is_answered_again() {
    let clock = Clock::system();
    let rotation = Rotation::Grace(Duration::from_secs(30));
    let config = SandboxConfig { clock: clock.clone(), rotation, ..SandboxConfig::default() };
    let client = Client::start(config).await;
    let first = client.connect("sam").await;
    let second = Pair::of(client.refresh(&first.refresh).await.unwrap()).await;
    let again = Pair::of(client.refresh(&first.refresh).await.unwrap()).await;
    assert_eq!((&again.access, &again.refresh), (&second.access, &second.refresh));
    assert_eq!((client.count(Kind::Refreshed), client.count(Kind::RefreshReplayed)), (1, 1));
    clock.advance(TimeDelta::seconds(31));
    assert_eq!(error(client.refresh(&first.refresh).await).await, invalid_grant());
    assert!(!client.sandbox.families()[0].alive);
}

#[tokio::test]
async fn a_stable_refresh_token_stays() {
    let rotation = Rotation::Stable;
    let client = Client::start(SandboxConfig { rotation, ..SandboxConfig::default() }).await;
    let first = client.connect("sam").await;
    for generation in 1..=2 {
        let next = Pair::of(client.refresh(&first.refresh).await.unwrap()).await;
        assert!(next.body.get("refresh_token").is_none());
        assert_eq!(client.sandbox.families()[0].generation, Some(generation));
    }
}

#[tokio::test]
async fn revoking_an_access_token_ends_only_itself() {
    let client = Client::default().await;
    let pair = client.connect("sam").await;
    assert_eq!(client.revoke(&pair.access).await.unwrap().status(), 200);
    assert_eq!(client.userinfo(&pair.access).await.unwrap().status(), 401);
    let next = Pair::of(client.refresh(&pair.refresh).await.unwrap()).await;
    assert_eq!(client.userinfo(&next.access).await.unwrap().status(), 200);
}

#[tokio::test]
async fn revoking_a_refresh_token_ends_the_family() {
    let client = Client::default().await;
    let pair = client.connect("sam").await;
    assert_eq!(client.revoke(&pair.refresh).await.unwrap().status(), 200);
    let userinfo = client.userinfo(&pair.access).await.unwrap();
    assert!(userinfo.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    assert_eq!(userinfo.status(), 401);
    assert_eq!(error(client.refresh(&pair.refresh).await).await, invalid_grant());
    assert_eq!(client.revoke(&pair.refresh).await.unwrap().status(), 200);
    assert_eq!(client.revoke("sbx-rt-unknown").await.unwrap().status(), 200);
    assert_eq!(client.count(Kind::FamilyRevoked), 1);
}

#[tokio::test]
async fn a_person_who_removes_the_app_ends_only_their_own_families() {
    let client = Client::default().await;
    let (sam, kim) = (client.connect("sam").await, client.connect("kim").await);
    client.sandbox.revoke_user("sam");
    assert_eq!(error(client.refresh(&sam.refresh).await).await, invalid_grant());
    assert_eq!(client.refresh(&kim.refresh).await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_client_proves_itself_by_header_or_form() {
    let client = Client::default().await;
    let pair = client.connect("sam").await;
    let config = SandboxConfig::default();
    let form = |secret| {
        let named = [("client_id", "latchkey-sandbox-client"), ("client_secret", secret)];
        let grant = [("grant_type", "refresh_token"), ("refresh_token", pair.refresh.as_str())];
        client.http.post(client.at("/token")).form(&[named, grant].concat()).send()
    };
    let refused = (401, "invalid_client".to_owned());
    assert_eq!(error(form("wrong").await).await, refused);
    let nobody = client.http.post(client.at("/revoke")).form(&[("token", "any")]).send();
    assert_eq!(error(nobody.await).await, refused);
    assert_eq!(form(&config.client_secret).await.unwrap().status(), 200);
    assert_eq!(client.count(Kind::ClientRefused), 2);
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let client = Client::default().await;
    let code =
        |form: &'static [(&str, &str)]| async { error(client.post("/token", form).await).await.1 };
    assert_eq!(code(&[]).await, "invalid_request");
    assert_eq!(code(&[("grant_type", "password")]).await, "unsupported_grant_type");
    assert_eq!(code(&[("grant_type", "refresh_token")]).await, "invalid_request");
    let twice = code(&[("grant_type", "refresh_token"), ("grant_type", "refresh_token")]).await;
    assert_eq!(twice, "invalid_request");
}
