//! Sessions by app password, at whatever host the person's data live: what an exchange, a refresh and
//! a revocation are elsewhere. The password goes out once, and is not kept.

use std::time::Duration;

use latchkey_shared::platforms::Platform;
use latchkey_shared::tokens::TokenSet;
use secrecy::SecretString;
use serde::Deserialize;

use super::refusal::{Refusal, TokenError};
use super::revoke::Revoked;
use super::{Answer, CallError, PlatformHttp, wire};
use crate::atproto::session::{self, Said, Session, SessionError};
use crate::atproto::{Directory, ResolveError};

/// What a person gave us.
#[derive(Debug, Deserialize)]
pub struct AppPassword {
    /// A handle, or a DID.
    pub identifier: String,
    /// The password that the person made for us.
    pub password: SecretString,
}

/// Finds the person's host and begins a session there. What the session shows to be of no use comes
/// with the answer: it has tokens, which must be disposed of.
///
/// # Errors
/// [`TokenError`].
pub async fn begin(
    http: &PlatformHttp,
    directory: &Directory,
    given: &AppPassword,
) -> Result<Answer, TokenError> {
    let found = directory.resolve(&given.identifier).await.map_err(unresolved)?;
    let deadline = http.timeouts().other;
    let begun = session::create(http.guarded(), &found.pds, &found.did, &given.password, deadline);
    let session = begun.await.map_err(refused)?;
    let not_ours = (!session.is_app_password()).then_some("APP_PASSWORD_REQUIRED");
    let mut answer = answer(session);
    answer.tokens.host = Some(found.pds);
    Ok(Answer { unfit: not_ours.or(answer.unfit), ..answer })
}

/// The handle that the directory confirms, if there is one: a host may claim any.
///
/// # Errors
/// [`CallError`]: the directory is to be asked again.
pub async fn handle(directory: &Directory, did: &str) -> Result<Option<String>, CallError> {
    match directory.resolve(did).await {
        Ok(found) => Ok(found.handle),
        Err(error) if error.may_pass() => Err(CallError::Unresolved(error.to_string())),
        Err(_) => Ok(None),
    }
}

/// The next pair, from the host where the session was begun: no other may see its tokens. An account
/// that is out of use may be given tokens all the same: the answer says so.
///
/// # Errors
/// [`TokenError`].
pub async fn refresh(
    http: &PlatformHttp,
    platform: &Platform,
    tokens: &TokenSet,
    deadline: Duration,
) -> Result<Answer, TokenError> {
    let (Some(host), Some(token)) = (&tokens.host, &tokens.refresh_token) else {
        let what = format!("a grant of {} has no host", platform.id);
        return Err(CallError::Unresolved(what).into());
    };
    let refreshed = session::refresh(http.guarded(), host, token, deadline).await;
    let session = refreshed.map_err(|error| match lost(error) {
        TokenError::Call(error) => TokenError::of_call(platform, error),
        error => error,
    })?;
    if tokens.subject.as_ref().is_some_and(|did| *did != session.did) {
        return Err(TokenError::Unfit("ANOTHER_ACCOUNT", None));
    }
    Ok(answer(session))
}

/// Ends the session. The app password stays: only the person can delete it. A spent token ends
/// nothing, and the one that is stored may be spent: the newest is asked for first, which within the
/// grace window is the pair that took its place.
///
/// # Errors
/// [`CallError`]: the session must be taken as alive.
pub async fn end(
    http: &PlatformHttp,
    tokens: &TokenSet,
    deadline: Duration,
) -> Result<Revoked, CallError> {
    let (Some(host), Some(token)) = (&tokens.host, &tokens.refresh_token) else {
        return Ok(Revoked::Unsupported);
    };
    let ended = async {
        let newest = session::refresh(http.guarded(), host, token, deadline).await?;
        session::delete(http.guarded(), host, &newest.refresh_jwt, deadline).await
    };
    match ended.await.map_err(lost) {
        Ok(()) => Ok(Revoked::Yes { status: 200 }),
        Err(TokenError::Refused(refusal))
            if matches!(refusal.code.as_str(), "ExpiredToken" | "InvalidToken") =>
        {
            Ok(Revoked::Yes { status: 400 })
        }
        Err(TokenError::Refused(refusal)) => Ok(Revoked::Refused(refusal)),
        Err(TokenError::Call(error)) => Err(error),
        Err(TokenError::Unfit(..)) => Ok(Revoked::Unsupported),
    }
}

/// The host is known to the caller alone: what a session says of it does not count.
fn answer(session: Session) -> Answer {
    let unfit = out_of_use(&session);
    Answer {
        tokens: TokenSet {
            access_token: session.access_jwt,
            refresh_token: Some(session.refresh_jwt),
            subject: Some(session.did),
            host: None,
        },
        access_lifetime: session.access_expires_in,
        refresh_lifetime: session.refresh_expires_in,
        refresh_token_stayed: false,
        scopes: session.scope.map(|scope| wire::sound_scopes([scope.as_str()].into_iter())),
        unfit,
    }
}

/// Why the account cannot be used, if its server says that it cannot.
fn out_of_use(session: &Session) -> Option<&'static str> {
    match session.status.as_deref() {
        _ if session.active => None,
        Some("takendown") => Some("ACCOUNT_TAKEN_DOWN"),
        Some("suspended") => Some("ACCOUNT_SUSPENDED"),
        _ => Some("ACCOUNT_DEACTIVATED"),
    }
}

fn unresolved(error: ResolveError) -> TokenError {
    match error {
        ResolveError::Unavailable(why) => CallError::Unresolved(why).into(),
        ResolveError::HandleNotClaimed => TokenError::Unfit("HANDLE_MISMATCH", None),
        ResolveError::NotAllowed(_) => TokenError::Unfit("HOST_NOT_ALLOWED", None),
        ResolveError::NotAnIdentifier
        | ResolveError::HandleNotFound
        | ResolveError::DidNotFound
        | ResolveError::NoPds => TokenError::Unfit("HANDLE_NOT_FOUND", None),
    }
}

/// What a host answers to a password.
fn refused(error: SessionError) -> TokenError {
    match lost(error) {
        TokenError::Refused(refusal) => {
            let reason = match refusal.code.as_str() {
                "AuthFactorTokenRequired" => "TWO_FACTOR_REQUIRED",
                "AccountTakedown" => "ACCOUNT_TAKEN_DOWN",
                "AuthenticationRequired" => "APP_PASSWORD_REFUSED",
                _ => return TokenError::Refused(refusal),
            };
            TokenError::Unfit(reason, Some(refusal))
        }
        other => other,
    }
}

fn lost(error: SessionError) -> TokenError {
    match error {
        SessionError::NotSent(error) => CallError::Unresolved(error.to_string()).into(),
        SessionError::Status { status, retry_after, said } => {
            CallError::Status { status, retry_after, said: said.map(refusal) }.into()
        }
        SessionError::Unreadable(why) => CallError::Unreadable(why).into(),
        SessionError::Refused(said) => TokenError::Refused(refusal(said)),
    }
}

fn refusal(said: Said) -> Refusal {
    let refusal = Refusal::new(&said.error, said.message.as_deref());
    Refusal { status: Some(said.status), ..refusal }
}

#[cfg(test)]
mod tests {
    use latchkey_shared::net_guard::{NetGuard, Ports};
    use latchkey_shared::platforms::Platforms;
    use serde_json::{Value, json};

    use super::super::CallTimeouts;
    use super::super::doubles::Double;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);
    const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

    async fn refreshed(double: &Double, session: &Value) -> Answer {
        double.answer(200, &[], &session.to_string());
        let timeouts = CallTimeouts { rotating: LIMIT, other: LIMIT };
        let here = NetGuard::new(&["127.0.0.0/8".parse().unwrap()], &Ports::ALL);
        let http = PlatformHttp::new(timeouts, &here).unwrap();
        let platforms = Platforms::parse("[platforms.BLUESKY]").unwrap();
        let tokens = TokenSet {
            access_token: "a".into(),
            refresh_token: Some("r".into()),
            subject: Some(DID.to_owned()),
            host: Some(double.url.parse().unwrap()),
        };
        refresh(&http, platforms.get("BLUESKY").unwrap(), &tokens, LIMIT).await.unwrap()
    }

    /// Its document may say that the account lives elsewhere: the new tokens are not for that host.
    #[tokio::test]
    async fn a_session_stays_at_the_host_that_began_it() {
        let double = Double::start();
        let service = json!([{ "id": "#atproto_pds", "type": "AtprotoPersonalDataServer",
                               "serviceEndpoint": "https://elsewhere.example" }]);
        let session = json!({ "did": DID, "handle": "sam.test", "accessJwt": "a", "refreshJwt": "b",
                              "didDoc": { "id": DID, "service": service } });
        let answer = refreshed(&double, &session).await;
        assert_eq!((answer.tokens.host, answer.unfit), (None, None), "the caller's host stays");
    }

    #[tokio::test]
    async fn a_renewed_session_says_that_the_account_is_out_of_use() {
        let double = Double::start();
        for (status, reason) in [
            (json!("takendown"), "ACCOUNT_TAKEN_DOWN"),
            (json!("suspended"), "ACCOUNT_SUSPENDED"),
            (json!("deactivated"), "ACCOUNT_DEACTIVATED"),
            (json!(null), "ACCOUNT_DEACTIVATED"),
        ] {
            let session = json!({ "did": DID, "handle": "sam.test", "accessJwt": "a",
                                  "refreshJwt": "b", "active": false, "status": status });
            assert_eq!(refreshed(&double, &session).await.unfit, Some(reason), "{status}");
        }
    }
}
