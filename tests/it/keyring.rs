//! What is sealed opens with the right key and in its own place, or not at all.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchkey_shared::clock::Clock;
use latchkey_tests::TestApp;
use latchkey_tests::sandbox::Kind;
use latchkey_worker::settings::Pool;
use serde_json::json;

fn keyring(id: &str, byte: u8) -> String {
    format!("{id}:{}", STANDARD.encode([byte; 32]))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_starts_with_a_keyring_that_is_not_the_database_s() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    for (keyring, complaint) in [
        (keyring("test", 8), "is not the key that this database was sealed with"),
        (keyring("other", 7), "is not in the keyring"),
        ("test:short".to_owned(), "malformed"),
    ] {
        let mut settings = app.worker_settings(vec![Pool::Sweeps], 1);
        settings.common.keyring = Some(keyring.into());
        let api = latchkey_api::ServeConfig::new(settings.common.clone());
        let refused = [
            latchkey_worker::start(&settings, Clock::system()).await.err(),
            latchkey_api::start(api, Clock::system()).await.err(),
        ];
        for error in refused {
            let error = error.map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(complaint), "{complaint}: {error}");
        }
    }
    app.finish().await
}

/// Somebody who can write to the database puts one person's tokens in another's row.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_moved_to_another_row_are_never_presented() -> anyhow::Result<()> {
    let app = TestApp::start().await?;
    app.connect("sam").await?;
    let eve = app.connect("eve").await?;
    let swap = "UPDATE grants SET sealed_tokens = (SELECT sealed_tokens FROM grants g, accounts a \
                WHERE a.grant_id = g.id AND a.username = 'sam') \
                WHERE id = (SELECT grant_id FROM accounts WHERE username = 'eve')";
    app.execute(swap).await?;
    let refresh = app.path(&format!("/accounts/{}/refresh", eve.account_id));
    app.http.post(&refresh, &json!({})).await?.expect(202)?;
    let account = app
        .account_until(&eve.account_id, |account| account["lastError"]["code"] == "seal_broken")
        .await?;
    assert_eq!(account["status"], "connected", "whose fault it is is not the person's");
    assert!(app.sandbox.ledger().iter().all(|entry| entry.kind != Kind::Refreshed));
    app.finish().await
}
