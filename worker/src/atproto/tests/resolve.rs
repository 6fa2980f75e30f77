//! Who an identifier is.

use std::time::{Duration, Instant};

use hickory_resolver::proto::op::ResponseCode;
use latchkey_shared::net_guard::{NetGuard, Ports};
use tokio::net::{TcpListener, UdpSocket};

use super::super::{Directory, DirectoryError, ResolveError, Resolved};
use super::servers::{NameServer, Page, Web, document};
use latchkey_shared::platforms::DirectorySettings;

const SAM: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
const EVE: &str = "did:plc:eveeveeveeveeveeveeveeve";
const PDS: &str = "https://pds.test/";

fn loopback() -> NetGuard {
    NetGuard::new(&["127.0.0.0/8".parse().unwrap()], &Ports::ALL)
}

/// A directory whose every address is this web server.
fn directory(web: &Web, dns: &NameServer) -> Directory {
    guarded(web, dns, loopback())
}

fn guarded(web: &Web, dns: &NameServer, guard: NetGuard) -> Directory {
    let settings = DirectorySettings {
        plc_url: format!("{}/plc", web.url).parse().unwrap(),
        handle_url: Some(format!("{}/handles/{{handle}}", web.url)),
        dns_server: Some(dns.address),
    };
    Directory::new(settings, guard).unwrap()
}

fn plc(did: &str) -> String {
    format!("/plc/{did}")
}

fn well_known(handle: &str) -> String {
    format!("/handles/{handle}/.well-known/atproto-did")
}

fn sam() -> Resolved {
    let handle = Some("sam.test".to_owned());
    Resolved { did: SAM.to_owned(), handle, pds: PDS.parse().unwrap() }
}

#[tokio::test]
async fn a_handle_with_a_record_leads_to_its_server() {
    let web = Web::start().await;
    let record = format!("did={SAM}");
    let texts = ["v=spf1 -all", record.as_str()];
    let dns = NameServer::start(&[("_atproto.sam.test", &texts)]).await;
    web.json(&plc(SAM), 200, &document(SAM, "sam.test", "https://pds.test"));
    let directory = directory(&web, &dns);
    for identifier in ["sam.test", "@sam.test", " Sam.TEST "] {
        assert_eq!(directory.resolve(identifier).await.unwrap(), sam(), "{identifier}");
    }
    assert!(web.seen().iter().all(|seen| seen.path == plc(SAM)), "the DNS is enough");
}

#[tokio::test]
async fn without_one_clear_record_the_handles_host_is_asked() {
    let web = Web::start().await;
    let (mine, hers) = (format!("did={SAM}"), format!("did={EVE}"));
    let dns = NameServer::start(&[
        ("_atproto.two.test", &[&mine, &hers]),
        ("_atproto.other.test", &["v=spf1 -all"]),
        ("_atproto.broken.test", &["did=did:plc:short"]),
    ])
    .await;
    let directory = directory(&web, &dns);
    for handle in ["two.test", "other.test", "broken.test", "none.test"] {
        web.json(&plc(SAM), 200, &document(SAM, handle, "https://pds.test"));
        web.text(&well_known(handle), 200, &format!("{SAM} \nand more\n"));
        assert_eq!(directory.resolve(handle).await.unwrap().did, SAM, "{handle}");
    }
}

#[tokio::test]
async fn a_handle_that_nobody_knows_is_not_found() {
    let web = Web::start().await;
    let dns = NameServer::start(&[]).await;
    let directory = directory(&web, &dns);
    let error = directory.resolve("none.test").await.unwrap_err();
    assert!(matches!(error, ResolveError::HandleNotFound) && !error.may_pass(), "{error}");

    web.text(&well_known("page.test"), 200, &format!("<html>\n{SAM}"));
    web.text(&well_known("long.test"), 200, &"x".repeat(100_000));
    web.text(&well_known("gone.test"), 410, SAM);
    let elsewhere = Some(("location", format!("{}{}", web.url, well_known("sam.test"))));
    web.put(&well_known("moved.test"), Page { status: 302, header: elsewhere, body: vec![] });
    web.text(&well_known("sam.test"), 200, SAM);
    for handle in ["page.test", "long.test", "gone.test", "moved.test"] {
        let error = directory.resolve(handle).await.unwrap_err();
        assert!(matches!(error, ResolveError::HandleNotFound), "{handle}: {error}");
    }
    let followed = web.seen().iter().any(|seen| seen.path == well_known("sam.test"));
    assert!(!followed, "a redirect was followed");
}

#[tokio::test]
async fn what_may_pass_is_said_to() {
    let web = Web::start().await;
    let dns = NameServer::answering(|name| match name {
        "_atproto.dns.test." => Err(ResponseCode::ServFail),
        _ => Err(ResponseCode::NXDomain),
    })
    .await;
    let directory = directory(&web, &dns);
    web.text(&well_known("busy.test"), 503, "");
    web.text(&well_known("limited.test"), 429, "");
    web.text(&plc(SAM), 500, "");
    web.text(&plc(EVE), 200, "<html>");
    for identifier in ["dns.test", "busy.test", "limited.test", SAM, EVE] {
        let error = directory.resolve(identifier).await.unwrap_err();
        assert!(matches!(error, ResolveError::Unavailable(_)), "{identifier}: {error}");
        assert!(error.may_pass());
    }
    web.text(&plc(SAM), 200, &format!("\"{}\"", "x".repeat(70_000)));
    let error = directory.resolve(SAM).await.unwrap_err();
    assert!(error.to_string().contains("more than 65536 bytes"), "{error}");
}

#[tokio::test]
async fn a_domain_that_does_not_exist_is_not_asked_for_again() {
    let web = Web::start().await;
    let nowhere = NameServer::start(&[]).await;
    let failing = NameServer::answering(|name| match name.starts_with("_atproto.") {
        true => Err(ResponseCode::NXDomain),
        false => Err(ResponseCode::ServFail),
    })
    .await;
    for (dns, definite) in [(&nowhere, true), (&failing, false)] {
        let settings = DirectorySettings {
            plc_url: web.url.parse().unwrap(),
            handle_url: None,
            dns_server: Some(dns.address),
        };
        let directory = Directory::new(settings, NetGuard::default()).unwrap();
        let error = directory.resolve("no-such-name.test").await.unwrap_err();
        assert_eq!(matches!(error, ResolveError::HandleNotFound), definite, "{error}");
        assert_eq!(error.may_pass(), !definite);
    }
}

#[tokio::test]
async fn the_document_must_be_the_accounts_own() {
    let web = Web::start().await;
    let record = format!("did={EVE}");
    let dns = NameServer::start(&[("_atproto.eve.test", &[&record])]).await;
    let directory = directory(&web, &dns);

    let missing = directory.resolve(EVE).await.unwrap_err();
    assert!(matches!(missing, ResolveError::DidNotFound) && !missing.may_pass(), "{missing}");
    web.text(&plc(EVE), 410, r#"{"message":"DID not available"}"#);
    let tombstone = directory.resolve(EVE).await.unwrap_err();
    assert!(matches!(tombstone, ResolveError::DidNotFound), "{tombstone}");
    web.json(&plc(EVE), 200, &document(SAM, "eve.test", "https://pds.test"));
    let foreign = directory.resolve("eve.test").await.unwrap_err();
    assert!(matches!(foreign, ResolveError::DidNotFound), "{foreign}");
    let elsewhere = Some(("location", format!("{}{}", web.url, plc(SAM))));
    web.put(&plc(EVE), Page { status: 301, header: elsewhere, body: vec![] });
    let moved = directory.resolve(EVE).await.unwrap_err();
    assert!(matches!(moved, ResolveError::DidNotFound), "{moved}");
    assert!(!web.seen().iter().any(|seen| seen.path == plc(SAM)), "a redirect was followed");
}

#[tokio::test]
async fn handle_and_document_must_agree() {
    let web = Web::start().await;
    let record = format!("did={SAM}");
    let dns =
        NameServer::start(&[("_atproto.sam.test", &[&record]), ("_atproto.eve.test", &[&record])])
            .await;
    let directory = directory(&web, &dns);
    web.json(&plc(SAM), 200, &document(SAM, "sam.test", "https://pds.test"));
    let error = directory.resolve("eve.test").await.unwrap_err();
    assert!(matches!(error, ResolveError::HandleNotClaimed) && !error.may_pass(), "{error}");

    assert_eq!(directory.resolve(SAM).await.unwrap(), sam(), "a DID alone finds its handle");
    for not_hers in ["sam.test", "nobody.test", "no handle", "sam.local"] {
        web.json(&plc(EVE), 200, &document(EVE, not_hers, "https://pds.test"));
        let resolved = directory.resolve(EVE).await.unwrap();
        assert_eq!(resolved.handle, None, "{not_hers}");
        assert_eq!(resolved.did, EVE);
    }
}

#[tokio::test]
async fn a_did_of_a_host() {
    let web = Web::start().await;
    let did = format!("did:web:127.0.0.1%3A{}", web.port);
    let record = format!("did={did}");
    let dns = NameServer::start(&[("_atproto.sam.test", &[&record])]).await;
    web.json("/.well-known/did.json", 200, &document(&did, "sam.test", &web.url));
    let resolved = directory(&web, &dns).resolve("sam.test").await.unwrap();
    assert_eq!((resolved.did, resolved.pds.as_str()), (did, format!("{}/", web.url).as_str()));
}

#[tokio::test]
async fn what_is_neither_handle_nor_did() {
    let web = Web::start().await;
    let dns = NameServer::start(&[]).await;
    let directory = directory(&web, &dns);
    for identifier in [
        "",
        "@",
        "sam",
        "sam@example.com",
        "https://bsky.app/profile/sam.test",
        "at://sam.test",
        "sam.test/",
        "127.0.0.1",
        "169.254.169.254",
        "[::1]",
        "localhost",
        "sam.local",
        "did:key:zQ3sh",
        "did:web:sam.test:path",
        "did:web:169.254.169.254",
        "did:web:sam.test%3A22",
    ] {
        let error = directory.resolve(identifier).await.unwrap_err();
        assert!(matches!(error, ResolveError::NotAnIdentifier), "{identifier}: {error}");
    }
    assert!(web.seen().is_empty());
}

/// Loopback is a private place like any other, unless the operator permits it.
#[tokio::test]
async fn without_permission_nothing_here_is_called() {
    let web = Web::start().await;
    let dns = NameServer::start(&[]).await;
    web.text(&well_known("sam.test"), 200, SAM);
    web.json(&plc(SAM), 200, &document(SAM, "sam.test", "https://pds.test"));
    let strict = guarded(&web, &dns, NetGuard::default());
    let own = format!("did:web:localhost%3A{}", web.port);
    for identifier in ["sam.test", SAM, own.as_str()] {
        let error = strict.resolve(identifier).await.unwrap_err();
        assert!(matches!(error, ResolveError::NotAllowed(_)), "{identifier}: {error}");
        assert!(!error.may_pass());
    }
    // A name that leads here is found out when it resolves.
    let settings = DirectorySettings {
        plc_url: format!("http://localhost:{}/plc", web.port).parse().unwrap(),
        handle_url: None,
        dns_server: Some(dns.address),
    };
    let by_name = Directory::new(settings, NetGuard::default()).unwrap();
    let error = by_name.resolve(SAM).await.unwrap_err();
    assert!(matches!(error, ResolveError::NotAllowed(_)), "{error}");
    assert!(web.seen().is_empty(), "it was called all the same");
}

#[tokio::test]
async fn a_server_inside_or_without_tls_is_refused() {
    let web = Web::start().await;
    let dns = NameServer::start(&[]).await;
    let directory = directory(&web, &dns);
    for pds in [
        "http://pds.test",
        "https://169.254.169.254",
        "http://169.254.169.254/latest/meta-data",
        "https://[fd00:ec2::254]",
        "https://[::ffff:169.254.169.254]",
        "https://10.0.0.1",
        "https://0.0.0.0",
        "https://user:password@pds.test",
        "file:///etc/passwd",
    ] {
        web.json(&plc(SAM), 200, &document(SAM, "sam.test", pds));
        let error = directory.resolve(SAM).await.unwrap_err();
        assert!(matches!(error, ResolveError::NotAllowed(_)), "{pds}: {error}");
    }
    web.json(&plc(SAM), 200, &serde_json::json!({ "id": SAM }));
    let error = directory.resolve(SAM).await.unwrap_err();
    assert!(matches!(error, ResolveError::NoPds) && !error.may_pass(), "{error}");
}

/// Neither name servers nor hosts that are silent hold anybody up for long.
#[tokio::test]
async fn silence_is_given_three_seconds() {
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let web = Web::start().await;
    web.text(&well_known("sam.test"), 200, SAM);
    web.json(&plc(SAM), 200, &document(SAM, "sam.test", "https://pds.test"));
    let settings = DirectorySettings {
        plc_url: format!("http://{}", silent.local_addr().unwrap()).parse().unwrap(),
        handle_url: Some(format!("{}/handles/{{handle}}", web.url)),
        dns_server: Some(deaf.local_addr().unwrap()),
    };
    let directory = Directory::new(settings, loopback()).unwrap();
    let begun = Instant::now();
    let error = directory.resolve("sam.test").await.unwrap_err();
    assert!(error.may_pass(), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[test]
fn the_systems_name_servers_do() {
    let settings = DirectorySettings {
        plc_url: "https://plc.directory".parse().unwrap(),
        handle_url: None,
        dns_server: None,
    };
    Directory::new(settings, NetGuard::default()).unwrap();
}

#[test]
fn a_template_that_makes_no_url() {
    for template in ["https://handles.test", "{handle}", "ftp://{handle}", ""] {
        let settings = DirectorySettings {
            plc_url: "https://plc.directory".parse().unwrap(),
            handle_url: Some(template.to_owned()),
            dns_server: None,
        };
        let made = Directory::new(settings, NetGuard::default());
        assert!(matches!(made, Err(DirectoryError::HandleUrl(_))), "{template}");
    }
}
