//! `latchkey-api producers`: what operators do at a terminal.

use anyhow::Context as _;
use latchkey_tests::TestApp;
use serde_json::json;

use super::{connect, text};

/// Runs it; answers its exit code and all that it said.
async fn producers(app: &TestApp, arguments: &[&str]) -> anyhow::Result<(i32, String)> {
    let output = app.command("latchkey-api")?.arg("producers").args(arguments).output().await?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code().context("it ended")?, String::from_utf8_lossy(&said).into_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_ties_users_of_the_broker_to_keys() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    let mut producer = app.producer().await?;
    let user = producer.user.clone();
    let key = |role: &'static str| {
        let app = &app;
        async move {
            let key = json!({ "name": role, "role": role });
            let key = app.http.post("/v1/api-keys", &key).await?.expect(201)?.json();
            anyhow::Ok((text(&key["id"]).to_owned(), text(&key["key"]).to_owned()))
        }
    };
    let (admin, secret) = key("admin").await?;
    let (owner, _) = key("owner").await?;
    let (viewer, _) = key("viewer").await?;
    let (revoked, _) = key("admin").await?;
    app.http.delete(&format!("/v1/api-keys/{revoked}")).await?.expect(204)?;

    assert_eq!(
        producers(&app, &["list"]).await?,
        (0, "no user of the broker is linked\n".to_owned())
    );
    for (id, why) in [
        (viewer.as_str(), "the role `viewer`: producers need `admin`"),
        (&revoked, "is revoked: make another one"),
        ("key_01JCZ5M2V8Q4T6W8Y0A2B4C6D8", "there is no key"),
        ("key_1", "is not the id of a key"),
        (&secret, "that is a key: give its id instead"),
    ] {
        let (code, said) = producers(&app, &["link", &user, id]).await?;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(why), "{said}");
        assert!(!said.contains(&secret), "{said}");
    }
    let (code, said) = producers(&app, &["link", &user, &admin]).await?;
    assert_eq!(
        (code, said.contains(&format!("{user} acts with {admin} (admin"))),
        (0, true),
        "{said}"
    );
    assert_eq!(producer.ask(&connect(&app, &producer)).await?.kind, "connect.ready");
    let (code, said) = producers(&app, &["link", &user, &owner]).await?;
    assert_eq!((code, said.contains(&format!("instead of {admin}"))), (0, true), "{said}");
    app.http.delete(&format!("/v1/api-keys/{owner}")).await?.expect(204)?;
    let (_, said) = producers(&app, &["list"]).await?;
    assert!(
        said.contains(&format!("{user} acts with {owner}")) && said.contains("revoked"),
        "{said}"
    );

    assert_eq!(producers(&app, &["unlink", &user]).await?.0, 0);
    let (code, said) = producers(&app, &["unlink", &user]).await?;
    assert_eq!((code, said.contains("is not linked")), (1, true), "{said}");
    let told = producer.ask(&connect(&app, &producer)).await?;
    assert_eq!(text(&told.body["code"]), "PRODUCER_UNKNOWN");
    app.finish().await
}
