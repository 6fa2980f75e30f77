//! Messages that nobody can handle.

use latchkey_tests::TestApp;
use latchkey_tests::app::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decoded_is_kept_and_the_consumer_goes_on() -> anyhow::Result<()> {
    let mut app = TestApp::start().await?;
    let nonsense: [(&str, &str, &[u8]); 4] = [
        ("callback_received", "callback_received", b"not json"),
        ("callback_received", "callback_received", br#"{"workspaceId":"ws_1"}"#),
        ("sing", "refresh_due", b"{}"),
        ("", "webhook_due", &[0xff, 0x00]),
    ];
    for (kind, key, body) in nonsense {
        app.publish_raw(kind, key, body).await?;
    }
    app.expect_dead_letters(3);
    // Two of them share a message id and a queue: the same letter, kept once.
    eventually(|| async {
        Ok((app.row("SELECT count(*) AS n FROM dead_letters").await?["n"] == 3).then_some(()))
    })
    .await?;
    let letter =
        app.row("SELECT queue, reason, type FROM dead_letters WHERE type = 'sing'").await?;
    assert_eq!(letter["reason"], "rejected");
    assert!(letter["queue"].as_str().is_some_and(|queue| queue.ends_with(".refresh")));
    app.connect("sam").await?;
    app.finish().await
}
