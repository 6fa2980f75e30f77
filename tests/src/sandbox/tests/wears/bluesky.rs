//! The sandbox as Bluesky: over HTTP as any client sees it, and by the product's own code.

use latchkey_shared::app_password::looks_like_app_password;
use latchkey_shared::net_guard::{NetGuard, Ports};
use latchkey_shared::platforms::DirectorySettings;
use latchkey_worker::atproto::{Directory, GuardedHttp, ResolveError, SessionError, session};
use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};

use super::*;

const DEADLINE: Duration = Duration::from_secs(5);

impl Client {
    async fn log_in(&self, user: &str, password: &str) -> reqwest::Result<Response> {
        let body = json!({ "identifier": self.sandbox.did(user), "password": password });
        let url = self.at("/xrpc/com.atproto.server.createSession");
        self.http.post(url).json(&body).send().await
    }

    async fn session(&self, user: &str) -> Session {
        let password = self.sandbox.app_password(user);
        Session::of(self.log_in(user, &password).await.unwrap()).await
    }

    async fn xrpc(&self, method: Method, name: &str, token: &str) -> reqwest::Result<Response> {
        let request = self.http.request(method, self.at(&format!("/xrpc/{name}")));
        request.bearer_auth(token).send().await
    }

    async fn renew(&self, token: &str) -> reqwest::Result<Response> {
        self.xrpc(Method::POST, "com.atproto.server.refreshSession", token).await
    }

    async fn log_out(&self, token: &str) -> reqwest::Result<Response> {
        self.xrpc(Method::POST, "com.atproto.server.deleteSession", token).await
    }

    async fn bluesky_profile(&self, did: &str, token: &str) -> reqwest::Result<Response> {
        let name = format!("app.bsky.actor.getProfile?actor={did}");
        self.xrpc(Method::GET, &name, token).await
    }

    fn directory(&self) -> Directory {
        let settings = DirectorySettings {
            plc_url: self.at("/plc.directory").parse().unwrap(),
            handle_url: Some(self.at("/handles/{handle}")),
            dns_server: Some(self.sandbox.dns_addr()),
        };
        Directory::new(settings, guard()).unwrap()
    }
}

fn guard() -> NetGuard {
    NetGuard::new(&["127.0.0.0/8".parse().unwrap()], &Ports::ALL)
}

#[derive(Clone, Debug, PartialEq)]
struct Session {
    access: String,
    refresh: String,
    body: Value,
}

impl Session {
    async fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        let body: Value = response.json().await.unwrap();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        Self { access: text("accessJwt"), refresh: text("refreshJwt"), body }
    }
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn refused(status: u16, error: &str) -> (u16, String) {
    (status, error.to_owned())
}

#[tokio::test]
async fn a_session_is_a_pair_of_tokens_with_times_and_scope() {
    let client = Client::default().await;
    let session = client.session("sam").await;
    let did = client.sandbox.did("sam");
    assert_eq!((&session.body["did"], &session.body["handle"]), (&json!(did), &json!("sam.test")));
    assert_eq!(session.body["active"], json!(true));
    let endpoint = &session.body["didDoc"]["service"][0]["serviceEndpoint"];
    assert_eq!(endpoint, client.sandbox.url());
    for (token, scope, lifetime) in [
        (&session.access, "com.atproto.appPass", 120 * 60),
        (&session.refresh, "com.atproto.refresh", 90 * 86_400),
    ] {
        let claims = claims(token);
        assert_eq!((claims["sub"].as_str(), claims["scope"].as_str()), (Some(&*did), Some(scope)));
        let seconds = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert_eq!(seconds, lifetime);
    }
    let profile = client.bluesky_profile(&did, &session.access).await.unwrap();
    let profile: Value = profile.json().await.unwrap();
    assert_eq!((&profile["did"], &profile["displayName"]), (&json!(did), &json!("Sam")));
    assert_eq!(client.kinds("BLUESKY"), [Kind::CodeExchanged, Kind::Identity]);

    let secrets = client.sandbox.secrets();
    let password = client.sandbox.app_password("sam");
    for secret in [&session.access, &session.refresh, &password] {
        assert!(secrets.contains(secret));
    }
    let families = client.sandbox.families();
    assert!(families.len() == 1 && families[0].alive && families[0].user == "sam");
    let all_bluesky = |platform: Option<String>| platform.as_deref() == Some("BLUESKY");
    assert!(families.into_iter().all(|family| all_bluesky(family.platform)));
    assert!(client.sandbox.ledger().into_iter().all(|entry| all_bluesky(entry.platform)));
    let requests = client.sandbox.requests();
    assert_eq!(requests[0].path, "/xrpc/com.atproto.server.createSession");
    assert!(requests[0].platform == "BLUESKY" && requests[0].body.contains(&password));
}

#[tokio::test]
async fn passwords_are_told_apart() {
    let client = Client::default().await;
    let sandbox = &client.sandbox;
    assert!(looks_like_app_password(&sandbox.app_password("sam")));
    assert_eq!(sandbox.app_password("sam"), sandbox.app_password("sam"));
    assert_ne!(sandbox.app_password("sam"), sandbox.app_password("eve"));
    assert!(!looks_like_app_password(&sandbox.account_password("sam")));
    let disguised = sandbox.account_password_in_disguise("sam");
    assert!(looks_like_app_password(&disguised));
    for own in [sandbox.account_password("sam"), disguised] {
        let session = Session::of(client.log_in("sam", &own).await.unwrap()).await;
        assert_eq!(claims(&session.access)["scope"], "com.atproto.access");
        assert!(sandbox.secrets().contains(&own));
    }
    for wrong in ["", "guess", &sandbox.app_password("eve")] {
        let answer = client.log_in("sam", wrong).await;
        assert_eq!(error(answer).await, refused(401, "AuthenticationRequired"));
    }
    let refusals = sandbox.ledger().into_iter().filter(|entry| entry.kind == Kind::CodeRefused);
    assert!(refusals.clone().count() == 3 && refusals.clone().all(|entry| entry.family.is_none()));
    assert!(refusals.clone().all(|entry| entry.user.as_deref() == Some("sam")));
}

#[tokio::test]
async fn accounts_that_are_not_in_use() {
    let client = Client::default().await;
    let sandbox = &client.sandbox;
    let own = sandbox.account_password("2fa-sam");
    let answer = client.log_in("2fa-sam", &own).await;
    assert_eq!(error(answer).await, refused(401, "AuthFactorTokenRequired"));
    client.session("2fa-sam").await;
    let password = sandbox.app_password("takendown-sam");
    let answer = client.log_in("takendown-sam", &password).await;
    assert_eq!(error(answer).await, refused(401, "AccountTakedown"));
    for status in ["suspended", "deactivated"] {
        let body = client.session(&format!("{status}-sam")).await.body;
        assert_eq!((&body["active"], &body["status"]), (&json!(false), &json!(status)));
    }
}

#[tokio::test]
async fn a_used_token_answers_the_same_pair_for_two_hours() {
    let clock = Clock::system();
    let config = SandboxConfig { clock: clock.clone(), ..SandboxConfig::default() };
    let client = Client::start(config).await;
    let first = client.session("sam").await;
    let second = Session::of(client.renew(&first.refresh).await.unwrap()).await;
    assert!(second.access != first.access && second.refresh != first.refresh);
    clock.advance(TimeDelta::minutes(119));
    let replayed = Session::of(client.renew(&first.refresh).await.unwrap()).await;
    assert_eq!(replayed, second);
    clock.advance(TimeDelta::minutes(2));
    assert_eq!(error(client.renew(&first.refresh).await).await, refused(400, "ExpiredToken"));
    let expired = client.bluesky_profile(&client.sandbox.did("sam"), &first.access).await;
    assert_eq!(error(expired).await, refused(400, "ExpiredToken"));

    for bad in [&second.access, "a.b.c"] {
        assert_eq!(error(client.renew(bad).await).await, refused(400, "InvalidToken"));
    }
    let newest = Session::of(client.renew(&second.refresh).await.unwrap()).await;
    clock.advance(TimeDelta::days(91));
    assert!(!client.sandbox.families()[0].alive);
    assert_eq!(error(client.renew(&newest.refresh).await).await, refused(400, "ExpiredToken"));
    let deleted = client.log_out(&newest.refresh).await.unwrap();
    assert_eq!((deleted.status(), &*deleted.text().await.unwrap()), (StatusCode::OK, ""));
    assert_eq!(
        client.kinds("BLUESKY"),
        [
            Kind::CodeExchanged,
            Kind::Refreshed,
            Kind::RefreshReplayed,
            Kind::RefreshRefused,
            Kind::IdentityRefused,
            Kind::RefreshRefused,
            Kind::RefreshRefused,
            Kind::Refreshed,
            Kind::RefreshRefused,
            Kind::Revoked,
            Kind::FamilyRevoked,
        ]
    );
}

#[tokio::test]
async fn only_the_newest_token_ends_its_session() {
    let client = Client::default().await;
    let first = client.session("sam").await;
    let second = Session::of(client.renew(&first.refresh).await.unwrap()).await;
    assert_eq!(client.log_out(&first.refresh).await.unwrap().status(), 200);
    assert!(client.sandbox.families()[0].alive);
    assert_eq!(client.log_out(&second.refresh).await.unwrap().status(), 200);
    let family = &client.sandbox.families()[0];
    assert_eq!((family.alive, family.ended), (false, Some(Ending::RevokedByClient)));
    assert_eq!(error(client.renew(&second.refresh).await).await, refused(400, "ExpiredToken"));
    let access = client.bluesky_profile(&client.sandbox.did("sam"), &second.access).await;
    assert_eq!(access.unwrap().status(), 200, "an access token is good until it expires");
    assert_eq!(error(client.log_out("a.b.c").await).await, refused(400, "InvalidToken"));
}

#[tokio::test]
async fn who_deletes_the_app_password_ends_its_sessions() {
    let client = Client::default().await;
    let (sams, eves) = (client.session("sam").await, client.session("eve").await);
    let password = client.sandbox.app_password("sam");
    client.sandbox.revoke_user("sam");
    assert_eq!(error(client.renew(&sams.refresh).await).await, refused(400, "ExpiredToken"));
    let answer = client.log_in("sam", &password).await;
    assert_eq!(error(answer).await, refused(401, "AuthenticationRequired"));
    assert_ne!(client.sandbox.app_password("sam"), password);
    client.session("sam").await;
    client.renew(&eves.refresh).await.unwrap().error_for_status().unwrap();
    assert_eq!(client.count(Kind::FamilyRevoked), 1);
    assert!(client.sandbox.secrets().contains(&password));
}

#[tokio::test]
async fn an_impostor_has_a_session_of_their_own_and_the_profile_of_another() {
    let client = Client::default().await;
    let session = client.session("impostor-sam").await;
    let did = client.sandbox.did("impostor-sam");
    assert_eq!(session.body["did"], json!(did));
    let profile = client.bluesky_profile(&did, &session.access).await.unwrap();
    let profile: Value = profile.json().await.unwrap();
    assert_eq!(profile["did"], json!(client.sandbox.did("sam")));
    assert_eq!(profile["handle"], "sam.test");
}

#[tokio::test]
async fn requests_that_are_not_understood() {
    let client = Client::default().await;
    let create = client.at("/xrpc/com.atproto.server.createSession");
    let form = client.http.post(&create).form(&[("identifier", "sam.test")]).send().await;
    assert_eq!(error(form).await, refused(400, "InvalidRequest"));
    let half = client.http.post(&create).json(&json!({ "identifier": "sam.test" })).send().await;
    assert_eq!(error(half).await, refused(400, "InvalidRequest"));
    let bare = client.http.post(client.at("/xrpc/com.atproto.server.refreshSession")).send().await;
    assert_eq!(error(bare).await, refused(401, "AuthMissing"));
    for path in [
        "/plc.directory/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
        "/plc.directory/sam.test",
        "/handles/dns-sam.test/.well-known/atproto-did",
        "/handles/sam.example.com/.well-known/atproto-did",
        "/handles/-.test/.well-known/atproto-did",
    ] {
        assert_eq!(client.http.get(client.at(path)).send().await.unwrap().status(), 404, "{path}");
    }
}

#[tokio::test]
async fn faults_strike_as_elsewhere() {
    let client = Client::default().await;
    let sandbox = &client.sandbox;
    let session = client.session("sam").await;
    sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, Fault::Drop).times(1).after());
    client.renew(&session.refresh).await.unwrap_err();
    let replayed = Session::of(client.renew(&session.refresh).await.unwrap()).await;
    assert_eq!(client.count(Kind::RefreshReplayed), 1);

    let unavailable = Fault::Status { status: 503 };
    sandbox.inject(FaultRule::new(Endpoint::TokenCode, unavailable.clone()).for_user("sam"));
    sandbox.inject(FaultRule::new(Endpoint::Resolve, unavailable).for_user("sam"));
    assert_eq!(client.log_in("sam", "wrong").await.unwrap().status(), 503);
    client.session("eve").await;
    let directory = client.directory();
    assert!(directory.resolve("sam.test").await.unwrap_err().may_pass());
    directory.resolve("eve.test").await.unwrap();
    sandbox.clear_faults();

    for (fault, said) in
        [(Fault::InvalidGrant, "ExpiredToken"), (Fault::InvalidClient, "AuthenticationRequired")]
    {
        sandbox.inject(FaultRule::new(Endpoint::TokenRefresh, fault).times(1));
        assert_eq!(error(client.renew(&replayed.refresh).await).await.1, said);
    }
    let missing = FaultRule::new(Endpoint::TokenRefresh, Fault::MissingRefreshToken);
    sandbox.inject(missing.times(1));
    let body: Value = client.renew(&replayed.refresh).await.unwrap().json().await.unwrap();
    assert!(body["refreshJwt"].is_null() && body["accessJwt"].is_string());
    sandbox.inject(FaultRule::new(Endpoint::Resolve, Fault::Huge));
    let error = directory.resolve("sam.test").await.unwrap_err();
    assert!(matches!(error, ResolveError::HandleNotFound), "{error}");
    let error = directory.resolve(&sandbox.did("sam")).await.unwrap_err();
    assert!(matches!(error, ResolveError::Unavailable(_)), "{error}");
}

/// The product's own code, from a handle to the end of a session.
#[tokio::test]
async fn the_product_finds_its_way() {
    let client = Client::default().await;
    let sandbox = &client.sandbox;
    let directory = client.directory();
    for user in ["sam", "dns-sam"] {
        let handle = format!("{user}.test");
        let resolved = directory.resolve(&format!("@{handle}")).await.unwrap();
        assert_eq!((&resolved.did, &resolved.handle), (&sandbox.did(user), &Some(handle)));
        assert_eq!(resolved.pds.as_str(), format!("{}/", sandbox.url()));
        assert_eq!(directory.resolve(&resolved.did).await.unwrap(), resolved);
    }
    let asked = |user: &str| {
        let entries = sandbox.ledger().into_iter();
        let theirs = entries.filter(|entry| entry.user.as_deref() == Some(user));
        theirs.map(|entry| (entry.kind, entry.outcome.status)).collect::<Vec<_>>()
    };
    assert_eq!(asked("sam"), [(Kind::Resolved, Some(200)); 4]);
    let by_dns = [(Kind::Resolved, None), (Kind::Resolved, Some(200))];
    assert_eq!(asked("dns-sam"), [by_dns, [by_dns[1], by_dns[0]]].concat());
    let nobody = directory.resolve("sam.example.com").await.unwrap_err();
    assert!(matches!(nobody, ResolveError::HandleNotFound), "{nobody}");

    let http = GuardedHttp::new(guard(), DEADLINE).unwrap();
    let pds: Url = sandbox.url().parse().unwrap();
    let (did, secret) = (sandbox.did("sam"), |text: String| SecretString::from(text));
    let disguised = secret(sandbox.account_password_in_disguise("sam"));
    let own = session::create(&http, &pds, &did, &disguised, DEADLINE).await.unwrap();
    assert!(!own.is_app_password());
    session::delete(&http, &pds, &own.refresh_jwt, DEADLINE).await.unwrap();

    let password = secret(sandbox.app_password("sam"));
    let first = session::create(&http, &pds, &did, &password, DEADLINE).await.unwrap();
    assert!(first.is_app_password() && first.active);
    assert_eq!(first.access_expires_in, Some(Duration::from_secs(7200)));
    assert_eq!(first.refresh_expires_in, Some(Duration::from_secs(90 * 86_400)));
    let renew = async |token| session::refresh(&http, &pds, token, DEADLINE).await;
    let second = renew(&first.refresh_jwt).await.unwrap();
    let again = renew(&first.refresh_jwt).await.unwrap();
    assert_eq!(again.refresh_jwt.expose_secret(), second.refresh_jwt.expose_secret());
    assert_eq!(second.did, did);
    session::delete(&http, &pds, &second.refresh_jwt, DEADLINE).await.unwrap();
    let dead = renew(&second.refresh_jwt).await.unwrap_err();
    let SessionError::Refused(said) = dead else { panic!("{dead}") };
    assert_eq!((said.error.as_str(), said.status), ("ExpiredToken", 400));
    assert!(sandbox.families().iter().all(|family| !family.alive));
}
