//! What a session's tokens say about themselves. Nobody checked their signature: it is read for times
//! and scope, and never believed about who somebody is.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// Longer lifetimes are not believed.
const MAX_LIFETIME: Duration = Duration::from_secs(10 * 366 * 86_400);

/// The claims that matter here (RFC 7519 §4.1).
#[derive(Debug, Default, Deserialize)]
pub(super) struct Claims {
    pub(super) scope: Option<String>,
    iat: Option<f64>,
    exp: Option<f64>,
}

impl Claims {
    /// What a token says; nothing, if it is none that can be read.
    pub(super) fn of(token: &str) -> Self {
        let payload = token.split('.').nth(1).unwrap_or_default();
        let bytes = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// How long it lives from its making: the difference needs nobody's clock to be right. Less than a
    /// second and more than ten years cannot be meant.
    pub(super) fn lifetime(&self) -> Option<Duration> {
        let lifetime = Duration::try_from_secs_f64(self.exp? - self.iat?).ok()?;
        (Duration::from_secs(1)..=MAX_LIFETIME).contains(&lifetime).then_some(lifetime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(payload: &str) -> Claims {
        Claims::of(&format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload)))
    }

    #[test]
    fn times_and_scope() {
        let read = claims(r#"{"scope":"com.atproto.appPass","iat":1000,"exp":8200,"sub":"x"}"#);
        assert_eq!(read.scope.as_deref(), Some("com.atproto.appPass"));
        assert_eq!(read.lifetime(), Some(Duration::from_secs(7200)));
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        for payload in [
            "",
            "{}",
            "null",
            r#"{"exp":5}"#,
            r#"{"iat":9,"exp":5}"#,
            r#"{"iat":9,"exp":9}"#,
            r#"{"iat":0,"exp":1e300}"#,
            r#"{"iat":0,"exp":400000000}"#,
        ] {
            assert_eq!(claims(payload).lifetime(), None, "{payload}");
        }
        for token in ["", "opaque", "a.b", "a.!.c"] {
            let read = Claims::of(token);
            assert!(read.scope.is_none() && read.lifetime().is_none(), "{token}");
        }
    }
}
