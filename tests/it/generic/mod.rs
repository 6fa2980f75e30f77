//! Providers that are described in the platforms file alone: any standard OAuth 2.0 or OpenID Connect
//! server, here the sandbox under other names and rules.

mod discovery;
mod issuer;

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use latchkey_tests::app::{Answer, Options};
use latchkey_tests::sandbox::{ClientAuthentication, Endpoint, Fault, FaultRule, Kind, Rotation};
use latchkey_tests::{Person, SandboxConfig, TestApp};
use serde_json::{Value, json};
use url::Url;

/// What must be encoded before it is joined to a Basic header (RFC 6749 §2.3.1).
const CLIENT_ID: &str = "my client:+%ü";
const CLIENT_SECRET: &str = "pass & word = 100 % : é + more than enough";

/// A section with this client, and these keys.
fn section(keys: &str) -> String {
    format!(
        "[platforms.MY_PROVIDER]\nname = \"My provider\"\nclient_id = \"{CLIENT_ID}\"\n\
         client_secret = {{ value = \"{CLIENT_SECRET}\" }}\nrefresh_spacing_seconds = 0\n{keys}\n"
    )
}

/// As short as a section can be.
fn discovered(keys: &str) -> String {
    section(&format!(
        "issuer = \"{{sandbox}}\"\nscopes = [\"openid\", \"profile\", \"offline_access\"]\n{keys}"
    ))
}

fn explicit(keys: &str) -> String {
    section(&format!(
        "authorize_url = \"{{sandbox}}/authorize?tenant=7\"\ntoken_url = \"{{sandbox}}/token\"\n\
         userinfo_url = \"{{sandbox}}/userinfo\"\nscopes = [\"profile\"]\n{keys}"
    ))
}

fn sandbox() -> SandboxConfig {
    SandboxConfig {
        client_id: CLIENT_ID.to_owned(),
        client_secret: CLIENT_SECRET.to_owned(),
        client_authentication: ClientAuthentication::Basic,
        ..SandboxConfig::default()
    }
}

/// Latchkey with a provider of the operator's, and nothing else.
async fn start(platforms: String, sandbox: SandboxConfig) -> anyhow::Result<TestApp> {
    let options = Options { configured: false, platforms, sandbox, ..Options::default() };
    TestApp::start_with(options).await
}

async fn metadata_without(member: &str) -> anyhow::Result<TestApp> {
    let metadata = [(member.to_owned(), Value::Null)].into_iter().collect();
    start(discovered(""), SandboxConfig { metadata, ..sandbox() }).await
}

async fn begin(app: &TestApp) -> anyhow::Result<Value> {
    app.start_connect(json!({ "platform": "MY_PROVIDER" })).await
}

async fn try_to_begin(app: &TestApp) -> anyhow::Result<Answer> {
    app.http.post(&app.path("/connects"), &json!({ "platform": "MY_PROVIDER" })).await
}

/// Connects a person, and answers the ended connect.
async fn connect(app: &TestApp, user: &str) -> anyhow::Result<Value> {
    let started = begin(app).await?;
    app.approve(&started, &Person::new(user)?).await?.expect(303)?;
    app.ended(text(&started["connectId"])).await
}

async fn connected(app: &TestApp, user: &str) -> anyhow::Result<String> {
    let ended = connect(app, user).await?;
    assert_eq!(ended["status"], "connected", "{ended:#}");
    Ok(text(&ended["accountIds"][0]).to_owned())
}

async fn refreshed(app: &TestApp, account: &str, generation: u32) -> anyhow::Result<Value> {
    let path = app.path(&format!("/accounts/{account}/refresh"));
    app.http.post(&path, &json!({})).await?.expect(202)?;
    app.account_until(account, |account| account["tokenGeneration"] == generation).await
}

/// Disconnects, and answers the receipt.
async fn disconnected(app: &TestApp, account: &str) -> anyhow::Result<Value> {
    app.http.delete(&app.path(&format!("/accounts/{account}"))).await?.expect(202)?;
    let ended = |account: &Value| account["revocation"]["status"] != "pending";
    Ok(app.account_until(account, ended).await?["revocation"].clone())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn query(url: &str) -> anyhow::Result<HashMap<String, String>> {
    Ok(Url::parse(url)?.query_pairs().into_owned().collect())
}

fn count(app: &TestApp, kind: Kind) -> usize {
    app.sandbox.ledger().iter().filter(|entry| entry.kind == kind).count()
}

fn no_family_lives(app: &TestApp) -> bool {
    app.sandbox.families().iter().all(|family| !family.alive)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_an_issuer_connects_refreshes_and_revokes() -> anyhow::Result<()> {
    let keys = "authorize_parameters = { prompt = \"consent\" }";
    let app = start(discovered(keys), sandbox()).await?;
    assert_eq!(count(&app, Kind::Metadata), 0, "nobody is asked before it is needed");
    let started = begin(&app).await?;
    let asked = query(text(&started["authorizeUrl"]))?;
    assert_eq!(asked["client_id"], CLIENT_ID);
    assert_eq!(asked["scope"], "openid profile offline_access");
    assert_eq!(
        (asked["code_challenge_method"].as_str(), asked["prompt"].as_str()),
        ("S256", "consent")
    );
    assert!(asked["redirect_uri"].ends_with("/v1/connect/my_provider/callback"));

    let account = connected(&app, "sam").await?;
    let shown = app.account(&account).await?;
    assert_eq!((text(&shown["platform"]), text(&shown["username"])), ("MY_PROVIDER", "sam"));
    assert_eq!(shown["platformUserId"], "sbx-user-sam");
    for generation in [2, 3] {
        app.clock.advance(TimeDelta::minutes(58));
        app.account_until(&account, |account| account["tokenGeneration"] == generation).await?;
    }
    let receipt = disconnected(&app, &account).await?;
    assert_eq!(
        (text(&receipt["status"]), &receipt["platformAnswer"]["httpStatus"]),
        ("revoked", &json!(200))
    );
    assert!(no_family_lives(&app));
    // The API once, the worker once, and both again after an hour and more: nobody asks each time.
    assert!(count(&app, Kind::Metadata) <= 4, "{}", count(&app, Kind::Metadata));
    assert_eq!(count(&app, Kind::ClientRefused), 0);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_of_explicit_addresses_connects_refreshes_and_revokes() -> anyhow::Result<()> {
    let keys = "revoke_url = \"{sandbox}/revoke\"\nclient_authentication = \"body\"\npkce = false\n\
                refresh = \"stable\"\nrevocation_reach = \"token\"\ntoken_lifetime_seconds = 600\n\
                token_parameters = { audience = \"https://api.example/\" }\n\
                userinfo = { id = \"/account/number\", username = \"/account/handle\" }";
    let options = Options {
        configured: false,
        platforms: explicit(keys),
        rotation: Rotation::Stable,
        sandbox: SandboxConfig {
            client_authentication: ClientAuthentication::Body,
            requires_pkce: false,
            token_parameters: BTreeMap::from([("audience".into(), "https://api.example/".into())]),
            ..sandbox()
        },
        ..Options::default()
    };
    let app = TestApp::start_with(options).await?;
    let asked = query(text(&begin(&app).await?["authorizeUrl"]))?;
    assert!(!asked.contains_key("code_challenge"));
    assert_eq!(asked["tenant"], "7", "what the address says already stays");
    let account = connected(&app, "sam").await?;
    let shown = app.account(&account).await?;
    // Beyond 2^53, to the digit.
    let number = 9_007_199_254_740_993_u64 + u64::from(b's') + u64::from(b'a') + u64::from(b'm');
    assert_eq!(shown["platformUserId"], number.to_string());
    assert_eq!((text(&shown["username"]), text(&shown["displayName"])), ("sam", "Sam"));
    for generation in [2, 3] {
        refreshed(&app, &account, generation).await?;
    }
    assert_eq!(disconnected(&app, &account).await?["status"], "revoked");
    assert!(no_family_lives(&app));
    assert_eq!(count(&app, Kind::Metadata), 0, "nothing was left to discover");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_are_listed_beside_what_is_built_in() -> anyhow::Result<()> {
    let app = start(discovered("refresh = \"stable\""), sandbox()).await?;
    let shown = async |id: &str| {
        let list = app.http.get("/v1/platforms").await?.expect(200)?.json();
        let found = list["data"].as_array().into_iter().flatten().find(|row| row["id"] == id);
        anyhow::Ok(found.cloned().unwrap_or_default())
    };
    assert_eq!(shown("SANDBOX").await?["configured"], false);
    let expected = json!({
        "id": "MY_PROVIDER",
        "name": "My provider",
        "flow": "authorization_code",
        "configured": true,
        "accounts": "one",
        "defaultScopes": ["openid", "profile", "offline_access"],
        "scopesFixed": false,
        "tokenLifetimeSeconds": null,
        "refreshModel": "stable",
        "revocation": { "supported": null, "reach": "person" },
    });
    assert_eq!(shown("MY_PROVIDER").await?, expected);
    begin(&app).await?;
    let known = shown("MY_PROVIDER").await?["revocation"]["supported"].clone();
    assert_eq!(known, true, "now it is known");
    let accounts = app.path("/accounts?platform=MY_PROVIDER");
    app.http.get(&accounts).await?.expect(200)?;
    let other = app.http.post(&app.path("/connects"), &json!({ "platform": "OTHER" })).await?;
    assert_eq!((other.status, other.code().as_str()), (400, "PLATFORM_UNKNOWN"));
    app.finish().await
}

/// An ID token that nobody could check is not read: its subject is somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_is_not_believed() -> anyhow::Result<()> {
    let id_token_subject = Some("sbx-user-victim".to_owned());
    let app = start(discovered(""), SandboxConfig { id_token_subject, ..sandbox() }).await?;
    let account = connected(&app, "sam").await?;
    assert_eq!(app.account(&account).await?["platformUserId"], "sbx-user-sam");
    app.finish().await
}

/// Basic where the form is wanted, and the other way round: ours to mend, and no account suffers.
#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_client_authentication_is_our_fault() -> anyhow::Result<()> {
    for (wanted, said) in
        [(ClientAuthentication::Body, "basic"), (ClientAuthentication::Basic, "body")]
    {
        let platforms = discovered(&format!("client_authentication = \"{said}\""));
        let config = SandboxConfig { client_authentication: wanted, ..sandbox() };
        let app = start(platforms, config).await?;
        let ended = connect(&app, "sam").await?;
        assert_eq!(ended["reasonCode"], "PLATFORM_MISCONFIGURED", "{said}");
        assert_eq!(count(&app, Kind::ClientRefused), 1);
        assert_eq!(app.row("SELECT count(*) AS n FROM grants").await?["n"], 0);
        app.finish().await?;
    }
    let app = start(discovered(""), sandbox()).await?;
    let account = connected(&app, "sam").await?;
    app.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, Fault::InvalidClient).times(1));
    let path = app.path(&format!("/accounts/{account}/refresh"));
    app.http.post(&path, &json!({})).await?.expect(202)?;
    let shown = app.account_until(&account, |account| !account["lastError"].is_null()).await?;
    assert_eq!(
        (text(&shown["status"]), text(&shown["lastError"]["code"])),
        ("connected", "invalid_client")
    );
    app.clock.advance(TimeDelta::minutes(6));
    app.account_until(&account, |account| account["tokenGeneration"] == 2).await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_revocation_endpoint_the_receipt_says_so() -> anyhow::Result<()> {
    let app = metadata_without("revocation_endpoint").await?;
    let account = connected(&app, "sam").await?;
    assert_eq!(disconnected(&app, &account).await?["status"], "not_supported");
    assert_eq!(app.row("SELECT count(sealed_tokens) AS n FROM grants").await?["n"], 0);
    app.finish().await
}

/// A refresh token that the operator says is of no use is not kept, let alone presented.
#[tokio::test(flavor = "multi_thread")]
async fn where_only_consent_renews_the_end_of_the_access_token_is_the_end() -> anyhow::Result<()> {
    let app = start(discovered("refresh = \"reconsent_only\""), sandbox()).await?;
    let account = connected(&app, "sam").await?;
    assert_eq!(app.account(&account).await?["nextRefreshAt"], Value::Null);
    app.clock.advance(TimeDelta::minutes(61));
    let shown = app.account_until(&account, |account| account["status"] == "token_expired").await?;
    assert_eq!(shown["statusReason"], "access_token_ended");
    assert_eq!(count(&app, Kind::Refreshed), 0);
    app.finish().await
}

/// Identity comes from where the file says, and nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_not_where_the_file_says_connects_nobody() -> anyhow::Result<()> {
    let app = start(discovered("userinfo = { id = \"/account/uuid\" }"), sandbox()).await?;
    let ended = connect(&app, "sam").await?;
    assert_eq!(ended["reasonCode"], "IDENTITY_REFUSED");
    assert_eq!(app.row("SELECT count(*) AS n FROM accounts").await?["n"], 0);
    app.finish().await
}

/// The section that docs/platforms.example.toml calls all that most providers need keeps an account alive where
/// `offline_access` counts only with the person's consent. Such a provider repeats neither that scope nor `openid`.
#[tokio::test(flavor = "multi_thread")]
async fn a_minimal_section_keeps_an_account_alive() -> anyhow::Result<()> {
    let config = SandboxConfig { offline_by_consent: true, ..sandbox() };
    let app = start(discovered(""), config).await?;
    let started = begin(&app).await?;
    assert_eq!(query(text(&started["authorizeUrl"]))?["prompt"], "consent");
    let account = connected(&app, "sam").await?;
    let shown = app.account(&account).await?;
    assert_eq!((&shown["missingScopes"], &shown["lastError"]), (&json!([]), &Value::Null));
    app.clock.advance(TimeDelta::minutes(58));
    app.account_until(&account, |account| account["tokenGeneration"] == 2).await?;
    app.finish().await
}

/// A provider that is said to rotate gives no refresh token: the account says so from the first moment.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_a_refresh_token_says_so() -> anyhow::Result<()> {
    let config = SandboxConfig { offline_by_consent: true, ..sandbox() };
    let app = start(discovered("authorize_parameters = { prompt = \"login\" }"), config).await?;
    let account = connected(&app, "sam").await?;
    let shown = app.account(&account).await?;
    assert_eq!(shown["missingScopes"], json!(["offline_access"]));
    assert_eq!(shown["lastError"]["code"], "no_refresh_token");
    app.clock.advance(TimeDelta::minutes(61));
    let ended = app.account_until(&account, |account| account["status"] == "token_expired").await?;
    assert_eq!(ended["statusReason"], "access_token_ended");
    app.finish().await
}
