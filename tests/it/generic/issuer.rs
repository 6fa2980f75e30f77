//! Who answers: the browser must come back from the provider that it was sent to (RFC 9207).

use latchkey_tests::Person;
use latchkey_tests::sandbox::Kind;
use url::Url;

use super::{
    begin, connected, count, discovered, explicit, metadata_without, sandbox, start, text,
};

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
