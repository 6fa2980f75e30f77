//! Sessions.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchkey_shared::net_guard::{NetGuard, Ports};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use super::super::{GuardedHttp, NotSent, Session, SessionError, session};
use super::servers::{Page, Web, document};

const SAM: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
const EVE: &str = "did:plc:eveeveeveeveeveeveeveeve";
const CREATE: &str = "/xrpc/com.atproto.server.createSession";
const REFRESH: &str = "/xrpc/com.atproto.server.refreshSession";
const DELETE: &str = "/xrpc/com.atproto.server.deleteSession";
const PASSWORD: &str = "abcd-efgh-2345-67zz";
const DEADLINE: Duration = Duration::from_secs(2);

fn http() -> GuardedHttp {
    GuardedHttp::new(NetGuard::new(&["127.0.0.0/8".parse().unwrap()], &Ports::ALL), DEADLINE)
        .unwrap()
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

fn jwt(scope: &str, lifetime: u64) -> String {
    let claims = json!({ "scope": scope, "sub": SAM, "iat": 1000, "exp": 1000 + lifetime });
    format!("e30.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn answer(scope: &str) -> Value {
    json!({
        "did": SAM,
        "handle": "sam.test",
        "accessJwt": jwt(scope, 7200),
        "refreshJwt": jwt("com.atproto.refresh", 7_776_000),
        "email": "sam@example.com",
        "emailConfirmed": true,
    })
}

async fn create(web: &Web) -> Result<Session, SessionError> {
    session::create(&http(), &web.url.parse().unwrap(), SAM, &secret(PASSWORD), DEADLINE).await
}

async fn refresh(web: &Web) -> Result<Session, SessionError> {
    session::refresh(&http(), &web.url.parse().unwrap(), &secret("r.r.r"), DEADLINE).await
}

#[tokio::test]
async fn a_session_and_what_its_tokens_say() {
    let web = Web::start().await;
    let mut body = answer("com.atproto.appPassPrivileged");
    body["didDoc"] = document(SAM, "sam.test", "https://new-pds.test/");
    web.json(CREATE, 200, &body);
    let session = create(&web).await.unwrap();
    assert_eq!((session.did.as_str(), session.handle.as_str()), (SAM, "sam.test"));
    assert!(session.active && session.status.is_none());
    assert_eq!(session.access_expires_in, Some(Duration::from_secs(120 * 60)));
    assert_eq!(session.refresh_expires_in, Some(Duration::from_secs(90 * 86_400)));
    assert!(session.is_app_password());
    assert_eq!(session.access_jwt.expose_secret(), body["accessJwt"].as_str().unwrap());
    let shown = format!("{session:?}");
    assert!(!shown.contains("c2lnbmF0dXJl"), "{shown}");

    let seen = &web.seen()[0];
    let sent: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(sent, json!({ "identifier": SAM, "password": PASSWORD }));
    assert!(seen.headers.get("authorization").is_none());
}

#[tokio::test]
async fn the_accounts_own_password_is_told_apart() {
    let web = Web::start().await;
    for (scope, is_app_password) in [
        ("com.atproto.appPass", true),
        ("com.atproto.access", false),
        ("com.atproto.takendown", false),
    ] {
        web.json(CREATE, 200, &answer(scope));
        let session = create(&web).await.unwrap();
        assert_eq!(session.is_app_password(), is_app_password, "{scope}");
        assert_eq!(session.scope.as_deref(), Some(scope));
    }
    let mut opaque = answer("");
    opaque["accessJwt"] = json!("opaque");
    opaque["active"] = json!(false);
    opaque["status"] = json!("suspended");
    web.json(CREATE, 200, &opaque);
    let session = create(&web).await.unwrap();
    assert!(!session.is_app_password() && session.access_expires_in.is_none());
    assert_eq!((session.active, session.status.as_deref()), (false, Some("suspended")));
}

/// What a status says counts only where the server does not say outright whether the account is active.
#[tokio::test]
async fn an_account_that_is_out_of_use_is_told_apart() {
    let web = Web::start().await;
    for (active, status, expected) in [
        (json!(false), json!(null), false),
        (json!(false), json!("suspended"), false),
        (json!(true), json!("deactivated"), true),
        (json!(null), json!("takendown"), false),
        (json!(null), json!("synchronized"), true),
        (json!(null), json!(null), true),
    ] {
        let mut body = answer("com.atproto.appPass");
        (body["active"], body["status"]) = (active, status);
        web.json(REFRESH, 200, &body);
        assert_eq!(refresh(&web).await.unwrap().active, expected, "{body}");
    }
}

#[tokio::test]
async fn a_refresh_and_an_end_bear_the_refresh_token() {
    let web = Web::start().await;
    web.json(REFRESH, 200, &answer("com.atproto.appPass"));
    web.text(DELETE, 200, "");
    refresh(&web).await.unwrap();
    let pds = web.url.parse().unwrap();
    session::delete(&http(), &pds, &secret("r.r.r"), DEADLINE).await.unwrap();
    let seen = web.seen();
    assert_eq!([seen[0].path.as_str(), seen[1].path.as_str()], [REFRESH, DELETE]);
    for seen in seen {
        assert_eq!((seen.method.as_str(), seen.body.as_slice()), ("POST", &b""[..]));
        assert_eq!(seen.headers["authorization"], "Bearer r.r.r");
        assert_eq!(seen.headers["content-length"], "0");
    }
}

#[tokio::test]
async fn a_refusal_is_told_in_the_servers_words_without_the_password() {
    let web = Web::start().await;
    let message = format!("Invalid identifier or password {PASSWORD}");
    web.json(CREATE, 401, &json!({ "error": "AuthenticationRequired", "message": message }));
    let error = create(&web).await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains(PASSWORD), "{error:?}");
    let SessionError::Refused(said) = error else { panic!("{error}") };
    assert_eq!((said.error.as_str(), said.status), ("AuthenticationRequired", 401));
    assert_eq!(said.message.as_deref(), Some("Invalid identifier or password [redacted]"));

    web.json(REFRESH, 400, &json!({ "error": "ExpiredToken" }));
    let error = refresh(&web).await.unwrap_err();
    let SessionError::Refused(said) = error else { panic!("{error}") };
    assert_eq!((said.error.as_str(), said.message, said.status), ("ExpiredToken", None, 400));
}

#[tokio::test]
async fn a_status_without_words() {
    let web = Web::start().await;
    for (status, body, word) in [
        (429, r#"{"error":"RateLimitExceeded"}"#, Some("RateLimitExceeded")),
        (500, r#"{"error":"InternalServerError"}"#, Some("InternalServerError")),
        (503, "", None),
        (302, r#"{"error":"Elsewhere"}"#, None),
        (400, "<html>", None),
        (404, "", None),
        (400, r#"{"error":""}"#, None),
    ] {
        let header = Some(("retry-after", "7".to_owned()));
        web.put(REFRESH, Page { status, header, body: body.into() });
        let error = refresh(&web).await.unwrap_err();
        let SessionError::Status { status: told, retry_after, said } = error else {
            panic!("{error}")
        };
        assert_eq!((told, retry_after), (status, Some(Duration::from_secs(7))), "{body}");
        assert_eq!(said.map(|said| said.error).as_deref(), word, "{body}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read() {
    let web = Web::start().await;
    let without = |member: &str| {
        let mut body = answer("com.atproto.appPass");
        body.as_object_mut().unwrap().remove(member);
        body.to_string()
    };
    let other = answer("com.atproto.appPass").to_string();
    for body in [
        String::new(),
        "{\"accessJwt\":\"ey".to_owned(),
        "x".repeat(70_000),
        without("refreshJwt"),
        without("accessJwt"),
        without("did"),
        other.replace(SAM, "sam"),
        other.replace(SAM, EVE),
    ] {
        web.text(CREATE, 200, &body);
        let error = create(&web).await.unwrap_err();
        assert!(matches!(error, SessionError::Unreadable(_)), "{body:.80}: {error}");
        assert!(!error.to_string().contains("ey"), "{error}");
    }
}

#[tokio::test]
async fn sent_or_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pds: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (http, token, short) = (http(), secret("r.r.r"), Duration::from_millis(300));
    // It takes the connection and never says a word.
    let error = session::refresh(&http, &pds, &token, short).await.unwrap_err();
    assert!(matches!(error, SessionError::Unreadable(_)), "{error:?}");
    drop(listener);
    let error = session::refresh(&http, &pds, &token, short).await.unwrap_err();
    assert!(matches!(error, SessionError::NotSent(NotSent::Unreached(_))), "{error:?}");
}

#[tokio::test]
async fn an_address_that_must_not_be_called_never_is() {
    let web = Web::start().await;
    let strict = GuardedHttp::new(NetGuard::default(), DEADLINE).unwrap();
    let local = format!("http://localhost:{}", web.port);
    let tls = format!("https://localhost:{}", web.port);
    for (http, pds) in [
        (&strict, web.url.as_str()),
        (&strict, &local),
        (&strict, &tls),
        (&http(), "http://169.254.169.254/"),
        (&http(), "https://169.254.169.254/"),
        (&http(), "https://[fd00:ec2::254]/"),
        (&http(), "http://pds.test/"),
    ] {
        let password = secret(PASSWORD);
        let pds = pds.parse().unwrap();
        let error = session::create(http, &pds, SAM, &password, DEADLINE).await.unwrap_err();
        let refused = matches!(error, SessionError::NotSent(NotSent::NotAllowed(_)));
        assert!(refused, "{pds}: {error:?}");
    }
    assert!(web.seen().is_empty());
}
