//! Texts from outside: names as platforms write them, handles as people paste them.

use latchkey_tests::TestApp;
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule};
use serde_json::json;

use super::{connect, dressed_in, text};

/// What a platform answers as who somebody is, with this name.
fn named(name: &str) -> Fault {
    let body = r#"{"sub":"1","preferred_username":"ann","name":"NAME"}"#.replace("NAME", name);
    Fault::Answer { status: 200, headers: [].into(), body }
}

/// A name cut within an emoji, or with marks that nobody sees, is mended and costs nobody a connect.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_mended_and_the_account_connected() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let long = "x".repeat(9000);
    let cut = "x".repeat(500);
    for (name, shown) in [
        (r"Ann \ud83d", Some("Ann \u{fffd}")),
        (r"\ude00", Some("\u{fffd}")),
        (r"Ann \ud83d\ude00", Some("Ann 😀")),
        (r"A\u0000nn\u001b[2J\nLee", Some("A\u{fffd}nn [2J Lee")),
        (r"\u202eevil\u202c \u2066Ann\u2069\u200b", Some("evil Ann")),
        (long.as_str(), Some(cut.as_str())),
        ("", None),
        (r" \u200b ", None),
    ] {
        app.sandbox.inject(FaultRule::new(Endpoint::Userinfo, named(name)).times(1));
        let connected = app.connect("ann").await?;
        let account = app.account(&connected.account_id).await?;
        assert_eq!(account["displayName"].as_str(), shown, "{name}");
    }
    app.finish().await
}

/// One page of several has such a name: all of them can be chosen.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_half_an_emoji_takes_no_other_with_it() -> anyhow::Result<()> {
    let app = dressed_in(&["FACEBOOK_PAGE"]).await?;
    let page = |id: u32, name: &str| {
        format!(
            r#"{{"id":"{id}","name":"{name}","access_token":"t{id}","tasks":["CREATE_CONTENT"]}}"#
        )
    };
    let pages = [page(1, "One"), page(2, r"Two \ud83d"), page(3, "Three")].join(",");
    let listed =
        Fault::Answer { status: 200, headers: [].into(), body: format!(r#"{{"data":[{pages}]}}"#) };
    app.sandbox.inject(FaultRule::new(Endpoint::Accounts, listed).for_user("sam").times(1));
    let waits = connect(&app, ("FACEBOOK_PAGE", "sam"), &json!({})).await?;
    let path = app.path(&format!("/connects/{}/candidates", text(&waits["id"])));
    let shown = app.http.get(&path).await?.expect(200)?.json();
    let names: Vec<&str> = shown["data"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| text(&one["displayName"]))
        .collect();
    assert_eq!(names, ["One", "Two \u{fffd}", "Three"], "{shown:#}");
    app.http.delete(&app.path(&format!("/connects/{}", text(&waits["id"])))).await?.expect(200)?;
    app.finish().await
}

/// A handle comes with what a page puts around it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pasted_handle_connects() -> anyhow::Result<()> {
    let app = dressed_in(&["BLUESKY"]).await?;
    let password = app.sandbox.app_password("sam");
    for pasted in [
        "\u{202a}@sam.test\u{202c}",
        "\u{2066}sam.test\u{2069}\u{200b}",
        "https://bsky.app/profile/sam.test",
    ] {
        let credentials = json!({ "identifier": pasted, "password": password });
        let body = json!({ "platform": "BLUESKY", "credentials": credentials });
        let started = app.http.post(&app.path("/connects"), &body).await?.expect(201)?.json();
        let ended = app.ended(text(&started["connectId"])).await?;
        assert_eq!(ended["status"], "connected", "{pasted:?}: {ended:#}");
    }
    app.finish().await
}
