//! What is sealed opens with the right key and in its own place, or not at all.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchkey_shared::clock::Clock;
use latchkey_tests::TestApp;
use latchkey_tests::app::Options;
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

#[test]
fn a_keyring_that_others_may_read_is_refused() -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let file = std::env::temp_dir().join(format!("latchkey-keyring-{}", std::process::id()));
    std::fs::write(&file, keyring("test", 7))?;
    for (mode, is_good) in [
        (0o600, true),
        (0o400, true),
        (0o640, true),
        (0o644, false),
        (0o604, false),
        (0o620, false),
        (0o602, false),
        (0o666, false),
    ] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode))?;
        let read = latchkey_shared::config::read_keyring(None, Some(&file));
        assert_eq!(read.is_ok(), is_good, "{mode:o}");
        if let Err(error) = read {
            let told = error.to_string();
            assert!(
                told.contains(&format!("mode {mode:o}")) && told.contains("chmod 600"),
                "{told}"
            );
        }
    }
    Ok(std::fs::remove_file(&file)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_writes_a_core_dump() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    let (api, _) = app.spawn_api(app.amqp_url()).await?;
    let worker = app.spawn_worker("webhook").await?;
    for process in [&api, &worker] {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id()?))?;
        let core = limits.lines().find(|line| line.starts_with("Max core file size"));
        let core: Vec<&str> = core.unwrap_or_default().split_whitespace().collect();
        assert_eq!(core[4..6], ["0", "0"], "{limits}");
    }
    app.finish().await
}
