//! Whom a connect that ends without an account blames: the person, the operator, or the platform. And how often a
//! platform is asked before it ends.

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_tests::app::{Options, WORN, eventually, worn};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind};
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};

use super::errors::{graph, numbered};
use super::{answer, connect, dressed, dressed_in, text};

const OURS: &str = "PLATFORM_MISCONFIGURED";
const REFUSED: &str = "IDENTITY_REFUSED";
const MISSING: &str = "PERMISSION_MISSING";
const ACT: &str = "ACTION_REQUIRED";
const FAILED: &str = "IDENTITY_FAILED";
/// Three parts in base64url: what a provider answers that signs.
const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";

/// What a platform answers instead of who it is or what there is to choose from, how the connect ends, and what it
/// quotes.
struct Row(&'static str, Endpoint, Fault, &'static str, &'static str);

fn google(reason: &str, words: &str) -> Value {
    json!({ "error": { "code": 403, "message": words, "errors": [{ "reason": reason }] } })
}

fn rows() -> Vec<Row> {
    let who = Endpoint::Userinfo;
    let which = Endpoint::Accounts;
    let said = |status, body: Value| answer(status, &[], &body);
    let tomorrow = |status, body: Value| answer(status, &[("retry-after", "86400")], &body);
    let jwt = Fault::Answer {
        status: 200,
        headers: [("content-type".to_owned(), "application/jwt".to_owned())].into(),
        body: JWT.to_owned(),
    };
    let unauthorized = json!({ "title": "Unauthorized", "type": "about:blank", "status": 401, "detail": "Unauthorized" });
    let forbidden = json!({ "title": "Client Forbidden", "type": "https://api.twitter.com/2/problems/client-forbidden",
                            "detail": "this app needs more access", "reason": "client-not-enrolled" });
    let capped = json!({ "title": "UsageCapExceeded", "type": "https://api.twitter.com/2/problems/usage-capped",
                         "detail": "Usage cap exceeded: Monthly product cap" });
    let unscoped =
        json!({ "data": {}, "error": { "code": "scope_not_authorized", "message": "m" } });
    let version = json!({ "status": 426, "code": "NONEXISTENT_VERSION", "message": "Requested version 20230101 is not active" });
    let not_enough =
        json!({ "status": 403, "serviceErrorCode": 100, "message": "Not enough permissions" });
    let scopes = json!({ "error": { "code": 403, "status": "PERMISSION_DENIED",
                                    "message": "Request had insufficient authentication scopes." } });
    let standard = json!({ "error": "insufficient_scope", "error_description": "m" });
    vec![
        Row("X", who, said(401, unauthorized), REFUSED, "unauthorized"),
        Row("X", who, said(403, forbidden), OURS, "client-forbidden"),
        Row("X", who, said(429, capped), FAILED, "usage-capped"),
        Row("X", who, tomorrow(429, json!({})), FAILED, "http_429"),
        Row("SANDBOX", who, jwt, OURS, "jwt"),
        Row("SANDBOX", who, said(403, standard), MISSING, "insufficient_scope"),
        Row(
            "SANDBOX",
            who,
            said(404, json!({ "message": "Profile not found" })),
            REFUSED,
            "the platform answered 404",
        ),
        Row("TIKTOK_PERSONAL", who, said(401, unscoped), MISSING, "scope_not_authorized"),
        Row("TIKTOK_BUSINESS", who, said(200, numbered(40105)), REFUSED, "40105"),
        Row("INSTAGRAM", who, said(400, graph(190)), REFUSED, "190"),
        Row("PINTEREST", who, said(403, json!({ "code": 7, "message": "m" })), REFUSED, "7"),
        Row(
            "YOUTUBE",
            which,
            said(403, google("youtubeSignupRequired", "m")),
            ACT,
            "youtubeSignupRequired",
        ),
        Row(
            "YOUTUBE",
            which,
            said(403, google("insufficientPermissions", "m")),
            MISSING,
            "insufficientPermissions",
        ),
        Row("YOUTUBE", which, said(403, scopes), MISSING, "PERMISSION_DENIED"),
        Row(
            "YOUTUBE",
            which,
            said(403, google("accessNotConfigured", "m")),
            OURS,
            "accessNotConfigured",
        ),
        Row("YOUTUBE", which, said(403, google("quotaExceeded", "m")), FAILED, "quotaExceeded"),
        Row("LINKEDIN_COMPANY", which, said(426, version), OURS, "NONEXISTENT_VERSION"),
        Row("LINKEDIN_COMPANY", which, said(403, not_enough), REFUSED, "100"),
        Row("FACEBOOK_PAGE", which, said(403, graph(10)), MISSING, "10"),
    ]
}

/// None of them is asked about a second time: the browser still waits.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_instead_of_an_identity_blames_the_right_party() -> anyhow::Result<()> {
    let app = dressed().await?;
    for (number, Row(platform, endpoint, fault, reason, said)) in rows().into_iter().enumerate() {
        let user = format!("row-{number}");
        app.sandbox.inject(FaultRule::new(endpoint, fault).for_user(&user));
        let failed = connect(&app, (platform, &user), &json!({})).await?;
        let error = &failed["platformError"];
        let quoted = if error["error"].is_string() { &error["error"] } else { &error["cause"] };
        assert_eq!(
            (text(&failed["reasonCode"]), text(quoted)),
            (reason, said),
            "{platform}: {failed:#}"
        );
        let asked = app
            .sandbox
            .ledger()
            .iter()
            .filter(|entry| {
                entry.endpoint == Some(endpoint) && entry.user.as_deref() == Some(&user)
            })
            .count();
        assert_eq!(asked, 1, "{platform} {said}");
    }
    app.finish().await
}

/// Google grants what was ticked, and says so: the connect names what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_box_left_unticked_is_named() -> anyhow::Result<()> {
    let app = dressed().await?;
    let profile = "https://www.googleapis.com/auth/userinfo.profile".to_owned();
    let less = FaultRule::new(Endpoint::TokenCode, Fault::ChangedScope { scope: profile });
    app.sandbox.inject(less.for_user("sam"));
    let refused = answer(403, &[], &google("insufficientPermissions", "m"));
    app.sandbox.inject(FaultRule::new(Endpoint::Accounts, refused).for_user("sam"));
    let started = app.start_connect(json!({ "platform": "YOUTUBE" })).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    let ended = app.ended(text(&started["connectId"])).await?;
    assert_eq!(ended["reasonCode"], MISSING, "{ended:#}");
    let missing = ended["platformError"]["missingScopes"].as_array().cloned().unwrap_or_default();
    let named: Vec<&str> =
        missing.iter().filter_map(|scope| text(scope).rsplit('/').next()).collect();
    assert_eq!(named, ["youtube.upload", "youtube.readonly"], "{ended:#}");
    app.finish().await
}

/// The platform has not learnt the newest secret yet, and says so in its own words: the older one is tried.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_whose_newest_secret_is_not_live_connects_everywhere() -> anyhow::Result<()> {
    const OLD: &str = "acme-secret-of-last-year-0123456789";
    let app = dressed().await?;
    app.sandbox.set_client("acme-client", &[OLD]);
    for platform in WORN.into_iter().filter(|id| *id != "BLUESKY") {
        let made = json!({ "platform": platform, "name": "Ours", "clientId": "acme-client", "clientSecret": OLD });
        let own = app.http.post("/v1/apps", &made).await?.expect(201)?.json();
        let secrets = format!("/v1/apps/{}/secrets", text(&own["id"]));
        let newest = json!({ "clientSecret": "acme-secret-of-this-year-0123456789" });
        app.http.post(&secrets, &newest).await?.expect(201)?;
        let ended = connect(&app, (platform, "sam"), &json!({ "appId": own["id"] })).await?;
        assert!(
            ["connected", "selecting"].contains(&text(&ended["status"])),
            "{platform}: {ended:#}"
        );
    }
    assert!(app.sandbox.ledger().iter().any(|entry| entry.kind == Kind::ClientRefused));
    app.finish().await
}

/// The connect's clock goes on until its next call is due.
async fn ended_in_time(app: &TestApp, connect: &str) -> anyhow::Result<Value> {
    let path = app.path(&format!("/connects/{connect}"));
    for number in 1..=20 {
        let seen = eventually(|| async {
            let shown = app.http.get(&path).await?.expect(200)?.json();
            let over = shown["status"] == "failed" || shown["status"] == "connected";
            let rests = format!("SELECT tries FROM connects WHERE id = '{connect}'");
            let rests = app.row(&rests).await?["tries"] == number;
            Ok((over || rests).then_some((over, shown)))
        });
        let (over, shown) = seen.await?;
        if over {
            return Ok(shown);
        }
        app.clock.advance(TimeDelta::minutes(3));
    }
    anyhow::bail!("it goes on for ever")
}

/// Whatever comes back, no call is repeated more than a handful of times.
#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_never_answers_is_asked_a_handful_of_times() -> anyhow::Result<()> {
    let options = Options {
        platforms: worn(&["INSTAGRAM"]),
        callback_wait: Duration::from_secs(1),
        ..Options::default()
    };
    let app = TestApp::start_with(options).await?;
    for (platform, endpoint, reason) in [
        ("SANDBOX", Endpoint::Userinfo, FAILED),
        ("INSTAGRAM", Endpoint::LongLived, "LONG_LIVED_REFUSED"),
    ] {
        app.sandbox.inject(FaultRule::new(endpoint, Fault::Status { status: 502 }));
        let started = app.start_connect(json!({ "platform": platform })).await?;
        app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
        let ended = ended_in_time(&app, text(&started["connectId"])).await?;
        assert_eq!(
            (&ended["status"], &ended["reasonCode"]),
            (&json!("failed"), &json!(reason)),
            "{ended:#}"
        );
        assert_eq!(ended["platformError"]["cause"], "http_502");
        let asked =
            app.sandbox.ledger().iter().filter(|entry| entry.endpoint == Some(endpoint)).count();
        assert_eq!(asked, 6, "{platform}");
        app.until_none("grants WHERE status IN ('pending', 'active', 'releasing')").await?;
    }
    app.clock.advance(TimeDelta::minutes(2));
    app.finish().await
}

/// The platform did not look at the code: it is presented again while it is good.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_not_looked_at_is_presented_again() -> anyhow::Result<()> {
    let options = Options {
        platforms: worn(&["X"]),
        callback_wait: Duration::from_secs(1),
        ..Options::default()
    };
    let app = TestApp::start_with(options).await?;
    let later = |status, wait: &str| Fault::RetryAfter { status, value: wait.to_owned() };
    let none = Fault::RateLimited { retry_after_secs: None };
    for (number, (platform, fault, reason, calls)) in [
        ("SANDBOX", none, None, 2),
        ("SANDBOX", later(429, "50"), None, 2),
        ("SANDBOX", later(503, "50"), None, 2),
        // A code of X lives for half a minute, any other for ten minutes at most.
        ("X", later(429, "50"), Some("http_429"), 1),
        ("SANDBOX", later(429, "86400"), Some("http_429"), 1),
    ]
    .into_iter()
    .enumerate()
    {
        let user = format!("row-{number}");
        app.sandbox.inject(FaultRule::new(Endpoint::TokenCode, fault).for_user(&user).times(1));
        let started = app.start_connect(json!({ "platform": platform })).await?;
        app.approve(&started, &Person::new(&user)?).await?.expect(303)?;
        let connect = text(&started["connectId"]);
        if reason.is_none() {
            let rests = format!("connects WHERE id = '{connect}' AND tries = 0");
            app.until_none(&rests).await?;
            app.clock.advance(TimeDelta::seconds(55));
        }
        let ended = app.ended(connect).await?;
        let cause = ended["platformError"]["cause"].as_str();
        assert_eq!(cause, reason, "{platform}: {ended:#}");
        let status = if reason.is_none() { "connected" } else { "failed" };
        assert_eq!(ended["status"], status, "{ended:#}");
        let presented = app
            .sandbox
            .ledger()
            .iter()
            .filter(|entry| {
                entry.endpoint == Some(Endpoint::TokenCode) && entry.user.as_deref() == Some(&user)
            })
            .count();
        assert_eq!(presented, calls, "{platform}");
    }
    app.clock.advance(TimeDelta::minutes(2));
    app.finish().await
}

/// Persons may untick what is published, and applications ask for less: what is asked then follows what was granted.
#[tokio::test(flavor = "multi_thread")]
async fn tiktok_connects_with_the_scopes_that_were_granted() -> anyhow::Result<()> {
    let app = dressed_in(&["TIKTOK_PERSONAL"]).await?;
    let published = json!({ "scopes": ["user.info.basic", "video.upload"] });
    let ended = connect(&app, ("TIKTOK_PERSONAL", "sam"), &published).await?;
    assert_eq!(ended["status"], "connected", "{ended:#}");
    let shown = app.account(text(&ended["accountIds"][0])).await?;
    assert_eq!((&shown["username"], &shown["missingScopes"]), (&Value::Null, &json!([])));
    assert!(shown["displayName"].is_string(), "{shown:#}");
    app.finish().await
}

/// What PostgreSQL refuses each time is given up at the third.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_never_takes_ends_the_connect() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    app.refuse_inserts_for_good("accounts").await?;
    let started = app.start_connect(json!({})).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    let ended = app.ended(text(&started["connectId"])).await?;
    assert_eq!(
        (text(&ended["reasonCode"]), text(&ended["platformError"]["cause"])),
        (FAILED, "not_storable")
    );
    assert_eq!(app.row("SELECT last_value AS n FROM refused").await?["n"], 3);
    app.until_none("grants WHERE status <> 'revoked'").await?;
    app.refuse_no_more("accounts").await?;
    app.connect("sam").await?;
    app.clock.advance(TimeDelta::minutes(2));
    app.finish().await
}
