//! `/docs`: the documents to read in a browser, which loads nothing from elsewhere.

use latchkey_tests::TestApp;
use latchkey_tests::app::Options;

#[tokio::test(flavor = "multi_thread")]
async fn every_document_can_be_read_in_a_browser() -> anyhow::Result<()> {
    let app = TestApp::start_with(Options { worker: false, ..Options::default() }).await?;
    let at = |path: &str| format!("{}{path}", app.http.base());
    let led = app.http.browse(&at("/docs")).await?.expect(303)?;
    assert_eq!(led.location(), Some("/docs/"));
    let page = app.http.browse(&at("/docs/")).await?.expect(200)?;
    let policy = page.headers["content-security-policy"].to_str()?;
    assert!(
        policy.contains("script-src 'self'") && policy.contains("default-src 'none'"),
        "{policy}"
    );
    let addresses = ["src=\"", "href=\""].map(|begin| page.text.split(begin).skip(1));
    for address in addresses.into_iter().flatten() {
        let address = address.split('"').next().unwrap_or_default();
        assert!(!address.contains("//"), "{address} is elsewhere");
        app.http
            .browse(&at(&format!("/docs/{}", address.trim_start_matches("./"))))
            .await?
            .expect(200)?;
    }
    let settings = app.http.browse(&at("/docs/swagger-initializer.js")).await?.expect(200)?.text;
    let mut documents = 0;
    for rest in settings.split("\"../").skip(1) {
        let path = format!("/{}", rest.split('"').next().unwrap_or_default());
        let document = app.http.browse(&at(&path)).await?.expect(200)?.json();
        assert!(
            document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")),
            "{path}"
        );
        documents += 1;
    }
    assert_eq!(documents, 6, "{settings}");
    app.finish().await
}
