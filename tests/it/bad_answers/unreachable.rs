//! A platform that nobody can connect to: nothing was sent, so code and token are as good as before.

use std::net::SocketAddr;
use std::time::Duration;

use latchkey_tests::app::{Options, eventually};
use latchkey_tests::sandbox::Endpoint;
use latchkey_tests::{Person, TestApp};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{calls, grant_of, refresh_now, text};

/// The way to the token endpoint: there while this lives.
struct Way(tokio::task::JoinHandle<()>);

impl Way {
    async fn open(at: SocketAddr, to: &str) -> anyhow::Result<Self> {
        let (listener, to) = (TcpListener::bind(at).await?, to.to_owned());
        Ok(Self(tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut from, _)) = listener.accept().await {
                let to = to.clone();
                open.spawn(async move {
                    let mut there = TcpStream::connect(to).await?;
                    copy_bidirectional(&mut from, &mut there).await
                });
            }
        })))
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_left_is_sent_once_the_platform_is_back() -> anyhow::Result<()> {
    let at = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let app = TestApp::start_with(Options {
        token_url: Some(format!("http://{at}/token")),
        callback_wait: Duration::from_secs(1),
        ..Options::default()
    })
    .await?;
    let sandbox = app.sandbox.url().trim_start_matches("http://");

    let started = app.start_connect(json!({})).await?;
    app.approve(&started, &Person::new("sam")?).await?.expect(303)?;
    let path = app.path(&format!("/connects/{}", text(&started["connectId"])));
    eventually(|| async {
        let connect = app.http.get(&path).await?.expect(200)?.json();
        let tried = connect["timeline"].to_string().contains("exchanging");
        Ok((tried && connect["status"] == "authorized").then_some(()))
    })
    .await?;
    assert_eq!(calls(&app, Endpoint::TokenCode, "sam").len(), 0);
    let way = Way::open(at, sandbox).await?;
    let ended = app.ended(text(&started["connectId"])).await?;
    assert_eq!(text(&ended["status"]), "connected", "{ended:#}");
    assert_eq!(calls(&app, Endpoint::TokenCode, "sam").len(), 1);
    drop(way);

    let account = text(&ended["accountIds"][0]);
    refresh_now(&app, account).await?;
    let shown = app.account_until(account, |account| !account["lastError"].is_null()).await?;
    assert_eq!(text(&shown["lastError"]["code"]), "unreachable");
    assert_eq!((text(&shown["status"]), &shown["tokenGeneration"]), ("connected", &json!(1)));
    assert!(grant_of(&app, account).await?["in_doubt_since"].is_null(), "nothing was presented");
    let _way = Way::open(at, sandbox).await?;
    app.account_until(account, |account| account["tokenGeneration"] == 2).await?;
    assert_eq!(calls(&app, Endpoint::TokenRefresh, "sam").len(), 1);
    // What was put off because somebody else was at it comes back at once.
    app.clock.advance(chrono::TimeDelta::minutes(1));
    app.finish().await
}
