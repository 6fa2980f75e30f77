//! What a revocation ends, beyond one account.

use chrono::TimeDelta;
use latchkey_tests::app::eventually;
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule};
use latchkey_tests::{Person, TestApp};
use serde_json::{Value, json};

use super::{
    connect, connect_in, connected, disconnected, disconnected_in, dressed_in, lives, page,
    refreshed, request, text,
};

const YOUTUBE: (&str, &str) = ("YOUTUBE", "sam");

fn slow(endpoint: Endpoint, ms: u64) -> FaultRule {
    FaultRule::new(endpoint, Fault::Delay { ms }).before()
}

/// Google ends all that a person granted: two channels of one Google account are one person.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_channels_goes_and_the_other_works() -> anyhow::Result<()> {
    let app = dressed_in(&["YOUTUBE"]).await?;
    let of = |id: &str| vec![page(id, &[])];
    app.sandbox.set_pages("sam", of("UC-first"));
    let first = connected(&app, ("YOUTUBE", "sam"), &json!({})).await?;
    app.sandbox.set_pages("sam", of("UC-second"));
    let second = connected(&app, ("YOUTUBE", "sam"), &json!({})).await?;
    assert_ne!(first, second);
    let receipt = disconnected(&app, &first).await?;
    assert_eq!(receipt["status"], "kept_for_other_accounts", "{receipt:#}");
    assert_eq!(refreshed(&app, &second).await?["status"], "connected");
    assert_eq!(disconnected(&app, &second).await?["status"], "revoked");
    assert_eq!(lives(&app, "sam"), 0);
    app.finish().await
}

/// One person, two workspaces: where a revocation reaches everything, and where it reaches one token.
#[tokio::test(flavor = "multi_thread")]
async fn a_disconnect_in_one_workspace_leaves_the_other() -> anyhow::Result<()> {
    let app = dressed_in(&["TIKTOK_PERSONAL", "X"]).await?;
    let other = app.http.post("/v1/workspaces", &json!({ "name": "Other" })).await?.expect(201)?;
    let other = text(&other.json()["id"]).to_owned();
    for (platform, receipt) in [("TIKTOK_PERSONAL", "kept_for_other_accounts"), ("X", "revoked")] {
        let here = connected(&app, (platform, "sam"), &json!({})).await?;
        let there = connect_in(&app, &other, (platform, "sam"), &json!({})).await?;
        let there = text(&there["accountIds"][0]).to_owned();
        let said = disconnected_in(&app, &other, &there).await?;
        assert_eq!(said["status"], receipt, "{platform}: {said:#}");
        assert_eq!(refreshed(&app, &here).await?["status"], "connected", "{platform}");
    }
    app.finish().await
}

/// Who was let go of and comes back while the platform is still at it would be given tokens that end a
/// moment later: no account rests on them.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_under_way_ends_a_connect_and_no_account() -> anyhow::Result<()> {
    let app = dressed_in(&["YOUTUBE"]).await?;
    let account = connected(&app, YOUTUBE, &json!({})).await?;
    app.sandbox.inject(slow(Endpoint::Revoke, 8000));
    app.http.delete(&app.path(&format!("/accounts/{account}"))).await?.expect(202)?;
    let sent = "SELECT count(revocation_sent_at) AS n FROM grants";
    eventually(|| async { Ok((app.row(sent).await?["n"] == 1).then_some(())) }).await?;

    let failed = connect(&app, YOUTUBE, &json!({})).await?;
    assert_eq!(failed["reasonCode"], "IDENTITY_REFUSED", "{failed:#}");
    assert_eq!(app.account(&account).await?["revocation"]["status"], "revoked");

    assert_eq!(connected(&app, YOUTUBE, &json!({})).await?, account);
    assert_eq!(refreshed(&app, &account).await?["status"], "connected");
    assert_eq!(lives(&app, "sam"), 1);
    app.finish().await
}

/// Until it is known who comes back, nobody is let go of.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_waits_for_who_is_coming_back() -> anyhow::Result<()> {
    let app = dressed_in(&["YOUTUBE"]).await?;
    app.sandbox.set_pages("sam", vec![page("UC-first", &[])]);
    let first = connected(&app, YOUTUBE, &json!({})).await?;
    app.sandbox.set_pages("sam", vec![page("UC-second", &[])]);
    app.sandbox.inject(slow(Endpoint::TokenCode, 4000));
    let asked = request(&app, "YOUTUBE", "sam", &json!({}));
    let started: Value = app.http.post(&app.path("/connects"), &asked).await?.expect(201)?.json();
    let id = text(&started["connectId"]);
    let receipt = async {
        let exchanging =
            format!("SELECT status = 'exchanging' AS so FROM connects WHERE id = '{id}'");
        eventually(|| async { Ok((app.row(&exchanging).await?["so"] == true).then_some(())) })
            .await?;
        disconnected(&app, &first).await
    };
    let person = Person::new("sam")?;
    let (approved, receipt) = tokio::join!(app.approve(&started, &person), receipt);
    approved?.expect(303)?;
    assert_eq!(receipt?["status"], "kept_for_other_accounts");
    let second = app.ended(id).await?;
    assert_eq!(second["status"], "connected", "{second:#}");
    assert_eq!(refreshed(&app, text(&second["accountIds"][0])).await?["status"], "connected");
    app.finish().await
}

/// Told two weeks, one week and one day before, and then it is so.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_no_refresh_moves_is_told_in_time() -> anyhow::Result<()> {
    let app = dressed_in(&["LINKEDIN_PERSON"]).await?;
    let account = connected(&app, ("LINKEDIN_PERSON", "sam"), &json!({})).await?;
    let mut day = 0;
    // A token of 60 days is refreshed on the way.
    for days in [53, 106, 159, 212, 265, 318, 350] {
        app.clock.advance(TimeDelta::days(days - day));
        day = days;
        refreshed_by_itself(&app, &account).await?;
    }
    for (on, left) in [(351, 14), (358, 7), (364, 1)] {
        app.clock.advance(TimeDelta::days(on - day) + TimeDelta::minutes(5));
        day = on;
        let event =
            app.event_that("account.reauth_due", |event| event["data"]["daysLeft"] == left).await?;
        assert_eq!(event["data"]["accountId"], account.as_str());
    }
    app.clock.advance(TimeDelta::days(2));
    let expired = app.account_until(&account, |shown| shown["status"] == "token_expired").await?;
    // The sweep knows the end; a refresh that comes first is told of it.
    let reason = text(&expired["statusReason"]);
    assert!(["refresh_token_ended", "refused_by_platform"].contains(&reason), "{expired:#}");
    app.finish().await
}

async fn refreshed_by_itself(app: &TestApp, account: &str) -> anyhow::Result<()> {
    let now = app.clock.now();
    app.account_until(account, |shown| {
        let next = text(&shown["nextRefreshAt"]);
        chrono::DateTime::parse_from_rfc3339(next).is_ok_and(|next| next > now)
    })
    .await
    .map(drop)
}
