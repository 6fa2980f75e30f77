//! What each platform's errors mean: for the account, for the events, for what the API shows.

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule};
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};

use super::{a_day_and_more, answer, connect, connected, dressed, refresh, text};

/// What follows from an error at a refresh.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// It will pass: tried again, after so many seconds at least.
    Passes(i64),
    /// Nobody knows whether the token was spent: tried once more, late.
    InDoubt,
    /// Only the person can help.
    Dies,
    /// The person must consent again.
    Consent,
    /// We are wrong: no account is touched.
    OurFault,
}

/// An answer at a platform, and what follows. `worker/src/oauth/answers.txt` has every answer.
struct Row {
    platform: &'static str,
    fault: Fault,
    code: &'static str,
    then: Then,
}

/// About one row for each class and family of platforms.
fn rows() -> Vec<Row> {
    let row = |platform, status, body: Value, code, then| {
        let fault = answer(status, &[], &body);
        Row { platform, fault, code, then }
    };
    let ruled = oauth("invalid_request", "Value passed for the token was invalid.");
    let known = oauth("unauthorized_client", "refresh_token is invalid");
    let consent = json!({ "error": { "code": "scope_not_authorized", "message": "m" } });
    let busy = Fault::RateLimited { retry_after_secs: Some(77) };
    vec![
        row("X", 400, ruled, "invalid_request", Then::Dies),
        row("X", 503, oauth("invalid_grant", "m"), "invalid_grant", Then::Dies),
        Row { platform: "X", fault: busy, code: "http_429", then: Then::Passes(70) },
        row("X", 502, json!({}), "http_502", Then::InDoubt),
        row("SANDBOX", 403, known, "unauthorized_client", Then::Dies),
        row("SANDBOX", 401, oauth("invalid_client", "m"), "invalid_client", Then::OurFault),
        row("LINKEDIN_PERSON", 500, json!({}), "http_500", Then::Passes(0)),
        row("YOUTUBE", 400, oauth("invalid_grant", "m"), "invalid_grant", Then::Dies),
        row("PINTEREST", 400, json!({ "code": 9, "message": "m" }), "9", Then::Passes(0)),
        row("TIKTOK_PERSONAL", 401, consent, "scope_not_authorized", Then::Consent),
        row("TIKTOK_BUSINESS", 200, numbered(40105), "40105", Then::Dies),
        row("TIKTOK_BUSINESS", 200, numbered(40100), "40100", Then::Passes(290)),
        row("BLUESKY", 400, json!({ "error": "ExpiredToken" }), "ExpiredToken", Then::Dies),
        row("THREADS", 400, graph(190), "190", Then::Dies),
        row("THREADS", 400, graph(101), "101", Then::OurFault),
        row("INSTAGRAM", 400, graph(10), "10", Then::Consent),
        row("INSTAGRAM", 400, graph(100), "100", Then::Passes(0)),
    ]
}

/// What Meta says of a wrong client secret.
const SECRET: &str = "Error validating client secret.";

/// An error of Meta's Graph API.
pub(super) fn graph(code: u32) -> Value {
    graph_saying(code, "said by the platform")
}

fn graph_saying(code: u32, message: &str) -> Value {
    json!({ "error": { "message": message, "type": "OAuthException", "code": code } })
}

fn oauth(error: &str, words: &str) -> Value {
    json!({ "error": error, "error_description": words })
}

pub(super) fn numbered(code: i64) -> Value {
    json!({ "code": code, "message": "said by the platform", "request_id": "r", "data": {} })
}

fn user(number: usize) -> String {
    format!("row-{number}")
}

/// The tokens of Instagram and Threads are not refreshed before they are a day old. Those of most others
/// have ended by then, and are refreshed by the sweep.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_each_class_means_what_it_should() -> anyhow::Result<()> {
    let app = dressed().await?;
    let rows = rows();
    let mut accounts = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        accounts.push(connected(&app, (row.platform, &user(number)), &json!({})).await?);
    }
    app.clock.advance(a_day_and_more());
    for (number, (row, account)) in rows.into_iter().zip(accounts).enumerate() {
        leave_all_alone(&app).await?;
        strike(&app, number, (row, &account)).await?;
    }
    app.sandbox.clear_faults();
    app.finish().await
}

/// What the sweep would refresh says something of its app, too: nothing is due, and nothing is known of the apps.
async fn leave_all_alone(app: &TestApp) -> anyhow::Result<()> {
    app.execute(
        "UPDATE grants SET refresh_at = now() + interval '30 days', next_attempt_at = now() + interval '30 days',
             wake_at = NULL WHERE status = 'active'",
    )
    .await?;
    app.until_none("grants WHERE lease_until IS NOT NULL").await?;
    app.execute("DELETE FROM app_pauses; DELETE FROM app_health").await
}

async fn strike(app: &TestApp, number: usize, (row, account): (Row, &str)) -> anyhow::Result<()> {
    let what = format!("{} {} {:?}", row.platform, row.code, row.then);
    let Row { fault, code, then, .. } = row;
    app.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, fault).for_user(user(number)));
    let begun = app.clock.now();
    refresh(app, account).await?.expect(202)?;
    let shown = app.account_until(account, |shown| shown["lastError"].is_object()).await?;
    let expired = |reason: &str| {
        assert_eq!(shown["status"], "token_expired", "{what}: {shown:#}");
        assert_eq!(shown["statusReason"], reason, "{what}");
    };
    match then {
        Then::Dies => expired("refused_by_platform"),
        Then::Consent => expired("consent_required"),
        Then::Passes(_) | Then::InDoubt | Then::OurFault => {
            assert_eq!(shown["status"], "connected", "{what}: {shown:#}");
            assert_eq!(shown["lastError"]["code"], code, "{what}");
        }
    }
    match then {
        Then::Dies | Then::Consent => {
            let event = app.event("account.token_expired", account).await?;
            assert_eq!(event["data"]["error"]["error"], code, "{what}: {event:#}");
        }
        Then::Passes(wait) => assert!(next(&shown) >= begun + TimeDelta::seconds(wait), "{what}"),
        Then::OurFault => {
            let platform = row.platform;
            let query = format!("SELECT cause FROM app_health WHERE platform = '{platform}'");
            let blamed = app.row(&query).await?;
            assert_eq!(blamed["cause"], "client", "{what}");
        }
        Then::InDoubt => {
            let grant = format!(
                "SELECT in_doubt_since IS NOT NULL AS doubt FROM grants
                 WHERE id = (SELECT grant_id FROM accounts WHERE id = '{account}')"
            );
            assert_eq!(app.row(&grant).await?["doubt"], true, "{what}");
        }
    }
    Ok(())
}

fn next(account: &Value) -> DateTime<Utc> {
    let next = DateTime::parse_from_rfc3339(text(&account["nextRefreshAt"]));
    next.expect("a connected account says when").to_utc()
}

/// One host of many says what it likes: the others are refreshed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_s_own_host_holds_up_nobody_else() -> anyhow::Result<()> {
    let app = dressed().await?;
    let slow = connected(&app, ("BLUESKY", "slow"), &json!({})).await?;
    let other = connected(&app, ("BLUESKY", "other"), &json!({})).await?;
    let fault = Fault::RateLimited { retry_after_secs: Some(86_400) };
    app.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, fault).for_user("slow"));
    refresh(&app, &slow).await?.expect(202)?;
    app.account_until(&slow, |shown| shown["lastError"]["code"] == "http_429").await?;
    assert_eq!(super::refreshed(&app, &other).await?["status"], "connected");
    app.finish().await
}

/// A platform that asks for patience is left alone by all that is not a person in front of a browser.
#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_asks_for_patience_gets_it_from_all() -> anyhow::Result<()> {
    let app = dressed().await?;
    let first = connected(&app, ("X", "first"), &json!({})).await?;
    let second = connected(&app, ("X", "second"), &json!({})).await?;
    let fault = Fault::RateLimited { retry_after_secs: Some(600) };
    app.sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, fault).for_user("first"));
    refresh(&app, &first).await?.expect(202)?;
    app.account_until(&first, |shown| shown["lastError"]["code"] == "http_429").await?;
    refresh(&app, &second).await?.expect(202)?;
    connected(&app, ("X", "third"), &json!({})).await?;
    assert_eq!(super::generation(&app, &second).await?, 1, "it waits, too");
    app.sandbox.clear_faults();
    app.clock.advance(TimeDelta::minutes(11));
    for account in [&first, &second] {
        app.account_until(account, |shown| shown["tokenGeneration"] == 2).await?;
    }
    app.finish().await
}

/// A fresh token that is not believed yet is asked with again.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_will_come_is_waited_for() -> anyhow::Result<()> {
    let app = dressed().await?;
    for (platform, status, body) in [
        (
            "LINKEDIN_PERSON",
            401,
            json!({ "status": 401, "serviceErrorCode": 65601, "message": "revoked" }),
        ),
        ("THREADS", 400, graph(2)),
        ("TIKTOK_BUSINESS", 200, numbered(40100)),
    ] {
        app.sandbox.inject(FaultRule::new(Endpoint::Userinfo, answer(status, &[], &body)).times(1));
        let started = app.start_connect(json!({ "platform": platform })).await?;
        app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
        app.clock.advance(TimeDelta::seconds(310));
        let ended = app.ended(text(&started["connectId"])).await?;
        assert_eq!(ended["status"], "connected", "{platform}: {ended:#}");
    }
    app.clock.advance(TimeDelta::minutes(2));
    app.finish().await
}

/// A short-lived token is never stored as if it lived long.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_lived_token_is_waited_for_or_the_connect_fails() -> anyhow::Result<()> {
    let app = dressed().await?;
    let rule = |fault| FaultRule::new(Endpoint::LongLived, fault);
    for platform in ["INSTAGRAM", "THREADS", "FACEBOOK_PAGE"] {
        app.sandbox.inject(rule(Fault::Status { status: 503 }).times(1));
        let ended = connect(&app, (platform, "patient"), &json!({})).await?;
        assert_eq!(ended["status"], "connected", "{platform}: {ended:#}");
        app.sandbox.inject(rule(answer(400, &[], &graph(190))).times(1));
        let failed = connect(&app, (platform, "unlucky"), &json!({})).await?;
        assert_eq!(failed["reasonCode"], "LONG_LIVED_REFUSED", "{platform}: {failed:#}");
        app.sandbox.inject(rule(answer(400, &[], &graph(101))).times(1));
        let failed = connect(&app, (platform, "unlucky"), &json!({})).await?;
        assert_eq!(failed["reasonCode"], "PLATFORM_MISCONFIGURED", "{platform}: {failed:#}");
    }
    // What the sweep has done, its message still hears of.
    app.clock.advance(TimeDelta::minutes(2));
    app.finish().await
}

/// A platform, what it answers to a code, and the reason and the code that the connect ends with.
type Refusal = (&'static str, u16, Value, &'static str, &'static str);

fn refusals_of_a_code() -> Vec<Refusal> {
    let typed = json!({ "error_type": "OAuthException", "code": 400, "error_message": "Matching code was not found or was already used" });
    let of_a_secret =
        json!({ "error_type": "OAuthException", "code": 400, "error_message": SECRET });
    let of_a_code = oauth(
        "invalid_request",
        "Unable to retrieve access token: appid/redirect uri/code verifier does not match authorization code. \
         Or authorization code expired. Or external member binding exists",
    );
    let misconfigured = "PLATFORM_MISCONFIGURED";
    vec![
        (
            "X",
            400,
            oauth("invalid_request", "Value passed for the authorization code was invalid."),
            "EXCHANGE_REFUSED",
            "invalid_request",
        ),
        (
            "LINKEDIN_PERSON",
            401,
            oauth("invalid_request", "authorization code not found"),
            "EXCHANGE_REFUSED",
            "invalid_request",
        ),
        (
            "LINKEDIN_PERSON",
            400,
            oauth("invalid_redirect_uri", "m"),
            "EXCHANGE_REFUSED",
            "invalid_redirect_uri",
        ),
        ("LINKEDIN_PERSON", 400, of_a_code, "EXCHANGE_REFUSED", "invalid_request"),
        ("INSTAGRAM", 400, typed.clone(), "EXCHANGE_REFUSED", "OAuthException"),
        ("INSTAGRAM", 400, of_a_secret.clone(), misconfigured, "OAuthException"),
        ("THREADS", 400, of_a_secret, misconfigured, "OAuthException"),
        ("FACEBOOK_PAGE", 400, graph_saying(1, SECRET), misconfigured, "1"),
        ("INSTAGRAM", 400, graph_saying(1, SECRET), misconfigured, "1"),
        ("THREADS", 400, typed, "EXCHANGE_REFUSED", "OAuthException"),
        ("FACEBOOK_PAGE", 400, graph(100), "EXCHANGE_REFUSED", "100"),
        ("FACEBOOK_PAGE", 400, graph(101), misconfigured, "101"),
        (
            "TIKTOK_PERSONAL",
            200,
            oauth("invalid_grant", "Authorization code is expired."),
            "EXCHANGE_REFUSED",
            "invalid_grant",
        ),
        ("TIKTOK_BUSINESS", 200, numbered(40110), "EXCHANGE_REFUSED", "40110"),
        ("TIKTOK_BUSINESS", 200, numbered(40101), misconfigured, "40101"),
        (
            "YOUTUBE",
            400,
            oauth("invalid_grant", "Malformed auth code."),
            "EXCHANGE_REFUSED",
            "invalid_grant",
        ),
        ("PINTEREST", 400, json!({ "code": 1, "message": "m" }), "EXCHANGE_REFUSED", "1"),
        (
            "PINTEREST",
            401,
            json!({ "code": 2, "message": "Authentication failed." }),
            misconfigured,
            "2",
        ),
        ("SANDBOX", 401, oauth("invalid_client", "m"), misconfigured, "invalid_client"),
    ]
}

/// A code that is not good any more, and a client that is wrong, in every vendor's words.
#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_of_a_code_ends_the_connect_with_its_reason() -> anyhow::Result<()> {
    let app = dressed().await?;
    for (number, (platform, status, body, reason, code)) in
        refusals_of_a_code().into_iter().enumerate()
    {
        let user = user(number);
        let rule = FaultRule::new(Endpoint::TokenCode, answer(status, &[], &body));
        app.sandbox.inject(rule.for_user(&user));
        let failed = connect(&app, (platform, &user), &json!({})).await?;
        let ended = (text(&failed["reasonCode"]), text(&failed["platformError"]["error"]));
        assert_eq!(ended, (reason, code), "{platform}: {failed:#}");
    }
    app.finish().await
}

/// Cancelling has many names and one meaning.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_cancels_is_understood_at_every_platform() -> anyhow::Result<()> {
    let app = dressed().await?;
    for platform in latchkey_tests::app::WORN.into_iter().filter(|id| *id != "BLUESKY") {
        let started =
            app.http.post(&app.path("/connects"), &json!({ "platform": platform })).await?;
        let started = started.expect(201)?.json();
        let callback = Person::new("sam")?.deny(text(&started["authorizeUrl"])).await?;
        app.http.browse(callback.as_str()).await?.expect(303)?;
        let ended = app.ended(text(&started["connectId"])).await?;
        assert_eq!(ended["reasonCode"], "ACCESS_DENIED", "{platform}: {ended:#}");
        assert_eq!(ended["platformError"]["error"], "access_denied", "{platform}");
    }
    app.finish().await
}
