//! Bluesky: an app password in, a session out, and no copy of the password anywhere.

use latchkey_tests::TestApp;
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Kind};
use serde_json::{Value, json};

use super::{connected, disconnected, dressed_in, lives, refreshed, text};

async fn app() -> anyhow::Result<TestApp> {
    dressed_in(&["BLUESKY"]).await
}

fn given(identifier: &str, password: &str) -> Value {
    json!({ "credentials": { "identifier": identifier, "password": password } })
}

/// Tries to connect with these credentials, and answers the ended connect.
async fn ended(app: &TestApp, identifier: &str, password: &str) -> anyhow::Result<Value> {
    let mut body = given(identifier, password);
    body["platform"] = json!("BLUESKY");
    let started = app.http.post(&app.path("/connects"), &body).await?.expect(201)?.json();
    assert_eq!(started["authorizeUrl"], Value::Null, "there is nothing to open");
    app.ended(text(&started["connectId"])).await
}

fn count(app: &TestApp, kind: Kind) -> usize {
    app.sandbox.ledger().iter().filter(|entry| entry.kind == kind).count()
}

/// By its domain's DNS, by its host's file, and by the DID: all lead to the same account.
#[tokio::test(flavor = "multi_thread")]
async fn a_handle_or_a_did_leads_to_the_account() -> anyhow::Result<()> {
    let app = app().await?;
    for user in ["sam", "dns-ann"] {
        let password = app.sandbox.app_password(user);
        let mut ids = Vec::new();
        for identifier in [format!("{user}.test"), format!("@{user}.test"), app.sandbox.did(user)] {
            let connect = ended(&app, &identifier, &password).await?;
            assert_eq!(connect["status"], "connected", "{identifier}: {connect:#}");
            ids.push(text(&connect["accountIds"][0]).to_owned());
        }
        ids.dedup();
        assert_eq!(ids.len(), 1, "{user}: one account");
        let shown = app.account(&ids[0]).await?;
        assert_eq!(text(&shown["platformUserId"]), app.sandbox.did(user));
        assert_eq!(text(&shown["username"]), format!("{user}.test"));
        // A reconnect ends the session before it.
        latchkey_tests::app::eventually(|| async { Ok((lives(&app, user) == 1).then_some(())) })
            .await?;
    }
    app.finish().await
}

/// A host may say that it is anybody's: it is believed about nobody but whom the directory sent us for.
#[tokio::test(flavor = "multi_thread")]
async fn an_impostor_connects_as_nobody_else() -> anyhow::Result<()> {
    let app = app().await?;
    let sam = connected(&app, ("BLUESKY", "sam"), &json!({})).await?;
    let impostor = connected(&app, ("BLUESKY", "impostor-sam"), &json!({})).await?;
    assert_ne!(sam, impostor);
    let shown = app.account(&impostor).await?;
    assert_eq!(text(&shown["platformUserId"]), app.sandbox.did("impostor-sam"));
    assert_eq!(text(&shown["username"]), "impostor-sam.test");
    assert_eq!(lives(&app, "sam"), 1, "nothing of the other's was touched");
    app.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_connected_says_why_and_leaves_no_session() -> anyhow::Result<()> {
    let app = app().await?;
    let good = |user: &str| app.sandbox.app_password(user);
    for (identifier, password, reason) in [
        ("sam.test", good("ann"), "APP_PASSWORD_REFUSED"),
        ("sam.test", app.sandbox.account_password_in_disguise("sam"), "APP_PASSWORD_REQUIRED"),
        (
            "2fa-sam.test",
            app.sandbox.account_password_in_disguise("2fa-sam"),
            "TWO_FACTOR_REQUIRED",
        ),
        ("takendown-sam.test", good("takendown-sam"), "ACCOUNT_TAKEN_DOWN"),
        ("suspended-sam.test", good("suspended-sam"), "ACCOUNT_SUSPENDED"),
        ("deactivated-sam.test", good("deactivated-sam"), "ACCOUNT_DEACTIVATED"),
        ("nobody-at-all.invalid-here.test", good("sam"), "HANDLE_NOT_FOUND"),
        ("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", good("sam"), "HANDLE_NOT_FOUND"),
    ] {
        let failed = ended(&app, identifier, &password).await?;
        let reached = (text(&failed["status"]), text(&failed["reasonCode"]));
        assert_eq!(reached, ("failed", reason), "{identifier}: {failed:#}");
    }
    latchkey_tests::app::eventually(|| async {
        Ok(app.sandbox.families().iter().all(|family| !family.alive).then_some(()))
    })
    .await?;
    app.finish().await
}

/// Neither is sent anywhere: a look is enough.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_s_own_password_is_refused_before_it_is_used() -> anyhow::Result<()> {
    let app = app().await?;
    let password = app.sandbox.account_password("sam");
    let mut body = given("sam.test", &password);
    body["platform"] = json!("BLUESKY");
    let refused = app.http.post(&app.path("/connects"), &body).await?.expect(400)?;
    assert_eq!(refused.code(), "APP_PASSWORD_REQUIRED");
    assert!(!refused.text.contains(&password));
    assert!(app.sandbox.ledger().is_empty(), "nobody was asked anything");
    app.finish().await
}

/// The session says who it is. Another server knows the name and the picture: it may be away, and not every account
/// has a profile.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_a_profile_is_connected() -> anyhow::Result<()> {
    let app = app().await?;
    let no_profile = json!({ "error": "InvalidRequest", "message": "Profile not found" });
    let no_profile = super::answer(400, &[], &no_profile);
    for (user, fault) in [
        ("without", no_profile),
        ("away", Fault::Status { status: 502 }),
        ("limited", Fault::RateLimited { retry_after_secs: Some(86_400) }),
    ] {
        app.sandbox.inject(FaultRule::new(Endpoint::Userinfo, fault).for_user(user));
        let account = connected(&app, ("BLUESKY", user), &json!({})).await?;
        let shown = app.account(&account).await?;
        assert_eq!(text(&shown["platformUserId"]), app.sandbox.did(user));
        assert_eq!(text(&shown["username"]), format!("{user}.test"));
        assert_eq!(shown["displayName"], Value::Null);
    }
    app.finish().await
}

/// It waits sealed like a code, and is gone once the call has ended, however that ended.
#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_used_once_and_wiped() -> anyhow::Result<()> {
    let app = app().await?;
    let account = connected(&app, ("BLUESKY", "sam"), &json!({})).await?;
    let late = Fault::Delay { ms: 3000 };
    app.sandbox.inject(FaultRule::new(Endpoint::TokenCode, late).after().times(1));
    let password = app.sandbox.app_password("ann");
    let mut body = given("ann.test", &password);
    body["platform"] = json!("BLUESKY");
    let hung = app.http.post(&app.path("/connects"), &body).await?.expect(201)?.json();
    latchkey_tests::app::eventually(|| async {
        Ok((count(&app, Kind::CodeExchanged) == 2).then_some(()))
    })
    .await?;
    let waiting =
        app.row("SELECT count(*) AS n FROM connects WHERE sealed_code IS NOT NULL").await?;
    assert_eq!(waiting["n"], 1, "sealed, while the call is under way");
    let path = app.path(&format!("/connects/{}", text(&hung["connectId"])));
    app.http.delete(&path).await?.expect(200)?;
    latchkey_tests::app::eventually(|| async {
        Ok((count(&app, Kind::Revoked) == 1).then_some(()))
    })
    .await?;
    assert_eq!(lives(&app, "ann"), 0, "what came after the cancel is let go");
    let kept = app.row("SELECT count(*) AS n FROM connects WHERE sealed_code IS NOT NULL").await?;
    assert_eq!(kept["n"], 0);
    let dump = app.row("SELECT json_agg(c) AS rows FROM connects c").await?.to_string();
    for user in ["sam", "ann"] {
        assert!(!dump.contains(&app.sandbox.app_password(user)));
    }
    assert_eq!(refreshed(&app, &account).await?["status"], "connected");
    assert_eq!(disconnected(&app, &account).await?["status"], "revoked");
    app.finish().await
}

/// A host that cannot be found just now is looked for again: the password was not used.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_that_fails_is_repeated() -> anyhow::Result<()> {
    let app = app().await?;
    app.sandbox.inject(FaultRule::new(Endpoint::Resolve, Fault::Status { status: 503 }).times(2));
    let connect = ended(&app, "sam.test", &app.sandbox.app_password("sam")).await?;
    assert_eq!(connect["status"], "connected", "{connect:#}");
    assert_eq!(count(&app, Kind::CodeExchanged), 1);
    app.finish().await
}
