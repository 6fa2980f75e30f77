//! Providers that are described in the platforms file alone: any standard OAuth 2.0 or OpenID Connect
//! server, here the sandbox under other names and rules.

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use latchkey_tests::app::{Answer, Options, eventually};
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
         client_secret = {{ value = \"{CLIENT_SECRET}\" }}\n{keys}\n"
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
    let list = || async { anyhow::Ok(app.http.get("/v1/platforms").await?.expect(200)?.json()) };
    let (built_in, mine) = (list().await?["data"][0].clone(), list().await?["data"][1].clone());
    assert_eq!((text(&built_in["id"]), &built_in["configured"]), ("SANDBOX", &json!(false)));
    let expected = json!({
        "id": "MY_PROVIDER",
        "name": "My provider",
        "flow": "authorization_code",
        "configured": true,
        "defaultScopes": ["openid", "profile", "offline_access"],
        "tokenLifetimeSeconds": null,
        "refreshModel": "stable",
        "revocation": { "supported": null, "reach": "person" },
    });
    assert_eq!(mine, expected);
    begin(&app).await?;
    assert_eq!(list().await?["data"][1]["revocation"]["supported"], true, "now it is known");
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

/// A document that cannot be used keeps a connect from starting, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_say_where_it_is_can_be_asked_again() -> anyhow::Result<()> {
    let app = start(discovered(""), sandbox()).await?;
    let elsewhere = format!("{}/metadata", app.sandbox.url());
    for fault in [
        Fault::Status { status: 404 },
        Fault::Status { status: 500 },
        Fault::RateLimited { retry_after_secs: Some(1) },
        Fault::Garbage,
        Fault::Huge,
        Fault::Drop,
        Fault::Redirect { location: elsewhere },
    ] {
        let name = format!("{fault:?}");
        app.sandbox.inject(FaultRule::new(Endpoint::Metadata, fault));
        let refused = try_to_begin(&app).await?;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (503, "PLATFORM_UNAVAILABLE"),
            "{name}"
        );
        assert_eq!(refused.headers["retry-after"], "5", "{name}");
        app.sandbox.clear_faults();
        let asked = count(&app, Kind::Metadata);
        assert_eq!(try_to_begin(&app).await?.status, 503, "{name}: it is not asked at once again");
        assert_eq!(count(&app, Kind::Metadata), asked);
        app.clock.advance(TimeDelta::seconds(5));
        assert_eq!(try_to_begin(&app).await?.status, 201, "{name}");
        // Until what is known is too old.
        app.clock.advance(TimeDelta::hours(25));
    }
    let open = "SELECT count(*) AS n FROM connects WHERE status = 'pending'";
    eventually(|| async { Ok((app.row(open).await?["n"] == 0).then_some(())) }).await?;
    app.finish().await
}

/// Servers of plain OAuth 2.0 have their document in another place (RFC 8414 §3).
#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_openid_document_the_other_place_is_tried() -> anyhow::Result<()> {
    let app = start(discovered(""), sandbox()).await?;
    let missing = FaultRule::new(Endpoint::Metadata, Fault::Status { status: 404 });
    app.sandbox.inject(missing.clone().times(1));
    begin(&app).await?;
    // The worker asks for itself.
    app.sandbox.inject(missing.times(1));
    connected(&app, "sam").await?;
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_not_the_issuer_s_is_not_believed() -> anyhow::Result<()> {
    for (member, wrong, told) in [
        ("issuer", json!("https://evil.example"), "of the issuer https://evil.example"),
        ("token_endpoint", json!("http://evil.example/token"), "token_endpoint must be https"),
        ("userinfo_endpoint", Value::Null, "give `userinfo_url`"),
        ("authorization_endpoint", json!(7), "no JSON object"),
    ] {
        let metadata = [(member.to_owned(), wrong)].into_iter().collect();
        let app = start(discovered(""), SandboxConfig { metadata, ..sandbox() }).await?;
        let refused = try_to_begin(&app).await?;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (503, "PLATFORM_UNAVAILABLE"),
            "{member}"
        );
        let issuer = app.sandbox.url();
        let logs = latchkey_tests::app::logs();
        let mut about = logs.lines().filter(|line| line.contains(issuer));
        assert!(about.any(|line| line.contains(told)), "{member}: the log does not say {told}");
        app.finish().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_document_lacks_the_operator_can_say() -> anyhow::Result<()> {
    let metadata = [("userinfo_endpoint".to_owned(), Value::Null)].into_iter().collect();
    let platforms = discovered("userinfo_url = \"{sandbox}/userinfo\"");
    let app = start(platforms, SandboxConfig { metadata, ..sandbox() }).await?;
    connected(&app, "sam").await?;
    app.finish().await
}

/// A provider that is away when everything starts, and for good, holds up nothing but itself.
#[tokio::test(flavor = "multi_thread")]
async fn latchkey_starts_without_the_provider() -> anyhow::Result<()> {
    let nobody = "issuer = \"http://127.0.0.1:1\"\nscopes = []";
    let options = Options { platforms: section(nobody), ..Options::default() };
    let app = TestApp::start_with(options).await?;
    let refused = try_to_begin(&app).await?;
    assert_eq!((refused.status, refused.code().as_str()), (503, "PLATFORM_UNAVAILABLE"));
    app.connect("sam").await?;
    app.finish().await
}

/// Discovery that fails while an account lives is a call that was never sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_expires_nobody() -> anyhow::Result<()> {
    let app = start(discovered(""), sandbox()).await?;
    let account = connected(&app, "sam").await?;
    let away = FaultRule::new(Endpoint::Metadata, Fault::Status { status: 502 });
    app.sandbox.inject(away);
    // What was known an hour ago still serves.
    app.clock.advance(TimeDelta::hours(2));
    app.account_until(&account, |account| account["tokenGeneration"] == 2).await?;
    app.clock.advance(TimeDelta::hours(25));
    app.event("account.refresh_overdue", &account).await?;
    let shown = app.account(&account).await?;
    assert_eq!(
        (text(&shown["status"]), text(&shown["lastError"]["code"])),
        ("connected", "discovery_failed")
    );
    let grant =
        app.row("SELECT in_doubt_since, calling_generation, lease_until FROM grants").await?;
    assert!(grant.as_object().is_some_and(|grant| grant.values().all(Value::is_null)), "{grant}");
    app.sandbox.clear_faults();
    app.clock.advance(TimeDelta::hours(2));
    app.account_until(&account, |account| account["tokenGeneration"] == 3).await?;

    app.sandbox.inject(FaultRule::new(Endpoint::Metadata, Fault::Drop));
    app.clock.advance(TimeDelta::hours(25));
    let path = app.path(&format!("/accounts/{account}"));
    app.http.delete(&path).await?.expect(202)?;
    let tried = "SELECT max(attempts) AS n FROM outbox WHERE kind = 'revocation_due' AND last_error IS NOT NULL";
    eventually(|| async { Ok((app.row(tried).await?["n"] == 1).then_some(())) }).await?;
    assert_eq!(app.account(&account).await?["revocation"]["status"], "pending");
    app.sandbox.clear_faults();
    app.clock.advance(TimeDelta::hours(2));
    app.account_until(&account, |account| account["revocation"]["status"] == "revoked").await?;
    app.finish().await
}

/// After a week without a word of where to revoke, the tokens are destroyed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_stays_away_is_given_up() -> anyhow::Result<()> {
    let app = start(discovered(""), sandbox()).await?;
    let account = connected(&app, "sam").await?;
    app.sandbox.inject(FaultRule::new(Endpoint::Metadata, Fault::Status { status: 503 }));
    app.clock.advance(TimeDelta::hours(25));
    app.event("account.refresh_overdue", &account).await?;
    app.http.delete(&app.path(&format!("/accounts/{account}"))).await?.expect(202)?;
    app.clock.advance(TimeDelta::days(8));
    app.account_until(&account, |account| account["revocation"]["status"] == "given_up").await?;
    assert_eq!(app.row("SELECT count(sealed_tokens) AS n FROM grants").await?["n"], 0);
    app.finish().await
}

/// The callback with another `iss`, or with none.
fn from_issuer(callback: &Url, issuer: Option<&str>) -> Url {
    let mut forged = callback.clone();
    let others = callback.query_pairs().filter(|(name, _)| name != "iss");
    forged
        .query_pairs_mut()
        .clear()
        .extend_pairs(others)
        .extend_pairs(issuer.map(|iss| ("iss", iss)));
    forged
}

/// RFC 9207: an answer that is not from whom was asked ends the connect, and its code goes nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_issuer_ends_the_connect() -> anyhow::Result<()> {
    let app = start(discovered(""), sandbox()).await?;
    let (sam, slash) = (Person::new("sam")?, format!("{}/", app.sandbox.url()));
    for (issuer, approves) in [
        (Some("https://evil.example"), true),
        (Some(slash.as_str()), true),
        (None, true),
        (Some("https://evil.example"), false),
        (None, false),
    ] {
        let started = begin(&app).await?;
        let url = text(&started["authorizeUrl"]);
        let callback = if approves { sam.approve(url).await? } else { sam.deny(url).await? };
        let forged = from_issuer(&callback, issuer);
        app.http.browse(forged.as_str()).await?.expect(303)?;
        let ended = app.ended(text(&started["connectId"])).await?;
        let expected = ("failed", "ISSUER_MISMATCH");
        assert_eq!((text(&ended["status"]), text(&ended["reasonCode"])), expected, "{issuer:?}");
        app.event("connect.failed", text(&started["connectId"])).await?;
        let again = app.http.browse(callback.as_str()).await?;
        assert!(again.status == 409 && again.text.contains("STATE_USED"), "the state is used up");
    }
    assert_eq!(count(&app, Kind::CodeExchanged) + count(&app, Kind::CodeRefused), 0);
    app.finish().await
}

/// Who promises no `iss` need not send one; if it comes, it must be right all the same.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_promise_the_issuer_may_be_silent() -> anyhow::Result<()> {
    let app = metadata_without("authorization_response_iss_parameter_supported").await?;
    for (issuer, status) in [(None, "connected"), (Some("https://evil.example"), "failed")] {
        let started = begin(&app).await?;
        let callback = Person::new("sam")?.approve(text(&started["authorizeUrl"])).await?;
        app.http.browse(from_issuer(&callback, issuer).as_str()).await?.expect(303)?;
        assert_eq!(app.ended(text(&started["connectId"])).await?["status"], status);
    }
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_can_demand_the_issuer_without_discovery() -> anyhow::Result<()> {
    let keys = "issuer = \"{sandbox}\"\niss_required = true";
    let app = start(explicit(keys), sandbox()).await?;
    connected(&app, "sam").await?;
    let started = begin(&app).await?;
    let callback = Person::new("sam")?.approve(text(&started["authorizeUrl"])).await?;
    app.http.browse(from_issuer(&callback, None).as_str()).await?.expect(303)?;
    let ended = app.ended(text(&started["connectId"])).await?;
    assert_eq!(ended["reasonCode"], "ISSUER_MISMATCH");
    assert_eq!(count(&app, Kind::Metadata), 0);
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_says_no_is_told_apart_from_a_forger() -> anyhow::Result<()> {
    let app = start(discovered(""), sandbox()).await?;
    let started = begin(&app).await?;
    let callback = Person::new("sam")?.deny(text(&started["authorizeUrl"])).await?;
    app.http.browse(callback.as_str()).await?.expect(303)?;
    assert_eq!(app.ended(text(&started["connectId"])).await?["reasonCode"], "ACCESS_DENIED");
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
